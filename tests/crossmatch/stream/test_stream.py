"""Batches hold what the datasets hold, of the pairs that crossmatch finds, whatever the way they are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mmu
from crossmatch.materialize import materialize
from crossmatch.stream.batch import Batch
from mmu.errors import FormatError, UsageError
from mmu.schema import MODALITIES, Column
from mmu.schema.arrow import arrow_type
from tests.crossmatch.stream.conftest import COUNT
from tests.crossmatch.stream.skies import dataset, images, spectra

Paths = dict[str, Path]
EACH = {"ls": 1, "desi": 2, "sdss": 3}


def objects(batch: Batch, name: str) -> np.ndarray[Any, Any]:
    """The object of each row, by the survey's id; -1 where it has none."""
    return np.array([-1 if one is None else EACH[name] * int(one.removeprefix(name)) for one in batch.ids[name]])


def check(batch: Batch) -> None:
    """Every value is of the object that its id says."""
    for name in batch:
        of = objects(batch, name)
        assert np.array_equal(np.asarray(batch.present[name]), of >= 0)
        if name == "ls":
            valid, flux = batch[name]["image.flux.valid"], batch[name]["image.flux"]
            expected = np.where(valid, 10.0 * of[:, None] + np.arange(4), 0.0)
            assert np.array_equal(flux, np.broadcast_to(expected[..., None, None], flux.shape))
            assert np.array_equal(valid, (of >= 0)[:, None] & ~((of % 3 == 0)[:, None] & (np.arange(4) == 1)))
        elif name == "desi":
            expected = np.where(of[:, None] < 0, 0.0, 10.0 * of[:, None] + np.arange(12))
            assert np.array_equal(batch[name]["spectrum.flux"], expected)
            assert np.array_equal(batch[name]["TARGETID"], np.where(of < 0, 0, of // 2 + (1 << 60)))
            assert np.array_equal(np.isnan(batch[name]["Z"]), (of >= 0) & (of // 2 % 5 == 0))
        else:
            values, offsets = batch[name]["spectrum.flux"]
            for row, one in enumerate(of):
                length = 0 if one < 0 else 1 + one // 3 % 7
                assert np.array_equal(values[offsets[row] : offsets[row + 1]], 10.0 * one + np.arange(length))
    first = next(iter(batch))
    for name in batch:
        seen = (objects(batch, name) >= 0) & (objects(batch, first) >= 0)
        assert np.array_equal(objects(batch, name)[seen], objects(batch, first)[seen]), "rows are pairs"


def pairs(batches: Any) -> list[tuple[str | None, ...]]:
    return sorted((pair for batch in batches for pair in zip(*batch.ids.values(), strict=True)), key=str)


@pytest.mark.parametrize("shuffle", [None, 1])
@pytest.mark.parametrize("names", [["ls"], ["ls", "desi"], ["desi", "sdss"], ["ls", "desi", "sdss"]])
@pytest.mark.parametrize("how", ["inner", "left", "outer"])
def test_every_pair_once_with_its_values(sky: Paths, names: list[str], how: str, shuffle: int | None) -> None:
    given = [sky[name] for name in names]
    stream = mmu.stream(given, how=how, batch_size=16, shuffle=shuffle, tail="exact")
    batches = list(stream)
    assert len(batches) == len(stream)
    for batch in batches:
        check(batch)
    if len(names) > 1:
        table = mmu.crossmatch(*given, how=how).table([f"{name}_id" for name in names])
        assert pairs(batches) == sorted(zip(*table.to_pydict().values(), strict=True), key=str)
    else:
        assert len(pairs(batches)) == COUNT
    if shuffle is None and how != "outer":
        assert [one for batch in batches for one in batch.ids[names[0]]] != sorted(pairs(batches))


def test_an_association_and_its_pairs_are_streamed_alike(sky: Paths, tmp_path: Path) -> None:
    how: dict[str, Any] = {"batch_size": 16, "tail": "exact", "shuffle": 3}
    given = {name: sky[name] for name in ("ls", "desi", "sdss")}
    direct = list(mmu.stream(given, how="left", **how))
    association = mmu.crossmatch(given, how="left", out=tmp_path / "out")
    materialize(association)
    for other in (association, tmp_path / "out", tmp_path / "out" / "association", tmp_path / "out" / "pairs"):
        found = list(mmu.stream(other, **how))
        assert pairs(found) == pairs(direct)
        for batch in found:
            check(batch)
            for name in ("desi", "sdss"):
                assert np.array_equal(np.isnan(batch.separation[name]), ~batch.present[name])
                assert np.nanmax(batch.separation[name], initial=0) < 0.2


def test_columns_are_those_asked_for(sky: Paths) -> None:
    given = [sky["ls"], sky["desi"]]
    batch = next(iter(mmu.stream(given, columns={"ls": "mag", "desi": ["spectrum", "kind"]}, batch_size=8)))
    assert list(batch["ls"]) == ["mag"]
    assert list(batch["desi"]) == ["spectrum.flux", "spectrum.ivar", "kind"]
    of = objects(batch, "desi")
    assert batch["desi"]["kind"].tolist() == [f"k{one // 2 % 3}" for one in of]
    again = next(iter(mmu.stream(given, columns=["ls.mag", "desi.spectrum", "desi.kind"], batch_size=8)))
    assert [list(again[name]) for name in again] == [list(batch[name]) for name in batch]


@pytest.fixture(scope="module")
def tagged(sky: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the objects, with none, one or two texts each in a column and in a struct, some of them null."""
    column = Column("tags", "string", shape=(None,), nullable=True)
    curve = MODALITIES["lightcurve"].column(axes={"time": None}, flux="uJy", with_=("band",))
    table = mmu.open(sky["desi"]).table(["ra", "dec", "object_id"])
    of = [int(one.removeprefix("desi")) for one in table["object_id"].to_pylist()]
    tags = pa.array([None if n % 7 == 0 else [f"t{n}"] * (n % 3) for n in of], arrow_type(column))
    rows = [{"band": [f"b{n}", "r"], "time": [1.0, 2.0], "flux": [3.0, 4.0], "flux_err": [1.0, 1.0]} for n in of]
    values = {"tags": tags, "lightcurve": pa.array(rows, arrow_type(curve))}
    ra, dec = (table[name].to_numpy() for name in ("ra", "dec"))
    return dataset(tmp_path_factory.mktemp("tagged") / "tagged", (column, curve), values, ra, dec)


def wanted_of(tagged: Path) -> dict[str, Any]:
    table = mmu.open(tagged).table(["object_id", "tags", "lightcurve"])
    rows = zip(table["tags"].to_pylist(), (row["band"] for row in table["lightcurve"].to_pylist()), strict=True)
    return {None: (None, None), **dict(zip(table["object_id"].to_pylist(), rows, strict=True))}


@pytest.mark.parametrize("how", [{}, {"shuffle": 1, "pad": 0}, {"shuffle": 1, "device": "cpu"}, {"cache": True}])
def test_lists_of_texts_come_as_they_are(sky: Paths, tagged: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    how = {**how, "cache": tmp_path / "cache"} if "cache" in how else how
    columns = {"ls": "mag", "tagged": ["tags", "lightcurve"]}
    stream = mmu.stream([sky["ls"], tagged], columns=columns, how="left", batch_size=16, tail="exact", **how)
    wanted, seen = wanted_of(tagged), 0
    for batch in (*stream, *stream):
        given = batch["tagged"]
        assert {"tags", "lightcurve.band", "lightcurve.flux"} <= set(given)
        assert given["tags"].dtype == given["lightcurve.band"].dtype == object
        for one, *row in zip(batch.ids["tagged"], given["tags"], given["lightcurve.band"], strict=True):
            assert tuple(None if texts is None else list(texts) for texts in row) == wanted[one]
            seen += one is not None
    assert seen == 2 * (len(wanted) - 1)


def test_texts_are_not_among_what_comes_by_default(sky: Paths, tagged: Path) -> None:
    assert not {"tags", "lightcurve.band"} & set(next(iter(mmu.stream(tagged, batch_size=4)))["tagged"])
    batch = next(iter(mmu.stream(sky["ls"], columns=["image", "image.band"], batch_size=4)))
    assert [len(one) for one in batch["ls"]["image.band"]] == batch["ls"]["image.flux.valid"].sum(1).tolist()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"columns": ["ls.imag"]}, "imag.*image"),
        ({"columns": {"hsc": ["image"]}}, "hsc.*ls"),
        ({"columns": ["mag"]}, "does not say of which dataset"),
        ({"dtype": "float8"}, "float8.*float16"),
        ({"crop": 9}, "crop=9 is more than the 8 pixels"),
        ({"batch_size": 0}, "at least one row"),
        ({"on_error": "ignore"}, "ignore.*skip"),
        ({"rank": 1}, "both, or neither"),
        ({"batch_size": 500}, "take a smaller batch_size"),
        ({"split": "trian"}, "trian.*train"),
        ({"weights": np.ones(13)}, "12 x 4\\^order"),
        ({"weights": {"ls": -1.0}}, "not negative"),
    ],
)
def test_what_cannot_be_is_said_at_once(sky: Paths, how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        len(mmu.stream([sky["ls"], sky["desi"]], **how))


def test_one_dataset_is_called_as_given(sky: Paths) -> None:
    for given in ({"mine": sky["ls"]}, f"mine={sky['ls']}", [f"mine={sky['ls']}"]):
        batch = next(iter(mmu.stream(given, columns=["mag"], batch_size=8)))
        assert list(batch) == ["mine"]


def test_a_table_is_matched_but_not_streamed(sky: Paths, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("id,ra,dec\n1,44.5,0.1\n")
    with pytest.raises(UsageError, match="is a table"):
        mmu.stream([sky["ls"], table])


def test_ragged_rows_are_padded_when_asked(sky: Paths) -> None:
    for batch in mmu.stream(sky["sdss"], pad=-1.0, batch_size=16):
        flux, valid = batch["sdss"]["spectrum.flux"], batch["sdss"]["spectrum.flux.valid"]
        of = objects(batch, "sdss")
        assert np.array_equal(valid.sum(axis=1), 1 + of // 3 % 7)
        assert np.array_equal(flux, np.where(valid, 10.0 * of[:, None] + np.arange(flux.shape[1]), -1.0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_images_are_cropped_and_narrowed(sky: Paths, dtype: str) -> None:
    whole = next(iter(mmu.stream(sky["ls"], batch_size=16)))["ls"]["image.flux"]
    small = next(iter(mmu.stream(sky["ls"], batch_size=16, crop=4, dtype=dtype)))["ls"]
    assert small["image.flux"].dtype == dtype
    assert np.array_equal(small["image.flux"], whole[..., 2:6, 2:6].astype(dtype))
    assert small["mag"].dtype == np.float32, "scalars keep their own"


def test_the_pixel_in_the_middle_stays_there(tmp_path: Path) -> None:
    """Surveys put the object on pixel n // 2."""
    from crossmatch.stream.arrays import Array
    from crossmatch.stream.decode import _cropped

    for size in (7, 8, 9):
        for crop in (3, 4):
            plane = np.zeros((1, size, size))
            plane[0, size // 2, size // 2] = 1
            assert _cropped(Array("x", "x", (1, crop, crop), "float32", crop=crop), plane)[0, crop // 2, crop // 2] == 1


@pytest.mark.parametrize("cached", [False, True])
def test_what_float16_cannot_hold_is_refused_with_its_count(tmp_path: Path, cached: bool) -> None:
    number = np.array([1.0, 70000.0, 2.0, np.inf])
    path = images(tmp_path / "big", number, np.full(4, 44.0), np.linspace(0, 0.1, 4))
    stream = mmu.stream(path, batch_size=2, dtype="float16", cache=tmp_path / "cache" if cached else None)
    with pytest.raises(FormatError, match=r"256 values of 'image.flux' .* too large for float16"):
        list(stream)


def test_bands_are_put_in_the_order_asked_for(sky: Paths) -> None:
    batch = next(iter(mmu.stream(sky["ls"], bands={"ls": "zug"}, batch_size=16)))
    of = objects(batch, "ls")
    flux, valid = batch["ls"]["image.flux"], batch["ls"]["image.flux.valid"]
    assert batch.bands["ls"]["image.flux"] == ("z", "u", "g")
    assert np.array_equal(valid, np.repeat([[True, False, True]], len(of), axis=0))
    assert np.array_equal(flux[..., 0, 0], np.where(valid, 10.0 * of[:, None] + np.array([3, 0, 0]), 0))


def test_arrays_are_the_users_own(sky: Paths) -> None:
    """Those kept stay as they are while the stream goes on; all can be written to."""
    kept = []
    for batch in mmu.stream([sky["ls"], sky["desi"]], batch_size=8, shuffle=1):
        kept.append((batch, {n: {k: np.array(v) for k, v in batch[n].items()} for n in batch}))
        assert all(array.flags.writeable for name in batch for array in batch[name].values())
    for batch, copies in kept:
        check(batch)
        for name, columns in copies.items():
            for column, array in columns.items():
                assert np.array_equal(batch[name][column], array, equal_nan=True)


def test_buffers_are_used_again_once_nothing_refers_to_them(sky: Paths) -> None:
    stream = mmu.stream(sky["ls"], columns=["image.flux"], batch_size=8, pool_bytes=1)
    places = {batch["ls"]["image.flux"].ctypes.data for batch in stream}
    assert len(places) < len(stream) / 2


def test_a_region_takes_what_is_inside(sky: Paths, tmp_path: Path) -> None:
    region, ra = "box:44.5,45.5,-0.5,0.5", "ra"
    mmu.crossmatch(sky["ls"], sky["desi"], out=tmp_path / "out")
    for given in (sky["ls"], [sky["ls"], sky["desi"]], tmp_path / "out"):
        inside = list(mmu.stream(given, region=region, batch_size=8, tail="exact"))
        every = list(mmu.stream(given, batch_size=8, tail="exact"))
        found = np.concatenate([batch["ls"][ra] for batch in inside])
        at = np.concatenate([np.stack([batch["ls"]["ra"], batch["ls"]["dec"]]) for batch in every], axis=1)
        expected = at[0][(abs(at[0] - 45) <= 0.5) & (abs(at[1]) <= 0.5)]
        assert 0 < len(found) < at.shape[1]
        assert np.array_equal(np.sort(found), np.sort(expected))


def test_transform_gives_what_is_handed_out(sky: Paths) -> None:
    found = list(mmu.stream(sky["ls"], batch_size=100, transform=lambda batch: batch["ls"]["mag"].mean()))
    assert len(found) == COUNT // 100
    assert all(isinstance(one, np.floating) for one in found)


@pytest.mark.parametrize("damage", ["cut", "gone", "bytes"])
def test_a_row_group_that_cannot_be_read_is_named_or_skipped_and_counted(
    sky: Paths, tmp_path: Path, damage: str
) -> None:
    broken = Path(shutil.copytree(sky["ls"], tmp_path / "ls"))
    given = [broken, sky["desi"]]
    path = max((broken / "dataset").rglob("*.parquet"), key=lambda one: one.stat().st_size)
    whole = mmu.stream(given, batch_size=8, tail="exact")
    skipping = mmu.stream(given, batch_size=8, tail="exact", on_error="skip")
    hit = int((whole.samples.leaf[0] == [str(f[0]) for f in whole.samples.sides[0].files].index(str(path))).sum())
    assert 0 < hit < len(whole.samples)
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes(len(data) // 2) + data[len(data) // 2 :])
    with pytest.raises(FormatError, match=path.name):
        list(whole)
    batches = list(skipping)
    left = sum(batch.size for batch in batches)
    lost = sum(skipping.stats.skipped.values())
    assert left + lost == len(whole.samples)
    assert 0 < lost <= hit
    for batch in batches:
        check(batch)
    assert all(path.name in words for words in skipping.stats.skipped)


def test_two_thousand_objects_in_memory_of_a_few_row_groups(tmp_path: Path) -> None:
    """Batches larger than partitions and row groups larger than batches are the same to it."""
    ra, dec = np.linspace(44, 46, 2000), np.zeros(2000)
    number = np.arange(2000) * 1.0
    fine = spectra(tmp_path / "fine", number, ra, dec, order=6, group=1)
    coarse = spectra(tmp_path / "coarse", number, ra, dec, order=0, group=1500)
    for size in (7, 1999):
        found = 0
        for batch in mmu.stream(
            [fine, coarse], batch_size=size, tail="exact", shuffle=2, columns=["fine.TARGETID", "coarse.TARGETID"]
        ):
            assert np.array_equal(batch["fine"]["TARGETID"], batch["coarse"]["TARGETID"])
            found += batch.size
        assert found == 2000
