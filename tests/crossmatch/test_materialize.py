"""Pairs written out: every column of every record, under names that cannot collide, as a dataset like any other."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import mmu
from crossmatch import Association, Where, crossmatch
from crossmatch.api import describe, materialize
from crossmatch.gather import Gather
from mmu.build.verify import verify
from mmu.errors import FormatError, MmuError, UsageError
from mmu.schema import IDENTITY, MODALITIES, Column, Schema, arrow_schema, table_of
from mmu.shards.dress import dress
from tests.crossmatch.catalogues import Positions, scattered, vertices, write_hats

PIXELS = 12
SPECTRUM = MODALITIES["spectrum"].column(axes={"wavelength": PIXELS}, flux="1")
LABELS = Column("label", "string", meaning="a text", nullable=True)


def records(positions: Positions, prefix: str, random: np.random.Generator, first: int = 0) -> pa.Table:
    """A dataset's rows: a spectrum, a number and a label that is sometimes missing."""
    ra, dec = positions
    count = len(ra)
    schema = Schema((*IDENTITY, SPECTRUM, Column("Z", "float64", "", "redshift"), LABELS))
    flux = random.normal(size=(count, PIXELS)).astype(np.float32)
    spectrum = dict.fromkeys(("flux", "ivar", "lsf_sigma", "lambda"), flux) | {"mask": flux < 0}
    values = {
        "object_id": pa.array([f"{prefix}{first + n:05d}" for n in range(count)]),
        "ra": ra,
        "dec": dec,
        "spectrum": spectrum,
        "Z": random.random(count),
        "label": pa.array([None if n % 3 else f"label {n}" for n in range(count)]),
    }
    table = table_of(schema, values)
    from mmu.sky import healpix

    table = table.add_column(0, arrow_schema(schema).field(0), pa.array(healpix.pixel(ra, dec)))
    return table.sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")]).cast(arrow_schema(schema))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two datasets round the same places, in partitions of different orders, a few rows a row group."""
    folder, random = tmp_path_factory.mktemp("datasets"), np.random.default_rng(5)
    centres = vertices(1, 3, random)
    left, right = (scattered(centres, sigma, count, random) for sigma, count in ((0.3, 60), (0.4, 90)))
    return {
        "left": write_hats(folder / "left", records(left, "l", random), (1, 3), group=4),
        "right": write_hats(folder / "right", records(right, "r", random), (2, 0), group=7),
    }


def matched(datasets: dict[str, Path], out: Path, **how: Any) -> Association:
    return crossmatch(datasets, radius_arcsec=0.4, out=out, where=Where(0), **{"how": "left", **how})


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
def test_every_column_of_every_record_is_there(datasets: dict[str, Path], tmp_path: Path, how: str) -> None:
    association = matched(datasets, tmp_path, how=how)
    pairs = materialize(association, where=Where(0), partition_bytes=20_000).table("all")
    assert len(pairs) == len(association) > 40
    for name, folder in datasets.items():
        own = mmu.open(folder).table("all")
        place = pc.index_in(pairs[f"{name}_id"], value_set=own["object_id"].combine_chunks())
        for column in own.column_names[1:]:
            wanted = own[column].combine_chunks().take(place).to_pylist()
            assert pairs[f"{name}_{column}"].to_pylist() == wanted, (name, column)
    if how != "inner":
        assert pairs["right_spectrum"].null_count == pairs["right_id"].null_count > 0


def test_partitions_are_cut_for_rows_of_that_size(datasets: dict[str, Path], tmp_path: Path) -> None:
    few = materialize(matched(datasets, tmp_path / "few"), where=Where(0))
    many = materialize(matched(datasets, tmp_path / "many"), where=Where(0), partition_bytes=5_000)
    assert len(many.partitions) > len(few.partitions)
    assert many.table("all").equals(few.table("all"))


def test_a_second_call_writes_nothing_and_a_killed_one_is_gone_on_with(
    datasets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    association = matched(datasets, tmp_path / "out")
    whole = materialize(matched(datasets, tmp_path / "whole"), where=Where(0), partition_bytes=20_000)
    from mmu.build.journal import Journal

    real, written = Journal.add, []

    def stop_at_three(self: Journal, **entry: Any) -> None:
        real(self, **entry)
        written.append(entry["shard"])
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        materialize(association, where=Where(0), partition_bytes=20_000)
    assert not (tmp_path / "out/pairs").exists()
    pairs = materialize(association, where=Where(0), partition_bytes=20_000)
    assert len({tuple(one) for one in written}) == len(written) == len(pairs.partitions)
    assert {leaf: pairs.shard(leaf).read_bytes() for leaf in pairs.partitions} == {
        leaf: whole.shard(leaf).read_bytes() for leaf in whole.partitions
    }
    before = {path: path.stat().st_mtime_ns for path in pairs.path.rglob("*")}
    materialize(association, where=Where(0), partition_bytes=20_000)
    assert before == {path: path.stat().st_mtime_ns for path in pairs.path.rglob("*")}


def test_only_the_columns_asked_for(datasets: dict[str, Path], tmp_path: Path) -> None:
    pairs = materialize(matched(datasets, tmp_path), ["left.Z", "right.spectrum"], where=Where(0))
    own = [name for name in pairs.columns if name.startswith(("left_", "right_"))]
    assert own == [
        "left_id",
        "right_id",
        "right_sep_arcsec",
        "right_candidates",
        "right_flags",
        "left_Z",
        "right_spectrum",
    ]
    with pytest.raises(UsageError, match="Unknown column of left 'Y'"):
        materialize(matched(datasets, tmp_path), ["left.Y"], where=Where(0))


def test_two_columns_of_one_name_are_refused(datasets: dict[str, Path], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    table = records(scattered((np.array([1.0]), np.array([1.0])), 1.0, 5, random), "x", random)
    odd = write_hats(tmp_path / "odd", table.append_column("b_Z", table["Z"]), (0,))
    found = crossmatch({"a": odd, "a_b": datasets["left"]}, how="left", out=tmp_path / "out", where=Where(0))
    with pytest.raises(UsageError, match="would be called 'a_b_Z'"):
        materialize(found, where=Where(0))


def test_a_dataset_that_changed_is_refused_with_the_command_that_renews(
    datasets: dict[str, Path], tmp_path: Path
) -> None:
    random = np.random.default_rng(2)
    table = records(scattered((np.array([1.0]), np.array([1.0])), 1.0, 5, random), "x", random)
    mine = write_hats(tmp_path / "mine", table, (0,))
    found = crossmatch({"mine": mine, "left": datasets["left"]}, how="left", out=tmp_path / "out", where=Where(0))
    write_hats(tmp_path / "mine", table.slice(0, 3), (0,))
    with pytest.raises(UsageError, match=r"mine .* changed since it was matched.*mmu crossmatch .* --renew"):
        materialize(found, where=Where(0))


def test_a_renewed_match_has_no_pairs_of_the_old_one(datasets: dict[str, Path], tmp_path: Path) -> None:
    materialize(matched(datasets, tmp_path), where=Where(0))
    crossmatch(datasets, radius_arcsec=0.2, how="left", out=tmp_path, where=Where(0), renew=True)
    assert not (tmp_path / "pairs").exists()
    describe(tmp_path)
    assert mmu.open(tmp_path).release == "association"


def test_what_a_kill_left_of_the_replaced_folders_goes(datasets: dict[str, Path], tmp_path: Path) -> None:
    association = matched(datasets, tmp_path)
    materialize(association, where=Where(0))
    left = [tmp_path / name for name in (".old-association", ".old-pairs", ".matching", ".pairing")]
    for folder in left:
        (folder / "_mmu").mkdir(parents=True)
    materialize(matched(datasets, tmp_path), where=Where(0))
    assert not [folder for folder in left if folder.exists()]


def test_a_shard_that_is_gone_is_named(
    datasets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = matched(datasets, tmp_path)
    monkeypatch.setattr(Association, "check", lambda self: None)
    one = next(iter(sorted((datasets["right"] / "dataset").rglob("Npix=*.parquet"))))
    hidden = one.rename(one.with_suffix(".away"))
    try:
        with pytest.raises(MmuError, match=f"{one.name}.*is missing"):
            materialize(found, where=Where(0))
    finally:
        hidden.rename(one)


def test_rows_come_in_any_order_with_gaps(datasets: dict[str, Path]) -> None:
    dataset = mmu.open(datasets["left"])
    leaf = max(dataset.partitions, key=lambda leaf: len(dataset.table(region=f"healpix:{leaf}")))
    import pyarrow.parquet as pq

    whole = pq.read_table(dataset.shard(leaf), partitioning=None)
    row = np.array([len(whole) - 1, -1, 0, 2, 0])
    full = np.full(len(row), 1)
    got = Gather(dataset.path, ["object_id", "spectrum"])(full * leaf.order, full * leaf.pixel, row)
    wanted = whole.select(["object_id", "spectrum"]).take(pa.array(row, mask=row < 0))
    assert got.to_pylist() == wanted.to_pylist()
    with pytest.raises(FormatError, match=f"has {len(whole)} rows, and row {len(whole)} was asked for"):
        Gather(dataset.path, ["Z"])(full[:1] * leaf.order, full[:1] * leaf.pixel, np.array([len(whole)]))


@pytest.fixture(scope="module")
def described(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("described")
    materialize(matched(datasets, out), where=Where(0), partition_bytes=20_000)
    assert [path.name for path in describe(out)] == ["README.md", "croissant.json", "match.png"]
    return out


def test_the_folder_is_a_dataset_for_everyone(described: Path, tmp_path: Path) -> None:
    import datasets as hf

    hf.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    pairs = mmu.open(described)
    assert pairs.release == "pairs"
    rows = hf.load_dataset(str(described), split="train", cache_dir=str(tmp_path))
    assert len(rows) == len(pairs)
    ours = pairs.table("all")
    both = int(np.flatnonzero(ours["right_id"].is_valid().to_numpy())[0])
    lone = int(np.flatnonzero(ours["right_id"].is_null().to_numpy())[0])
    at = {name: n for n, name in enumerate(rows["object_id"])}
    for row in (both, lone):
        theirs = rows[at[ours["object_id"][row].as_py()]]
        assert theirs == {name: ours[name][row].as_py() for name in ours.column_names}
    assert rows.features["left_spectrum"]["flux"].feature.dtype == "float32"
    streamed = hf.load_dataset(str(described), "association", split="train", streaming=True)
    assert sum(1 for _ in streamed) == len(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of what lsdb and nested-pandas still use
        import lsdb

        opened = [lsdb.open_catalog(described / name) for name in ("pairs", "association")]
        assert [len(one.compute()) for one in opened] == [len(pairs)] * 2


def test_the_card_says_how_it_was_made(described: Path) -> None:
    card = (described / "README.md").read_text()
    assert "Objects of left and, within 0.4 arcsec of each, the nearest record of each dataset" in card
    assert "mmu crossmatch left=left right=right --radius 0.4 --how left --mode nearest --out OUT" in card
    assert "`right_sep_arcsec`" in card
    assert str(described.parent) not in card
    before = {name: (described / name).read_bytes() for name in ("README.md", "croissant.json", "match.png")}
    dress(described)
    assert {name: (described / name).read_bytes() for name in before} == before
    assert "left does not say what to cite" in card  # these were not built by mmu
    assert "@inproceedings{mmu2024" in card


def test_the_card_and_its_croissant_are_valid(described: Path) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(described / "README.md").data
    assert (data.license, data.license_name, data.size_categories) == ("other", "those-of-the-datasets", ["n<1K"])
    assert "cross-match" in data.tags
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rdflib's own deprecations
        import mlcroissant

        read = mlcroissant.Dataset(jsonld=str(described / "croissant.json"))
    assert [record_set.id for record_set in read.metadata.record_sets] == ["pairs", "association"]
    assert [field.name for field in read.metadata.record_sets[0].fields] == mmu.open(described, "pairs").columns


def test_what_is_changed_beside_the_card_is_found(described: Path) -> None:
    path = described / "match.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    said = {problem for verdict in verify(described) for problem in verdict.problems}
    path.write_bytes(whole)
    assert said == {f"{path} was changed since it was written."}
    assert not [problem for verdict in verify(described) for problem in verdict.problems]


def test_verify_finds_any_change(described: Path) -> None:
    verdicts = mmu.verify(described)
    assert [(verdict.release, verdict.problems) for verdict in verdicts] == [("association", ()), ("pairs", ())]
    files = [path for path in described.rglob("*") if path.is_file() and path.suffix not in (".lock", ".png")]
    assert len(files) > 12
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        found = [problem for verdict in mmu.verify(described) for problem in verdict.problems]
        path.write_bytes(whole)
        assert any(str(path) in problem for problem in found), (path, found)
    stray = described / "pairs/dataset/Norder=0/stray"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("x")
    assert any("stray" in problem for verdict in mmu.verify(described) for problem in verdict.problems)
    stray.unlink()


def test_the_account_names_what_was_matched(described: Path, datasets: dict[str, Path]) -> None:
    facts = json.loads((described / "association/_mmu/match.json").read_text())
    assert [member["address"] for member in facts["members"]] == [str(folder) for folder in datasets.values()]
    assert facts["rows"] == len(mmu.open(described, "association"))
