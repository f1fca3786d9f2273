"""One sky: an object is the same in every simulated survey that sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack

from mmu.simulate import Field, Sky
from mmu.simulate.photometry import band_flux, nanomaggies, transmission
from surveys.desi import simulate as desi
from surveys.gaia import simulate as gaia
from surveys.legacysurvey import simulate as legacysurvey

SKY = Sky(fields=(Field("corner", 185.625, 0.0, 0.12),))


@pytest.fixture(scope="module")
def imaging(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Any]:
    """Rows of every Tractor catalogue, by brick name and object number."""
    target = tmp_path_factory.mktemp("archive") / "tractor.fits"
    found: dict[tuple[str, int], Any] = {}
    for path in (path for path in legacysurvey.files("dr10_south_21", SKY) if "/tractor/" in path):
        legacysurvey.write(path, SKY, target)
        table = Table.read(target)
        found |= {(str(row["brickname"]), int(row["objid"])): row for row in table if row["brick_primary"]}
    return found


@pytest.fixture(scope="module")
def coadd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coadd file of one program and pixel."""
    target = tmp_path_factory.mktemp("archive") / "coadd.fits"
    paths = [path for path in desi.files("dr1_main", SKY) if "coadd-main-dark" in path]
    desi.write(paths[0], SKY, target)
    return target


def test_desi_targets_are_the_imaging_s_objects(imaging: dict[tuple[str, int], Any], coadd: Path) -> None:
    table = fits.getdata(coadd, "FIBERMAP")
    table = table[table["OBJTYPE"] == "TGT"]
    matched = 0
    for row in table:
        other = imaging.get((str(row["BRICKNAME"]), int(row["BRICK_OBJID"])))
        if other is None:  # an edge object whose noisy position fell into the next brick
            continue
        matched += 1
        assert abs(row["TARGET_DEC"] - other["dec"]) * 3600 < 0.06
        assert abs(row["TARGET_RA"] - other["ra"]) * 3600 < 0.06
        if other["nobs_z"] > 0:
            sigma = np.hypot(other["flux_ivar_z"] ** -0.5, row["FLUX_IVAR_Z"] ** -0.5)
            assert abs(row["FLUX_Z"] - other["flux_z"]) < 5 * sigma
    assert matched > 0.95 * len(table) > 20


def test_gaia_stars_are_the_imaging_s_stars(imaging: dict[tuple[str, int], Any], tmp_path: Path) -> None:
    tables = []
    for path in gaia.files("gaia_dr3", SKY):
        if path.startswith("gaia_source") and path.endswith(".gz"):
            gaia.write(path, SKY, tmp_path / "x.csv.gz")
            tables.append(Table.read(tmp_path / "x.csv.gz", format="ascii.ecsv", fill_values=("null", "0")))
    stars = {int(row["source_id"]): row for row in vstack(tables, metadata_conflicts="silent")}
    seen = [row for row in imaging.values() if str(row["type"]) == "PSF"]
    assert len(seen) > 100
    for row in seen:
        star = stars[int(row["ref_id"])]
        assert abs(star["dec"] - row["dec"]) * 3600 < 0.06
        assert abs(star["ra"] - row["ra"]) * 3600 < 0.06


def test_spectra_carry_the_imaging_s_flux(imaging: dict[tuple[str, int], Any], coadd: Path) -> None:
    with fits.open(coadd) as hdus:
        table, wave, flux, ivar = (hdus[name].data for name in ("FIBERMAP", "Z_WAVELENGTH", "Z_FLUX", "Z_IVAR"))
        covered = (transmission("z", wave) * wave).sum() / _whole("z")
        ratios = []
        for row, spectrum, weight in zip(table, flux, ivar, strict=True):
            other = imaging.get((str(row["BRICKNAME"]), int(row["BRICK_OBJID"])))
            if row["OBJTYPE"] != "TGT" or not weight.any() or other is None or other["nobs_z"] == 0:
                continue
            fibre = float(row["FIBERFLUX_Z"] / row["FLUX_Z"]) / 0.77
            if fibre * other["flux_z"] > nanomaggies(20.8):
                synthetic = float(band_flux(spectrum[None].astype(float), wave, "z")[0])
                ratios.append(synthetic / (fibre * float(other["flux_z"])))
    assert covered > 0.88  # the arm ends inside the band; the rest has nearly the same flux density
    assert len(ratios) > 10
    assert float(np.median(ratios)) == pytest.approx(1.0, abs=0.05)
    assert float(np.std(ratios)) < 0.15


def _whole(band: str) -> float:
    """Integral of a band curve over all wavelengths, on DESI's step."""
    grid = np.arange(7520.0, 11000.0, 0.8)
    return float((transmission(band, grid) * grid).sum())
