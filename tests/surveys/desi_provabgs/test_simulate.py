"""The simulated catalogue: the archive's data model, the same targets as the simulated spectra, truth recovered."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.table import Table

from mmu.simulate import Field, Sky
from mmu.sky import healpix
from surveys.desi import simulate_targets as desi
from surveys.desi_provabgs import BASIS_SFH, BASIS_TIME, BASIS_ZH, simulate
from surveys.desi_provabgs.histories import derive, load_basis

SKY = Sky(fields=(Field("equator", 185.625, 0.0, 0.25), Field("north", 213.75, 35.685, 0.1)))


def test_same_path_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate.write(simulate.PATH, SKY, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size == pytest.approx(simulate.files("provabgs", SKY)[simulate.PATH], rel=0.1)


def test_astropy_reads_it_as_a_table(tmp_path: Path) -> None:
    simulate.write(simulate.PATH, SKY, tmp_path / "a.hdf5")
    table = Table.read(tmp_path / "a.hdf5", path=simulate.TABLE)
    assert table["PROVABGS_MCMC"].shape[1:] == (100, 13)
    assert table["TARGETID"].dtype == np.int64
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert list(file) == [simulate.TABLE]


def test_other_paths_and_releases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        simulate.write("x.hdf5", SKY, tmp_path / "x")
    with pytest.raises(ValueError, match="provabgs"):
        simulate.files("v0", SKY)


def test_targets_are_those_of_the_simulated_spectra() -> None:
    """What DESI's own simulation calls the galaxies it observed in SV3, bright, and where it puts them."""
    spec = desi.RELEASES["edr_sv3"]
    seen = [desi.observe(spec, SKY, *pair).fibermap for pair in desi.pairs(spec, SKY) if pair[0] == "bright"]
    where = {
        int(row["TARGETID"]): (row["TARGET_RA"], row["TARGET_DEC"])
        for part in seen for row in part if row["OBJTYPE"] == b"TGT" or row["OBJTYPE"] == "TGT"
    }  # fmt: skip
    table = simulate.catalogue(SKY)
    here = [row for row in table if int(row["TARGETID"]) in where]
    assert len(here) > 0.5 * len(table), "one bright pixel's files are absent from DESI's archive, others are not"
    assert all(where[int(row["TARGETID"])] == (row["RA"], row["DEC"]) for row in here)
    absent = desi.absent_pair(spec, SKY)
    pixels = healpix.pixel(table["RA"], table["DEC"]) >> 46
    missing = ~np.isin(table["TARGETID"], list(where))
    assert set(pixels[missing].tolist()) <= ({absent[1]} if absent else set())


def test_truth_comes_out(tmp_path: Path) -> None:
    table, truth = simulate.catalogue(SKY), simulate.galaxies(SKY)
    good = table["PROVABGS_LOGMSTAR_BF"] > 0
    assert np.std(table["PROVABGS_LOGMSTAR_BF"][good] - truth["log_stellar_mass"][good]) < 0.07
    assert np.abs(table["Z_HP"] - truth["z"]).max() < 1e-3
    folder = simulate.write_basis(tmp_path)
    basis = load_basis(folder / BASIS_TIME, folder / BASIS_SFH, folder / BASIS_ZH)
    got = derive(basis, table["PROVABGS_THETA_BF"][good], table["Z_HP"][good])
    assert np.log10(got["Z_MW"] / simulate.SOLAR_Z) == pytest.approx(truth["metallicity"][good], abs=1e-6)
    assert np.median(np.abs(got["TAGE_MW"] - truth["age_gyr"][good])) < 0.3
    assert np.median(np.abs(np.log10(got["AVG_SFR"]) - truth["log_sfr"][good])) < 0.2


def test_what_a_catalogue_of_fits_has_too() -> None:
    table = simulate.catalogue(Sky())
    assert (table["PROVABGS_LOGMSTAR_BF"] == 0).any()
    assert (table["PROVABGS_LOGMSTAR_BF"] == -999).any()
    assert (table["MAG_G"] < 0).any()
    assert (table["HPIX_64"] == healpix.pixel(table["RA"], table["DEC"]) >> 46).all()
    np.testing.assert_allclose(table["PROVABGS_MCMC"][:, :, 1:5].sum(axis=2), 1.0)
    assert len(np.unique(table["TARGETID"])) == len(table)
