"""Cubes and maps to records: shapes, masks, wavelengths and places; one shape of record against the other."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

import mmu
from mmu.dataset import Dataset
from mmu.decoding import decode, first
from mmu.errors import FormatError, UsageError
from mmu.fits import open_fits
from mmu.schema import arrow_schema
from mmu.shards.parquet import write_shard
from mmu.simulate import Sky
from mmu.sky.partition import Partition
from mmu.spaxels import assembled
from mmu.survey import Records
from surveys.manga import MANGA, MANGA_SPAXELS, archive, read
from surveys.manga import cube as cubes
from surveys.manga.columns import MAPS, map_column
from surveys.manga.maps import extensions, read_column, read_map
from surveys.manga.simulate_cube import centre, observed, share_of_light
from surveys.manga.simulate_maps import LINES
from surveys.manga.simulate_targets import Target, targets


@pytest.fixture(scope="module")
def target(sky: Sky) -> Target:
    """An observation whose bundle is off the galaxy's centre, with a star in front or not."""
    return next(target for target in targets(sky) if target.done and target.offset != (0.0, 0.0))


def _read(release: Any, target: Target, fetch: Any, selected: Any) -> Records:
    rows = selected(release)
    row = rows.filter(pa.compute.equal(rows["object_id"], target.name))
    return read.read(release, target.name, fetch(archive.files(release, target.name)), row)


@pytest.fixture(scope="module")
def galaxy(target: Target, fetch: Any, selected: Any) -> pa.Table:
    return _read(MANGA, target, fetch, selected).table


@pytest.fixture(scope="module")
def spaxels(target: Target, fetch: Any, selected: Any) -> pa.Table:
    return _read(MANGA_SPAXELS, target, fetch, selected).table


def test_a_cube_is_the_archives_at_its_own_size(galaxy: pa.Table, target: Target, sky: Sky) -> None:
    assert galaxy.schema.equals(arrow_schema(MANGA.schema).remove(0), check_metadata=True)
    cube = first(decode(galaxy)["cube"])
    flux, ivar, mask = observed(sky, target)
    for member, wanted in (("flux", flux), ("ivar", ivar), ("mask", mask)):
        assert cube[member].dtype == wanted.dtype
        np.testing.assert_array_equal(cube[member], wanted)
    assert cube["flux"].shape == (4563, target.side, target.side)
    assert cube["lambda"].dtype == np.float32
    np.testing.assert_allclose(cube["lambda"][[0, -1]], [3621.59598, 10353.80544], rtol=1e-7)
    assert 0.5 < cube["lsf_sigma"][2000, 17, 17] < 2.0


def test_maps_have_labels_and_units_of_their_headers(galaxy: pa.Table, target: Target) -> None:
    record = first(decode(galaxy))
    assert sum(len(record[name.lower()]["label"]) for name in MAPS) == 914
    assert record["emline_gflux"]["label"].tolist() == LINES
    assert record["emline_sflux"]["label"][0] == "OIId-3728"
    assert set(record["emline_gflux"]["unit"]) == {"1E-17 erg/s/cm^2/spaxel"}
    assert record["spx_ellcoo"]["unit"].tolist() == ["arcsec", "", "kpc/h", "degrees"]
    index = dict(zip(record["specindex"]["label"], record["specindex"]["unit"], strict=True))
    assert (index["CN1"], index["Fe5015"], index["D4000"]) == ("mag", "ang", "")
    fom = dict(zip(record["stellar_fom"]["label"], record["stellar_fom"]["unit"], strict=True))
    assert fom["rchi2"] == ""  # v1 had a flux's unit here
    assert record["stellar_vel"]["label"].tolist() == ["stellar_vel"]
    assert record["binid"]["value"].dtype == np.int32
    assert record["emline_gvel"]["mask"].dtype == np.int32
    assert record["emline_gvel"]["mask"].max() >= 1 << 30
    assert set(record["spx_snr"]) == {"label", "unit", "value"}
    x, y = record["spx_skycoo"]["value"][:, target.side // 2, target.side // 2]
    assert (x, y) == pytest.approx(target.offset, abs=1e-5)


def test_the_galaxy_is_where_the_coordinates_say(target: Target, fetch: Any, spaxels: pa.Table) -> None:
    path = fetch(archive.files(MANGA, target.name)[:1]).popitem()[1]
    with open_fits(path) as file:
        where = cubes.coordinates(file).all_world2pix(target.truth["ra"], target.truth["dec"], 0)
    np.testing.assert_allclose(np.array(where, dtype=float), centre(target), atol=0.02)
    light = share_of_light(target, "r")
    peak = np.unravel_index(light.argmax(), light.shape)
    assert abs(peak[1] - where[0]) <= 0.51
    assert abs(peak[0] - where[1]) <= 0.51
    place = {
        (row["x"], row["y"]): (row["ra"], row["dec"]) for row in spaxels.select(["x", "y", "ra", "dec"]).to_pylist()
    }
    middle = target.side // 2
    assert place[middle, middle] == pytest.approx((target.ra, target.dec), abs=1e-9)
    assert place[middle - 2, middle][0] > target.ra  # column 0 is east
    assert place[middle, middle + 2][1] == pytest.approx(target.dec + 2 * 0.5 / 3600, abs=1e-7)  # row 0 is south


def test_images_are_those_of_the_cube(galaxy: pa.Table) -> None:
    image = first(decode(galaxy)["image"])
    assert image["band"].tolist() == list("griz")
    assert image["flux"].shape == image["psf"].shape == (4, 34, 34)
    np.testing.assert_allclose(image["scale"], 0.5, atol=1e-5)
    np.testing.assert_allclose(image["psf"].sum(axis=(1, 2)), 1, atol=1e-5)
    assert (image["psf_fwhm"] > 2).all()


def test_spaxels_put_together_are_the_cube(galaxy: pa.Table, spaxels: pa.Table) -> None:
    whole, again = first(decode(galaxy)["cube"]), assembled(spaxels, "spectrum")
    covered = again["covered"]
    assert len(spaxels) == covered.sum() == ((whole["mask"] & 1) == 0).any(axis=0).sum()
    assert 0.3 < covered.mean() < 0.8
    for member, name in (("flux", "flux"), ("ivar", "ivar"), ("lsf_sigma", "lsf_sigma"), ("maskbits", "mask")):
        np.testing.assert_array_equal(again[member][:, covered], whole[name][:, covered])
    np.testing.assert_allclose(again["lambda"], whole["lambda"], rtol=1e-7)
    assert (again["maskbits"][:, ~covered] == -1).all()
    assert again["mask"][:, ~covered].all()
    assert not again["flux"][:, ~covered].any()


def _dataset(folder: Path, tables: list[pa.Table], release: Any) -> Dataset:
    """Tables as a dataset of one shard."""
    schema = arrow_schema(release.schema)
    tables = [table.add_column(0, "_healpix_29", pa.array([1] * len(table))) for table in tables]
    write_shard(folder / "dataset" / Partition(0, 0).path, tables, schema, release.row_group_rows)
    pq.write_metadata(schema, folder / "dataset" / "_common_metadata")
    (folder / "hats.properties").write_text("dataproduct_type=object\n")
    return mmu.open(folder)


def test_a_dataset_gives_cubes_whichever_shape_its_rows_have(
    galaxy: pa.Table, spaxels: pa.Table, target: Target, tmp_path: Path
) -> None:
    other = spaxels.set_column(0, spaxels.schema.field(0), pa.array(["9-9"] * len(spaxels)))
    rows = _dataset(tmp_path / "manga_spaxels", [spaxels, other], MANGA_SPAXELS).cube(target.name)
    whole = _dataset(tmp_path / "manga", [galaxy], MANGA).cube(target.name)
    covered = rows["covered"]
    np.testing.assert_array_equal(rows["flux"][:, covered], whole["flux"][:, covered])
    assert rows["ivar"].shape == whole["ivar"].shape
    with pytest.raises(UsageError, match="no object '1-1'"):
        mmu.open(tmp_path / "manga_spaxels").cube("1-1")


def test_spaxels_lie_side_by_side_row_by_row(spaxels: pa.Table, target: Target) -> None:
    x, y = (spaxels[name].to_numpy().astype(int) for name in ("x", "y"))
    assert (np.diff(y * target.side + x) > 0).all()
    assert set(spaxels["object_id"].to_pylist()) == {target.name}
    spectrum = decode(spaxels)["spectrum"]
    assert (spectrum["mask"] == ((spectrum["maskbits"] & (1024 | 8)) != 0)).all()
    assert (spectrum["ivar"][~spectrum["mask"]] > 0).all()
    assert set(spaxels["drp3qual"].to_pylist()) == {target.quality}


def test_rows_of_two_objects_make_no_cube(spaxels: pa.Table) -> None:
    with pytest.raises(UsageError, match="twice"):
        assembled(pa.concat_tables([spaxels, spaxels.slice(0, 3)]), "spectrum")


def test_one_map_is_read_without_the_cube(galaxy: pa.Table, tmp_path: Path) -> None:
    path, schema = tmp_path / "one.parquet", arrow_schema(MANGA.schema)
    write_shard(path, [galaxy.add_column(0, "_healpix_29", pa.array([1]))], schema, 1)

    class Counting:
        def __init__(self) -> None:
            self.file, self.bytes, self.closed = path.open("rb"), 0, False

        def read(self, size: int = -1) -> bytes:
            data = self.file.read(size)
            self.bytes += len(data)
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    counting = Counting()
    with pq.ParquetFile(pa.PythonFile(counting, "r")) as file:
        footer = counting.bytes
        values = file.read(columns=["emline_gflux.value"])
    counting.file.close()
    assert values.nbytes > 100_000
    assert counting.bytes - footer < 400_000 < path.stat().st_size / 10


def test_without_maps_the_row_is_what_it_can_be(target: Target, fetch: Any, selected: Any) -> None:
    rows = selected(MANGA)
    row = rows.filter(pa.compute.equal(rows["object_id"], target.name))
    table = read.read(MANGA, target.name, fetch(archive.files(MANGA, target.name)[:1]), row).table
    record = first(decode(table))
    assert record["emline_gflux"]["label"].tolist() == []
    assert len(record["emline_gflux"]["value"]) == 0
    assert record["cube"]["flux"].shape == (4563, 34, 34)


def test_a_cube_need_not_be_square_nor_even(tiny: Any) -> None:
    with open_fits(tiny(3, 5)) as file:
        whole, found = cubes.whole(file), cubes.spaxels(file)
    assert whole["flux"].shape == (4563, 3, 5)
    assert found.shape == (3, 5)
    assert len(found.x) == 14
    assert (found.y[0], found.x[0]) == (0, 1)
    assert found.spectra["flux"].dtype == np.dtype("float32")  # native


def test_what_is_not_a_number_carries_no_weight(tiny: Any) -> None:
    def spoil(hdus: dict[str, Any]) -> None:
        hdus["FLUX"].data[100, 1, 1] = np.nan
        hdus["IVAR"].data[200, 1, 1] = np.inf
        hdus["IVAR"].data[300, 1, 1] = 0

    with open_fits(tiny(change=spoil)) as file:
        whole, found = cubes.whole(file), cubes.spaxels(file)
    here = np.flatnonzero((found.x == 1) & (found.y == 1))[0]
    for planes, at in (
        ({**whole, "maskbits": whole["mask"]}, (slice(None), 1, 1)),
        (found.spectra, (here, slice(None))),
    ):
        assert np.isfinite(planes["flux"][at]).all()
        assert np.flatnonzero(planes["ivar"][at] == 0).tolist() == [100, 200, 300]
        assert np.flatnonzero(planes["maskbits"][at] == 1024).tolist() == [100, 200, 300]


def test_a_galaxy_without_a_covered_spaxel_is_excluded(tiny: Any) -> None:
    def cover(hdus: dict[str, Any]) -> None:
        hdus["MASK"].data[:] = 1027

    rows = pa.table({"object_id": ["1-2"], "z": [0.1], "drp3qual": [0], "dapqual": [0]})
    with open_fits(tiny(change=cover)) as file:
        records = read.spaxels(MANGA_SPAXELS, file, rows)
    assert records.excluded == {"1-2": read.UNCOVERED}
    assert records.table.schema.equals(arrow_schema(MANGA_SPAXELS.schema).remove(0))


def _replace(name: str, kind: str, shape: tuple[int, ...]) -> Any:
    return lambda hdus: hdus.__setitem__(name, fits.ImageHDU(np.zeros(shape, kind), name=name))


BAD: dict[str, tuple[Any, str]] = {
    "no mask": (lambda hdus: hdus.pop("MASK"), "no HDU MASK"),
    "other grid": (lambda hdus: hdus["WAVE"].data.__imul__(1.001), "WAVE is not 4563"),
    "other shape": (_replace("IVAR", "f4", (4563, 3, 4)), "IVAR is"),
    "other type": (_replace("MASK", "f4", (4563, 3, 5)), "MASK is f4"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_cube_of_another_data_model_is_told(kind: str, tiny: Any) -> None:
    change, wanted = BAD[kind]
    with open_fits(tiny(change=change)) as file, pytest.raises(FormatError, match=f"LOGCUBE.*{wanted}"):
        cubes.whole(file)


def test_a_band_that_is_absent_is_left_out(tiny: Any) -> None:
    with open_fits(tiny(change=lambda hdus: hdus.pop("IPSF"))) as file:
        image = cubes.images(file, (3, 5))
    assert image["band"] == ["g", "r", "z"]
    assert image["flux"].shape == (3, 3, 5)
    assert len(image["psf_fwhm"]) == 3


def test_a_truncated_or_foreign_file_is_told(tiny: Any, tmp_path: Path) -> None:
    whole = tiny()
    rows = pa.table({"object_id": ["1-2"]})
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(FormatError, match=r"cut\.fits\.gz"):
        read.read(MANGA_SPAXELS, "1-2", {archive.cube_path(MANGA_SPAXELS, "1-2"): path}, rows)
    with pytest.raises(FormatError, match="'1-2', not 1-3"):
        read.read(MANGA_SPAXELS, "1-3", {archive.cube_path(MANGA_SPAXELS, "1-3"): whole}, rows)


def _maps(path: Path, *hdus: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    return path


def _map(name: str, channels: int, **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.arange(channels * 6, dtype=np.float32).reshape(channels, 2, 3), name=name)
    hdu.header.update(cards)
    return hdu


def test_units_do_not_leak_from_channel_to_channel(tmp_path: Path) -> None:
    own = _map("A", 3, C1="one", U1="mag", C2="two", U2="", C3="three", BUNIT="km/s")
    shared = _map("B", 2, C01="one", C02="two", BUNIT="km/s")
    with open_fits(_maps(tmp_path / "m.fits", own, shared)) as file:
        assert read_map(file, "A")["unit"] == ["mag", "", ""]
        assert read_map(file, "B")["unit"] == ["km/s", "km/s"]
        assert extensions(file) == ["A", "B"]


def test_channels_without_names_and_lost_links_are_told(tmp_path: Path) -> None:
    hdus = [_map("A", 2, C1="one"), _map("B", 1, C1="one", ERRDATA="B_IVAR"), _map("EMLINE_GVEL", 1, C1="x")]
    with open_fits(_maps(tmp_path / "m.fits", *hdus)) as file:
        with pytest.raises(FormatError, match="channels of A are not named"):
            read_map(file, "A")
        with pytest.raises(FormatError, match="no HDU B_IVAR"):
            read_map(file, "B")
        with pytest.raises(FormatError, match="EMLINE_GVEL names no ivar"):
            read_column(file, map_column("EMLINE_GVEL"), (2, 3))
        with pytest.raises(FormatError, match="A has shape"):
            read_map(file, "A", (3, 3))


def test_a_cube_in_place_of_the_maps_is_told(tiny: Any) -> None:
    cube, maps = (path(MANGA, "1-2") for path in (archive.cube_path, archive.maps_path))
    file = tiny()
    with pytest.raises(FormatError, match="no HDU SPX_MFLUX"):
        read.read(MANGA, "1-2", {cube: file, maps: file}, pa.table({"object_id": ["1-2"]}))


def test_maps_of_the_releases_version_lack_no_extension(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header.update({"PLATEIFU": "1-2", "VERSDAP": "3.1.0"})
    path = tmp_path / "maps.fits"
    fits.HDUList([primary, _map("SPX_MFLUX", 1)]).writeto(path)
    with pytest.raises(FormatError, match=r"maps\.fits: no HDU SPX_SKYCOO, .* which the maps of version 3\.1\.0 have"):
        read._maps(path, "1-2", "3.1.0").__enter__()
    with read._maps(path, "1-2", "3.0.1") as file:
        assert file.has("SPX_MFLUX")
