"""Real MaNGA files through the same functions: a complete MAPS file of DR15, spectra on the LOGCUBE grid, headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from mmu.fits import open_fits
from mmu.schema import column_array
from surveys.manga import MANGA, MANGA_SPAXELS, read
from surveys.manga import cube as cubes
from surveys.manga.columns import MAPS, map_column
from surveys.manga.maps import extensions, read_column, read_map

MAPS_FILE = "manga-7815-3702-MAPS-HYB10-GAU-MILESHC.fits.gz"


@pytest.fixture
def folder(real_data: Path) -> Path:
    if not (real_data / "manga" / MAPS_FILE).is_file():
        pytest.skip("there are no MaNGA files in MMU_REAL_DATA")
    return real_data / "manga"


def test_every_map_of_a_dr15_file_is_read(folder: Path) -> None:
    """22 lines in another order, three elliptical coordinates, two extensions that DR17 has not."""
    path = folder / MAPS_FILE
    with open_fits(path) as file, fits.open(path) as hdus:
        assert file.hdu(0).text("PLATEIFU") == "7815-3702"
        names = extensions(file)
        assert len(names) == 26
        assert {"STELLAR_CONT_FRESID", "STELLAR_CONT_RCHI2"} == set(names) - set(MAPS)
        total = 0
        for name in names:
            found = read_map(file, name, (42, 42))
            stored = hdus[name].data if hdus[name].data.ndim == 3 else hdus[name].data[None]
            np.testing.assert_array_equal(found["value"], stored)
            assert found["value"].dtype.isnative
            assert len(found["label"]) == len(found["unit"]) == len(stored)
            for member, key in (("ivar", "ERRDATA"), ("mask", "QUALDATA")):
                assert (member in found) == (key in hdus[name].header)
                if member in found:
                    np.testing.assert_array_equal(found[member].squeeze(), hdus[hdus[name].header[key]].data.squeeze())
            total += len(stored)
        assert total == sum(1 if hdu.data.ndim == 2 else len(hdu.data) for hdu in hdus[1:] if hdu.name in names)


def test_labels_and_units_are_those_of_the_headers(folder: Path) -> None:
    with open_fits(folder / MAPS_FILE) as file:
        lines = read_map(file, "EMLINE_GFLUX")
        assert len(lines["label"]) == 22
        assert (lines["label"][18], lines["unit"][18]) == ("Ha-6564", "1E-17 erg/s/cm^2/spaxel")
        assert read_map(file, "SPX_ELLCOO")["unit"] == ["arcsec", "", "degrees"]
        index = read_map(file, "SPECINDEX")
        units = dict(zip(index["label"], index["unit"], strict=True))
        assert (units["CN1"], units["CN2"], units["Hb"], units["D4000"]) == ("mag", "mag", "ang", "")
        assert read_map(file, "STELLAR_VEL")["unit"] == ["km/s"]
        mask = read_map(file, "STELLAR_VEL")["mask"]
        assert mask.dtype == np.int32
        assert (mask & 1 << 30).any()


def test_the_columns_of_dr17_take_a_dr15_file(folder: Path) -> None:
    """What DR15 does not have is there without channels."""
    with open_fits(folder / MAPS_FILE) as file:
        counts = {}
        for name in MAPS:
            column = map_column(name)
            members = read_column(file, column, (42, 42))
            array = column_array(column, members)
            assert len(array) == 1
            counts[name] = len(array.field("label")[0])
    assert counts["EMLINE_GFLUX"] == 22
    assert counts["SPECINDEX"] == 46
    assert counts["EMLINE_LFOM"] == counts["STELLAR_FOM"] == counts["SPECINDEX_WGT"] == 0


def _real_cube(folder: Path, path: Path) -> dict[str, np.ndarray]:
    """Real spectra as a LOGCUBE of 2 x 4 spaxels, its header that of the real maps."""
    with fits.open(folder / "MaNGA_test_spectra.fits.gz") as hdus:
        data = {name: hdus[name].data for name in ("FLUX", "IVAR", "MASK", "SRES", "WAVE")}
    lsf = (data["WAVE"] / data["SRES"] / 2.3548).astype(np.float32)
    header = fits.getheader(folder / MAPS_FILE, "SPX_MFLUX")
    cube = [fits.PrimaryHDU(header=fits.getheader(folder / MAPS_FILE))]
    for name, values in (("FLUX", data["FLUX"]), ("IVAR", data["IVAR"]), ("MASK", data["MASK"]), ("LSFPOST", lsf)):
        hdu = fits.ImageHDU(np.moveaxis(values.reshape(2, 4, -1), 2, 0), name=name)
        for key in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "PC1_1", "PC2_2", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2"):
            hdu.header[key] = header[key]
        cube.append(hdu)
    fits.HDUList([*cube, fits.ImageHDU(data["WAVE"], name="WAVE")]).writeto(path)
    return data | {"LSF": lsf}


def test_real_spectra_as_a_cube(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "manga-7815-3702-LOGCUBE.fits"
    data = _real_cube(folder, path)
    rows = pa.table({"object_id": ["7815-3702"], "z": [0.0294], "drp3qual": [0], "dapqual": [0]})
    with open_fits(path) as file:
        whole = cubes.whole(file)
        table = read.spaxels(MANGA_SPAXELS, file, rows).table
    np.testing.assert_array_equal(whole["flux"].reshape(4563, 8).T, data["FLUX"])
    np.testing.assert_array_equal(whole["mask"].reshape(4563, 8).T, data["MASK"])  # no bit had to be added
    np.testing.assert_allclose(whole["lambda"], data["WAVE"], rtol=1e-7)
    assert len(table) == 8
    spectrum = table["spectrum"].combine_chunks()
    kept = {
        name: np.stack(spectrum.field(name).to_numpy(zero_copy_only=False)) for name in ("flux", "ivar", "maskbits")
    }
    np.testing.assert_array_equal(kept["flux"], data["FLUX"])
    np.testing.assert_array_equal(kept["ivar"], data["IVAR"])
    np.testing.assert_array_equal(kept["maskbits"], data["MASK"])


def test_the_grid_is_exactly_the_archives(folder: Path) -> None:
    wave = fits.getdata(folder / "MaNGA_test_spectra.fits.gz", "WAVE")
    np.testing.assert_allclose(cubes.lattice(), wave, rtol=1e-10)


def test_coordinates_agree_with_the_offsets_of_the_dap(folder: Path) -> None:
    """The WCS of the maps against SPX_SKYCOO, and the position of the galaxy against the table of all."""
    with open_fits(folder / MAPS_FILE) as file:
        offset = read_map(file, "SPX_SKYCOO")["value"]
        ra, dec = (file.hdu(0).number(key) for key in ("OBJRA", "OBJDEC"))
        header = file.header("SPX_MFLUX")
    with open_fits(folder / "drpcomplete_v2_7_1.fits") as file:
        table = file.columns("DRPC", ["PLATE", "IFUDESIGN", "OBJRA", "OBJDEC"])
    row = np.flatnonzero((table["PLATE"] == 7815) & (table["IFUDESIGN"] == 3702))
    np.testing.assert_allclose([table["OBJRA"][row[0]], table["OBJDEC"][row[0]]], [ra, dec], atol=1e-6)
    y, x = np.indices((42, 42))
    found = cubes.celestial(header).all_pix2world(x.ravel(), y.ravel(), 0)
    east = (found[0] - ra) * np.cos(np.deg2rad(dec)) * 3600
    np.testing.assert_allclose(east, offset[0].ravel(), atol=0.01)  # a fiftieth of a spaxel
    np.testing.assert_allclose((found[1] - dec) * 3600, offset[1].ravel(), atol=0.01)


def test_a_real_cubes_primary_header_has_what_the_reader_takes(folder: Path) -> None:
    with open_fits(folder / "manga_onedspec.fits") as file:
        assert file.hdu(0).text("PLATEIFU").count("-") == 1
        assert 2 < file.hdu(0).number("GFWHM") < 4
    assert MANGA.facts["maps"]
