"""Real files of the archive through the same functions: planes of a DR6 brick, Tractor and sweep rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from mmu import stamps
from mmu.errors import FormatError
from mmu.schema import Schema, table_of
from surveys.legacysurvey.archive import object_ids, quality_cuts, survey_bricks
from surveys.legacysurvey.columns import catalogue_columns
from surveys.legacysurvey.fitsfile import read_columns, read_plane
from surveys.legacysurvey.read import read_sources

BRICK = "0959p805"


@pytest.fixture
def folder(real_data: Path) -> Path:
    return real_data / "legacysurvey"


def test_stamps_of_a_real_brick_are_pixel_exact(folder: Path) -> None:
    path = folder / f"legacysurvey-{BRICK}-image-g.fits.fz"
    plane, header = read_plane(path, "f", BRICK)
    inverse, _ = read_plane(folder / f"legacysurvey-{BRICK}-invvar-g.fits.fz", "f", BRICK)
    assert plane.shape == inverse.shape == (3600, 3600)
    with fits.open(path) as hdus:
        original, wcs = np.array(hdus[1].data), WCS(hdus[1].header)
    rng = np.random.default_rng(959)
    x, y = rng.uniform(100, 850, 40), rng.uniform(100, 1850, 40)
    x[:3], y[:3] = (2.2, 30.4, 3590.3), (5.1, 900.7, 3599.2)
    ra, dec = wcs.all_pix2world(x, y, 0)
    ours = stamps.coordinates(header)
    positions = stamps.pixel_positions(ours, ra, dec)
    np.testing.assert_allclose(positions, np.stack([x, y], 1), atol=1e-6)
    flux, ivar = (np.zeros((40, 160, 160), np.float32) for _ in range(2))
    starts = stamps.stamp_starts(positions, 160)
    stamps.cut(plane, starts, flux)
    stamps.cut(inverse, starts, ivar)
    for index, position in enumerate(zip(x, y, strict=True)):
        cutout = Cutout2D(original, position, 160, mode="partial", fill_value=0, wcs=wcs)
        np.testing.assert_array_equal(flux[index], cutout.data)
    assert np.abs(positions - starts - 79.5).max() <= 0.5
    stamps.clean(flux, ivar)
    assert np.isfinite(flux).all()
    assert (ivar >= 0).all()
    assert (ivar > 0).any()
    assert stamps.pixel_scale(ours) == pytest.approx(0.262, abs=1e-6)
    with pytest.raises(FormatError, match=f"expected brick 1856p000, found '{BRICK}'"):
        read_plane(path, "f", "1856p000")


def test_exposure_counts_are_integers(folder: Path) -> None:
    plane, _ = read_plane(folder / f"legacysurvey-{BRICK}-nexp-g.fits.fz", "iu")
    assert plane.max() > 0
    with pytest.raises(FormatError, match="expected pixels of kind 'f'"):
        read_plane(folder / f"legacysurvey-{BRICK}-nexp-g.fits.fz", "f")


def test_a_real_tractor_row_has_all_columns_with_their_types(folder: Path) -> None:
    path = folder / "tractor-1054p567.fits"
    columns = catalogue_columns("grz", "int16")
    values = read_columns(path, [column.name for column in columns], rows=np.array([0]))
    table = table_of(Schema(columns), values)
    (row,) = table.to_pylist()
    assert (row["BRICKID"], row["OBJID"], row["RELEASE"], row["BRICKNAME"]) == (607466, 2657, 9011, "1054p567")
    with fits.open(path) as hdus:
        stored = hdus[1].data
        for column in columns:
            dtype = stored.dtype[column.name].base
            assert column.dtype == "string" or dtype.newbyteorder("=") in (np.dtype(column.dtype), np.dtype("i1"))
        assert row["FLUX_Z"] == stored["FLUX_Z"][0]
        assert row["DCHISQ"] == stored["DCHISQ"][0].tolist()
    sources = read_sources(path, "grz", "Z")
    assert object_ids(sources).tolist() == ["1054p567-2657"]
    table = read_columns(path, ["FLUX_Z", "MW_TRANSMISSION_Z", "NOBS_G", "NOBS_R", "NOBS_Z", "TYPE", "MASKBITS"])
    cuts = quality_cuts(table, "grz", 21.0, (0, 1, 2, 3, 4, 5, 6, 7, 11))
    magnitude = 22.5 - 2.5 * np.log10(row["FLUX_Z"] / row["MW_TRANSMISSION_Z"])
    assert next(iter(cuts.values())).tolist() == [magnitude >= 21]


@pytest.mark.parametrize("name", ["sweep-310m005-320p000.fits", "tractor-3301m002.fits"])
def test_older_rows_go_through_the_table_functions(folder: Path, name: str) -> None:
    with fits.open(folder / name) as hdus:
        present, stored = set(hdus[1].columns.names), hdus[1].data
        columns = [column for column in catalogue_columns("grz", "int16") if column.name in present]
        table = table_of(Schema(tuple(columns)), read_columns(folder / name, [column.name for column in columns]))
        assert len(table) == 6
        assert len(columns) > 60
        for key in ("FLUX_Z", "MASKBITS", "REF_ID", "GAIA_DUPLICATED_SOURCE"):
            assert table[key].to_pylist() == stored[key].tolist()
        assert table["TYPE"].to_pylist() == [kind.strip() for kind in stored["TYPE"]]
        needed = ["FLUX_Z", "MW_TRANSMISSION_Z", "NOBS_G", "NOBS_R", "NOBS_Z", "TYPE", "MASKBITS"]
        cuts = quality_cuts(read_columns(folder / name, needed), "grz", 21.0, (0, 1))
        assert all(mask.shape == (6,) for mask in cuts.values())
    with pytest.raises(FormatError, match="no column"):
        read_sources(folder / name, "grz", "Z")


def test_a_table_of_bricks_of_another_release_is_refused(folder: Path) -> None:
    with pytest.raises(FormatError, match=r"survey-bricks-dr6\.fits\.gz: no column BRICKID"):
        survey_bricks(folder / "survey-bricks-dr6.fits.gz", "grz")
