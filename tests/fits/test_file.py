"""The mapped reader against Astropy's, and what it refuses."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmu.errors import FormatError
from mmu.fits import open_fits

ROWS = 5


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with every kind of column that archives use, a plain and a tile-compressed image."""
    at = np.arange(ROWS)
    columns = [
        fits.Column("Name", "6A", array=[f"n{i}" for i in at]),
        fits.Column("flux", "3E", array=at[:, None] + np.zeros(3, np.float32)),
        fits.Column("big", "K", array=at + (1 << 60)),
        fits.Column("u16", "I", bzero=1 << 15, array=(at + 40000).astype(np.uint16)),
        fits.Column("u32", "J", bzero=1 << 31, array=(at + 4_000_000_000).astype(np.uint32)),
        fits.Column("scaled", "I", array=at),
        fits.Column("flag", "L", array=at % 2 == 0),
        fits.Column("bits", "11X", array=np.zeros((ROWS, 11), bool)),
        fits.Column("lists", "PE()", array=np.array([np.arange(i + 1, dtype=np.float32) for i in at], dtype=object)),
    ]
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    hdus = [
        fits.PrimaryHDU(image),
        fits.BinTableHDU.from_columns(columns, name="THINGS"),
        fits.ImageHDU(image.astype(np.int16), name="PLAIN"),
        fits.CompImageHDU(image.astype(np.int32), name="TILES"),
    ]
    hdus[1].header["TSCAL6"], hdus[1].header["TZERO6"] = 0.5, 10
    path = tmp_path_factory.mktemp("fits") / "all.fits"
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("name", ["NAME", "FLUX", "BIG", "U16", "U32", "SCALED", "FLAG"])
@pytest.mark.parametrize("key", [1, "THINGS"])
def test_columns_are_astropys(table: Path, name: str, key: Any) -> None:
    with open_fits(table) as file, fits.open(table) as hdus:
        found, wanted = file.columns(key, [name])[name], np.asarray(hdus[1].data[name])
    assert found.dtype.isnative
    assert found.dtype.kind == wanted.dtype.kind
    np.testing.assert_array_equal(found, wanted)


def test_rows_are_chosen_before_anything_is_copied(table: Path) -> None:
    with open_fits(table) as file:
        assert file.columns(1, ["BIG"], rows=np.array([3, 1]))["BIG"].tolist() == [(1 << 60) + 3, (1 << 60) + 1]


@pytest.mark.parametrize("name", ["BITS", "LISTS"])
def test_a_column_that_is_no_plain_array_is_refused_by_name(table: Path, name: str) -> None:
    with open_fits(table) as file, pytest.raises(FormatError, match=f"(?i)column {name} of 1 has the format"):
        file.columns(1, [name])


def test_missing_columns_are_all_named_and_optional_ones_are_not(table: Path) -> None:
    with open_fits(table) as file:
        assert set(file.columns(1, ["BIG"], optional=["NONE"])) == {"BIG"}
        with pytest.raises(FormatError, match=r"all\.fits: no column DEC, RA in 1 among its 9"):
            file.columns(1, ["RA", "DEC", "BIG"])


@pytest.mark.parametrize("key", [0, "PLAIN", 2, "TILES", 3])
def test_planes_are_astropys(table: Path, key: Any) -> None:
    with open_fits(table) as file, fits.open(table) as hdus:
        np.testing.assert_array_equal(file.plane(key), hdus[key].data)


@pytest.mark.parametrize("key", ["NONE", 9, "THINGS", 1])
def test_what_is_not_there_or_no_image_is_said(table: Path, key: Any) -> None:
    with open_fits(table) as file, pytest.raises(FormatError, match=r"all\.fits: (no HDU|HDU .* is not an image)"):
        file.plane(key)


def test_a_gzipped_file_is_the_same_file(table: Path, tmp_path: Path) -> None:
    packed = tmp_path / "all.fits.gz"
    packed.write_bytes(
        gzip.compress(table.read_bytes()[:30000]) + gzip.compress(table.read_bytes()[30000:]) + b"\0" * 9
    )
    with open_fits(packed) as file, open_fits(table) as plain:
        assert file.names == plain.names
        np.testing.assert_array_equal(file.plane("TILES"), plain.plane("TILES"))
    packed.write_bytes(gzip.compress(table.read_bytes())[:-100])
    with pytest.raises(FormatError, match=r"all\.fits\.gz: not a whole FITS file"), open_fits(packed):
        pass


@pytest.mark.parametrize("key", ["PLAIN", "TILES"])
def test_an_image_larger_than_expected_is_refused_before_it_is_read(table: Path, key: str) -> None:
    with (
        open_fits(table, largest=20) as file,
        pytest.raises(FormatError, match=r"declares .* more than the 20 expected"),
    ):
        file.plane(key)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 40000), flip=st.integers(0, 40000), bit=st.integers(0, 7))
def test_damage_is_an_error_of_ours_or_harmless(table: Path, tmp_path: Path, cut: int, flip: int, bit: int) -> None:
    data = bytearray(table.read_bytes())
    data[flip % len(data)] ^= 1 << bit
    damaged = tmp_path / "damaged.fits"
    damaged.write_bytes(data[: cut or None] if cut % 3 == 0 else data)
    with suppress(FormatError), open_fits(damaged) as file:
        for number, hdu in enumerate(file.hdus):
            file.columns(number, ["BIG"]) if hdu.is_table else file.plane(number)


def _hcompressed(path: Path, sides: tuple[int, int] = (70, 50)) -> tuple[int, bytearray]:
    """A file of tiles of 30 x 30 pixels and less: where its heap begins, and its bytes."""
    plane = np.random.default_rng(1).integers(0, 9000, sides).astype(np.int16)
    packed = fits.CompImageHDU(plane, compression_type="HCOMPRESS_1", tile_shape=(30, 30))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    with open_fits(path) as file:
        np.testing.assert_array_equal(file.plane(1), plane)
        hdu = file.hdu(1)
        return hdu.start + hdu.shape[0] * hdu.shape[1], bytearray(path.read_bytes())


@pytest.mark.parametrize(("at", "value"), [(0, 0), (2, 0), (5, 0), (5, 200), (9, 0), (9, 31), (6, 0x80)])
def test_a_tile_that_lies_of_its_size_is_refused_before_it_is_unpacked(tmp_path: Path, at: int, value: int) -> None:
    """The decoder would write beyond its room, or divide by zero and take the process with it."""
    heap, data = _hcompressed(tmp_path / "bad.fits")
    data[heap + at] = value if value != data[heap + at] else value + 1
    (tmp_path / "bad.fits").write_bytes(data)
    with (
        open_fits(tmp_path / "bad.fits") as file,
        pytest.raises(FormatError, match=r"bad\.fits: HDU 1 has damaged tiles"),
    ):
        file.plane(1)


def test_tiles_outside_the_file_are_refused(tmp_path: Path) -> None:
    heap, data = _hcompressed(tmp_path / "bad.fits")
    data[heap - 4] = 0x70  # the last tile's place
    (tmp_path / "bad.fits").write_bytes(data)
    with open_fits(tmp_path / "bad.fits") as file, pytest.raises(FormatError, match="damaged tiles"):
        file.plane(1)


def test_tiles_that_cannot_be_unpacked_are_told(tmp_path: Path) -> None:
    heap, data = _hcompressed(tmp_path / "bad.fits")
    data[heap + 22 : heap + 25] = b"\xff\xff\xff"  # bit planes
    (tmp_path / "bad.fits").write_bytes(data)
    with (
        open_fits(tmp_path / "bad.fits") as file,
        pytest.raises(FormatError, match=r"bad\.fits: HDU 1 cannot be unpacked"),
    ):
        file.plane(1)
