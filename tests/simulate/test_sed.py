"""Spectra: lines where the redshift puts them, light that adds up to the magnitudes."""

from __future__ import annotations

import numpy as np
import pytest

from mmu.simulate import Sky
from mmu.simulate.photometry import band_flux, magnitudes, nanomaggies, transmission
from mmu.simulate.sed import galaxy_spectrum, spectrum, star_spectrum

OBJECTS = Sky().in_cone(185.6, 0.0, 0.08)
GALAXIES = OBJECTS[OBJECTS["kind"] == "galaxy"]
STARS = OBJECTS[OBJECTS["kind"] == "star"]
WAVE = np.arange(3600.0, 9824.0, 0.8)


@pytest.mark.parametrize("rest", [3729.0, 4862.7, 5008.2, 6564.6])
def test_emission_lines_stand_at_the_redshift(rest: float) -> None:
    forming = GALAXIES[(GALAXIES["log_sfr"] - GALAXIES["log_stellar_mass"] > -10) & (GALAXIES["z"] < 0.45)][:40]
    flux = galaxy_spectrum(forming, WAVE)
    for row, z in zip(flux, forming["z"], strict=True):
        near = np.abs(WAVE - rest * (1 + z)) < 12
        if near.sum() < 25:
            continue
        line = row[near] - np.median(row[near])
        centre = (WAVE[near] * line.clip(0)).sum() / line.clip(0).sum()
        assert abs(centre - rest * (1 + z)) < 3.0


def test_old_galaxies_have_a_break_and_young_ones_do_not() -> None:
    ssfr = GALAXIES["log_sfr"] - GALAXIES["log_stellar_mass"]
    strength = []
    for chosen in (GALAXIES[ssfr < -11.5], GALAXIES[ssfr > -9.7]):
        chosen = chosen[(chosen["z"] > 0.05) & (chosen["z"] < 0.9)]
        flux = galaxy_spectrum(chosen, WAVE)
        rest = WAVE[None, :] / (1 + chosen["z"])[:, None]
        above = np.where((rest > 4050) & (rest < 4250), flux, np.nan)
        below = np.where((rest > 3750) & (rest < 3950), flux, np.nan)
        strength.append(np.nanmedian(np.nanmean(above, 1) / np.nanmean(below, 1)))
    assert strength[0] > 1.3 > strength[1]


def test_lines_widen_with_the_instrument_and_keep_their_flux() -> None:
    galaxy = GALAXIES[np.argmax(GALAXIES["log_sfr"] - GALAXIES["log_stellar_mass"] - 9 * (GALAXIES["z"] > 0.4))][None]
    sharp, blurred = galaxy_spectrum(galaxy, WAVE, 0.6)[0], galaxy_spectrum(galaxy, WAVE, 3.0)[0]
    assert sharp.max() > 1.2 * blurred.max()
    assert sharp.sum() == pytest.approx(blurred.sum(), rel=2e-3)


def test_magnitudes_are_integrals_of_the_spectra() -> None:
    for band in "griz":
        grid = np.arange(3000.0, 11000.0, 2.0)
        flux = band_flux(spectrum(OBJECTS[::20], grid), grid, band)
        np.testing.assert_allclose(flux, nanomaggies(OBJECTS[f"mag_{band}"][::20]), rtol=0.01)


def test_star_colours_and_flux_follow_temperature_and_distance() -> None:
    star = STARS[:1].copy()
    near = star_spectrum(star, WAVE)
    star["parallax_mas"] /= 2
    np.testing.assert_allclose(star_spectrum(star, WAVE), near / 4, rtol=1e-9)
    colour = magnitudes(STARS, ["g", "r"])
    correlation = np.corrcoef(np.log(STARS["teff"]), colour[:, 0] - colour[:, 1])[0, 1]
    assert correlation < -0.9


def test_the_milky_way_dims_and_reddens() -> None:
    galaxy = GALAXIES[:5].copy()
    galaxy["ebv"] = 0.0
    clear = magnitudes(galaxy, "grz")
    galaxy["ebv"] = 0.1
    loss = magnitudes(galaxy, "grz") - clear
    np.testing.assert_allclose(loss, np.broadcast_to([0.3214, 0.2165, 0.1211], loss.shape), atol=0.02)


def test_bands_are_where_they_should_be() -> None:
    grid = np.arange(3000.0, 11000.0, 5.0)
    for band, centre in (("g", 4750), ("r", 6420), ("z", 9230)):
        curve = transmission(band, grid)
        assert (grid * curve).sum() / curve.sum() == pytest.approx(centre, rel=0.01)
