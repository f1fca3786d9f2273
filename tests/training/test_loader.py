"""Samples by their numbers: the same for any ranks and slices, after a restart, and of the split that was asked for."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import mmu
from crossmatch.api import crossmatch
from crossmatch.stream.choice import SPLITS
from mmu.errors import UsageError
from tests.training import token_sets as sets
from training.loader import Loader
from training.masking import Masking
from training.modalities import MODALITIES
from training.on_the_fly import OnTheFly
from training.shuffle import Places
from training.sources import Kept, Shards
from training.tokens import plan, tokenise

MASKING = Masking(40, 20)


@pytest.fixture(scope="module")
def folders(sky: dict[str, Path], codecs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Token shards of both datasets, and of their match."""
    out = tmp_path_factory.mktemp("tokens")
    crossmatch(str(sky["legacysurvey"]), str(sky["desi"]), out=out / "matches" / "pair")
    for path in (sky["legacysurvey"], sky["desi"], out / "matches" / "pair"):
        tokenise(plan(str(path), codecs_folder), out)
    return {name: out / name for name in ("legacysurvey", "desi", "pair")}


def sources(folders: dict[str, Path], **options: Any) -> list[Shards]:
    return [Shards(folder, **options) for folder in folders.values()]


def loader(folders: dict[str, Path], **options: Any) -> Loader:
    return Loader(sources(folders), MASKING, **{"batch_size": 12, "seed": 1, **options})


def steps(made: Loader, count: int) -> list[Any]:
    """For each step, the objects of each slice."""
    iterator = iter(made)
    got = [[sets.sides(batch) for batch in step.batches] for step in itertools.islice(iterator, count)]
    iterator.close()  # type: ignore[attr-defined]
    return got


def test_samples_are_the_objects_of_the_shards(folders: dict[str, Path]) -> None:
    made = loader({"desi": folders["desi"]}, batch_size=12)
    got = made.tokens(np.arange(24))
    table = mmu.open(folders["desi"]).table("all")
    wanted = sorted(table["tok_spectrum_desi"].to_pylist())
    for epoch in (slice(0, 12), slice(12, 24)):
        assert sorted(got["tok_spectrum_desi"][epoch].tolist()) == wanted
    assert got["tok_spectrum_desi"][:12].tolist() != got["tok_spectrum_desi"][12:].tolist()
    assert list(got) == ["tok_spectrum_desi", "tok_z", "tok_redshift"]


def test_modalities_that_a_source_has_not_are_absent(folders: dict[str, Path]) -> None:
    made = loader(folders)
    got = made.tokens(np.arange(200))
    assert list(got) == [key for key in MODALITIES if key in got]
    spectrum, image = got["tok_spectrum_desi"][:, 0] >= 0, got["tok_image12_legacysurvey"][:, 0] >= 0
    assert (spectrum | image).all()
    assert (spectrum & image).sum() == pytest.approx(200 * 12 / 48, abs=15)
    assert (image & ~spectrum).sum() == pytest.approx(200 * 24 / 48, abs=20)


@pytest.mark.parametrize(("world", "slices"), [(2, 1), (1, 3), (2, 3), (4, 1)])
def test_ranks_and_slices_share_the_same_samples_out(folders: dict[str, Path], world: int, slices: int) -> None:
    whole = steps(loader(folders), 3)
    ranks = [steps(loader(folders, rank=rank, world=world, slices=slices), 3) for rank in range(world)]
    for number, step in enumerate(whole):
        together: list[Any] = []
        for part in range(slices):
            longest = 12 // slices // world
            mine = [ranks[rank][number][part] for rank in range(world)]
            assert all(len(objects) <= longest for objects in mine)
            together += [objects[place] for place in range(longest) for objects in mine if place < len(objects)]
        assert sorted(map(str, together)) == sorted(map(str, step[0]))
        if all(len(part) == 12 // slices // world for rank in ranks for part in rank[number]):
            assert together == step[0]


def test_it_goes_on_where_it_was(folders: dict[str, Path]) -> None:
    whole = steps(loader(folders), 6)
    first = loader(folders)
    assert steps(first, 2) == whole[:2]
    state = first.state_dict()
    assert state["samples"] == 24
    second = loader(folders)
    second.load_state_dict(state)
    assert steps(second, 4) == whole[2:]
    assert second.passes()["desi"] == pytest.approx(72 / 48, abs=0.6)
    with pytest.raises(UsageError, match="seed was 1, and is 2"):
        loader(folders, seed=2).load_state_dict(state)
    larger = loader(folders, batch_size=24)
    larger.load_state_dict(state)
    assert steps(larger, 1)[0][0] == [*whole[2][0], *whole[3][0]]


def test_weights(folders: dict[str, Path]) -> None:
    made = loader(folders, weights={"desi": 3, "legacysurvey": 1})
    got = made.tokens(np.arange(400))
    assert (got["tok_spectrum_desi"][:, 0] >= 0).mean() == pytest.approx(0.75, abs=0.07)
    assert made.weights == {"legacysurvey": 1, "desi": 3, "pair": 0}
    with pytest.raises(UsageError, match="dezi"):
        loader(folders, weights={"dezi": 1})
    with pytest.raises(UsageError, match="positive"):
        loader(folders, weights={"desi": -1, "pair": 2})


@pytest.mark.parametrize("name", ["legacysurvey", "pair"])
def test_splits_are_those_of_the_stream(folders: dict[str, Path], sky: dict[str, Path], name: str) -> None:
    given = sky[name] if name in sky else folders[name].parent / "matches" / name
    found = 0
    for split in ("train", "validation", "test"):
        stream = mmu.stream(given, columns=["legacysurvey.FLUX_G"], split=split, batch_size=1, tail="exact")
        wanted = {int(stream.samples.sky[row]) for row in stream.choice.rows}
        shards = Shards(folders[name], split=split)
        paths = sorted(folders[name].rglob("Npix=*.parquet"))
        pixels = {
            int(pq.read_table(group.path)["_healpix_29"].to_numpy()[row])
            for group in shards._groups
            for row in (range(group.count) if group.rows is None else group.rows)
        }
        assert paths
        assert pixels == wanted
        found += sum(shards.sizes)
    assert found == len(mmu.open(folders[name]))
    with pytest.raises(UsageError, match="trane"):
        Shards(folders[name], split="trane")


def test_objects_of_two_cells_are_in_no_split(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["pair"], tmp_path / "pair")
    count = 0
    for path in (tmp_path / "pair").rglob("Npix=*.parquet"):
        table = pq.read_table(path, partitioning=None)
        assert not any(table["straddles"].to_pylist())
        count += len(table) - 1
        at = table.schema.get_field_index("straddles")
        mark = [[True] + [False] * (len(table) - 1)]
        pq.write_table(table.set_column(at, table.schema.field(at), mark), path)
    kept = [sum(Shards(tmp_path / "pair", split=split).sizes) for split in ("train", "validation", "test")]
    assert sum(kept) == count
    assert sum(Shards(tmp_path / "pair").sizes) == 12


def test_different_codecs_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    one, other = Shards(folders["desi"]), Shards(folders["pair"])
    other.codecs = {**other.codecs, "Z": "f" * 64}
    with pytest.raises(UsageError, match="desi and pair have tokens of different codecs 'Z'"):
        Loader([one, other], MASKING, batch_size=2, seed=0)
    with pytest.raises(UsageError, match="another codec 'Z'"):
        Shards(folders["desi"], {"Z": "0" * 64})


def test_row_groups_are_read_once_while_they_fit(folders: dict[str, Path]) -> None:
    made = loader(folders)
    made.tokens(np.arange(500))
    groups = sum(len(source.sizes) for source in made.sources)
    assert made._kept.reads == groups
    kept, source = Kept(1), sources(folders)[0]
    whole = source.take(Places(*np.zeros((3, 1), np.int64)), kept)
    assert (kept.reads, len(kept._groups)) == (1, 1)
    source.take(Places(*np.array([[0], [1], [0]])), kept)
    assert (kept.reads, len(kept._groups)) == (2, 1)
    assert np.array_equal(source.take(Places(*np.zeros((3, 1), np.int64)), kept), whole)


def test_what_cannot_be_is_told(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="2 ranks x 3 slices"):
        loader(folders, batch_size=8, world=2, slices=3)
    with pytest.raises(UsageError, match="no objects"):
        Loader([], MASKING, batch_size=1, seed=0)
    with pytest.raises(UsageError, match="one name"):
        Loader([*sources(folders), *sources(folders)], MASKING, batch_size=1, seed=0)
    with pytest.raises(UsageError, match="more cache_bytes"):
        loader(folders, cache_bytes=1000)
    with pytest.raises(UsageError, match="none of tok_image"):
        Shards(folders["desi"], keys=["tok_image"])


def test_what_goes_wrong_in_the_background_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["desi"], tmp_path / "desi")
    made = Loader([Shards(tmp_path / "desi")], MASKING, batch_size=6, seed=0, device="cpu")
    shutil.rmtree(tmp_path / "desi")
    with pytest.raises(FileNotFoundError):
        next(iter(made))


def test_steps_are_ready_before_they_are_asked_for(folders: dict[str, Path]) -> None:
    made = loader(folders, device="cpu")
    iterator = iter(made)
    step = next(iterator)
    assert (step.first, step.samples, made.samples) == (0, 12, 12)
    assert step.seconds > 0
    assert made.wait() > 0
    assert step.batches[0].inputs.ids.device == torch.device("cpu")
    iterator.close()  # type: ignore[attr-defined]


def test_on_the_fly_gives_the_tokens_of_shards(
    folders: dict[str, Path], sky: dict[str, Path], codecs_folder: Path
) -> None:
    match = folders["pair"].parent / "matches" / "pair"
    online = OnTheFly(str(match), codecs_folder, batch=5, window=8)
    stored = Shards(folders["pair"])
    assert (online.name, online.keys, sum(online.sizes)) == ("pair", stored.keys, 12)
    assert online.codecs == stored.codecs
    made = [Loader([source], MASKING, batch_size=4, seed=0, window=8) for source in (online, stored)]
    one, other = (each.tokens(np.arange(12)) for each in made)
    for key in stored.keys:
        assert sorted(one[key].tolist()) == sorted(other[key].tolist())
    assert len(steps(made[0], 2)) == 2
    assert online.encoded >= 12
    assert online.seconds > 0
    train, test = (OnTheFly(str(sky["desi"]), codecs_folder, ["tok_z"], split) for split in ("train", "test"))
    for source, split in ((train, "train"), (test, "test")):
        assert sum(source.sizes) == sum(Shards(folders["desi"], split=split).sizes)


def test_a_view_is_drawn_of_each_object_and_another_in_another_epoch(
    sky: dict[str, Path], codecs_folder: Path, tmp_path: Path
) -> None:
    keys = ["tok_image12_legacysurvey", "tok_flux_g"]
    tokenise(plan(str(sky["legacysurvey"]), codecs_folder, keys, views=8), tmp_path)
    source = Shards(tmp_path / "legacysurvey")
    assert sum(source.sizes) == 24
    table = mmu.open(tmp_path / "legacysurvey").table("all")
    images = np.array(table[keys[0]].to_pylist(), np.int16).reshape(24, 8, 144)
    made = Loader([source], MASKING, batch_size=24, seed=0)
    found = []
    for epoch in range(3):
        got = made.tokens(24 * epoch + np.arange(24))[keys[0]]
        same = (got[:, None, None] == images).all(3)
        assert np.array_equal(np.sort(np.argmax(same.any(2), axis=1)), np.arange(24))
        found.append(got[np.argsort(np.argmax(same.any(2), axis=1))])
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])
    assert sum(sum(Shards(tmp_path / "legacysurvey", split=split).sizes) for split in SPLITS) == 24


def test_a_masking_that_skips_is_counted(folders: dict[str, Path]) -> None:
    desi = Shards(folders["desi"], keys=["tok_z"])
    made = Loader([desi], replace(MASKING, keys=("tok_z",)), batch_size=4, seed=0)
    step = made.step(0)
    assert step.skipped == 4
    assert step.batches[0].tokens == 0
