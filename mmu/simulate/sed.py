"""Spectra of galaxies and stars: simple, but with the features that models and redshifts live on.

A galaxy is an old population (a Planck curve with a 4000 A break and metal lines), a young one (a blue
power law with Balmer absorption) and the emission lines of its star formation, behind its own dust; a star
is a Planck curve with Balmer, metal and molecular absorption. Both are seen through the dust of the Milky
Way (`ebv`), as a survey sees them. Everything follows from the truth columns, so two surveys that ask at
different wavelengths agree. Wavelengths are in vacuum, Angstrom, observed frame; flux densities in 1e-17
erg/s/cm2/Angstrom.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

KM_S = 299792.458  # speed of light
SOLAR_5500 = 5.2e29  # erg/s/A of the Sun at 5500 A
YOUNG_5500 = 4.4e38  # erg/s/A at 5500 A of one solar mass a year of star formation
HALPHA = 1.26e41  # erg/s, the same (Kennicutt 1998)
CM_PER_MPC = 3.0857e24
SOLAR_RADII_PER_PC = 4.4353e7
DUST_PIVOTS = (3000.0, 4730.0, 6420.0, 7840.0, 9260.0, 11000.0)  # Angstrom
DUST_SLOPES = (5.0, 3.214, 2.165, 1.592, 1.211, 0.95)  # magnitudes of extinction per E(B-V), Milky Way


class Line(NamedTuple):
    """One feature: rest wavelength (A).

    Intrinsic width (A, sigma), strength (depth, or flux relative to H alpha).
    """

    wavelength: float
    width: float
    strength: float


METAL_LINES = (
    Line(3934.8, 9.0, 0.45),
    Line(3969.6, 9.0, 0.42),
    Line(4305.6, 12.0, 0.22),
    Line(5176.0, 18.0, 0.16),
    Line(5270.0, 10.0, 0.09),
    Line(5895.6, 5.0, 0.16),
    Line(8544.0, 6.0, 0.14),
    Line(8664.0, 6.0, 0.12),
)
BALMER_LINES = (
    Line(3798.9, 8.0, 0.22),
    Line(3836.5, 8.0, 0.25),
    Line(3890.2, 9.0, 0.28),
    Line(3971.2, 9.0, 0.30),
    Line(4102.9, 10.0, 0.32),
    Line(4341.7, 10.0, 0.30),
    Line(4862.7, 10.0, 0.28),
    Line(6564.6, 8.0, 0.2),
)
MOLECULAR_BANDS = (
    Line(4780.0, 60.0, 0.35),
    Line(5180.0, 70.0, 0.4),
    Line(6200.0, 90.0, 0.45),
    Line(6800.0, 110.0, 0.5),
    Line(7150.0, 80.0, 0.6),
    Line(7700.0, 80.0, 0.4),
    Line(8450.0, 90.0, 0.4),
)
# [O II] doublet, H delta, H gamma, H beta, [O III] doublet, [N II], H alpha, [N II], [S II] doublet
EMISSION_LINES = (
    Line(3727.1, 0.0, 0.35),
    Line(3729.9, 0.0, 0.45),
    Line(4102.9, 0.0, 0.09),
    Line(4341.7, 0.0, 0.16),
    Line(4862.7, 0.0, 0.35),
    Line(4960.3, 0.0, 0.12),
    Line(5008.2, 0.0, 0.35),
    Line(6549.9, 0.0, 0.1),
    Line(6564.6, 0.0, 1.0),
    Line(6585.3, 0.0, 0.3),
    Line(6718.3, 0.0, 0.17),
    Line(6732.7, 0.0, 0.13),
)
OXYGEN = slice(5, 7)
NITROGEN = (7, 9)


@functools.cache
def _cosmology() -> tuple[Floats, Floats, Floats]:
    """Redshifts, luminosity distances (Mpc) and ages of the Universe (Gyr).

    Tables to interpolate in, each (512,).
    """
    from astropy.cosmology import Planck18  # here, as it takes half a second, and most processes need no spectra

    z = np.linspace(0.0, 2.0, 512)
    return z, np.asarray(Planck18.luminosity_distance(z).value), np.asarray(Planck18.age(z).value)


def luminosity_distance_mpc(z: npt.ArrayLike) -> Floats:
    """Luminosity distance in Mpc, Planck18, shape like `z`."""
    grid, distance, _ = _cosmology()
    return np.interp(np.asarray(z, dtype=np.float64), grid, distance)


def universe_age_gyr(z: npt.ArrayLike) -> Floats:
    """Age of the Universe in Gyr, Planck18, shape like `z`."""
    grid, _, age = _cosmology()
    return np.interp(np.asarray(z, dtype=np.float64), grid, age)


def milky_way_extinction(wavelength_angstrom: npt.ArrayLike) -> Floats:
    """Magnitudes of extinction per unit of E(B-V), shape like the wavelengths."""
    return np.interp(np.asarray(wavelength_angstrom, dtype=np.float64), DUST_PIVOTS, DUST_SLOPES)


def _planck(wavelength: Floats, temperature: Floats) -> Floats:
    """Planck's B_lambda in erg/s/cm2/A/sr at `wavelength` (A), broadcast against `temperature` (K)."""
    return 1.191e27 / wavelength**5 / np.expm1(1.43877e8 / (wavelength * temperature))


def _window(wavelength: Floats, centre: Floats, sigma: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Pixels within five sigma of each object's line.

    Indices (N, W), clipped to the grid, and the profile there.
    """
    step = float(np.median(np.diff(wavelength)))
    half = int(np.ceil(5.0 * float(sigma.max(initial=step)) / step)) + 1
    first = np.searchsorted(wavelength, centre) - half
    index = first[:, None] + np.arange(2 * half)[None, :]
    inside = (index >= 0) & (index < wavelength.size)
    index = np.clip(index, 0, wavelength.size - 1)
    profile = np.exp(-0.5 * ((wavelength[index] - centre[:, None]) / sigma[:, None]) ** 2)
    return index, np.where(inside, profile, 0.0)


def _absorb(flux: Floats, wavelength: Floats, line: Line, depth: Floats, z: Floats, broadening: Floats) -> None:
    """Multiply (N, L) `flux` by one absorption line of `depth` (N,), redshifted and widened, in place."""
    natural = line.width * (1 + z)
    sigma = np.hypot(natural, broadening)
    index, profile = _window(wavelength, line.wavelength * (1 + z), sigma)
    factor = np.ones_like(flux)
    rows = np.broadcast_to(np.arange(len(flux))[:, None], index.shape)
    np.subtract.at(factor, (rows, index), (depth * line.strength * natural / sigma)[:, None] * profile)
    flux *= np.clip(factor, 0.02, None)


def _emit(flux: Floats, wavelength: Floats, centre: Floats, sigma: Floats, total: Floats) -> None:
    """Add to (N, L) `flux` one line of integrated flux `total` (N,) at `centre` (N,), in place."""
    index, profile = _window(wavelength, centre, sigma)
    rows = np.broadcast_to(np.arange(len(flux))[:, None], index.shape)
    np.add.at(flux, (rows, index), (total / (sigma * np.sqrt(2 * np.pi)))[:, None] * profile)


def _at(lsf: float | Floats, wavelength: Floats, centre: Floats) -> Floats:
    """The instrument's sigma (a number, (L,) or (N, L)) at each object's line centre, (N,)."""
    values = np.asarray(lsf, dtype=np.float64)
    if values.ndim == 0:
        return np.full(centre.shape, float(values))
    index = np.clip(np.searchsorted(wavelength, centre), 0, wavelength.size - 1)
    return values[index] if values.ndim == 1 else values[np.arange(len(centre)), index]


def velocity_dispersion(log_stellar_mass: npt.ArrayLike) -> Floats:
    """Velocity dispersion of gas and stars in km/s, shape like the masses."""
    return 90.0 * 10 ** (0.25 * (np.asarray(log_stellar_mass) - 10.0))


def _old_population(rest: Floats, age: Floats, metallicity: Floats) -> Floats:
    """Shape of the old stars, 1 at 5500 A, with the 4000 A break: (N, L)."""
    temperature = (5600.0 - 900.0 * np.log10(np.clip(age, 0.3, None)) - 350.0 * metallicity)[:, None]
    shape = _planck(rest, temperature) / _planck(np.array(5500.0), temperature)
    depth = np.clip(0.30 + 0.22 * np.log10(np.clip(age, 0.3, None)) + 0.12 * metallicity, 0.05, 0.65)[:, None]
    return np.asarray(shape * (1.0 - depth / (1.0 + np.exp(np.clip((rest - 3990.0) / 35.0, -60, 60)))))


def _young_population(rest: Floats) -> Floats:
    """Shape of the young stars, 1 at 5500 A, with a Balmer break at 3700 A: (N, L)."""
    balmer = 1.0 - 0.3 / (1.0 + np.exp(np.clip((rest - 3690.0) / 30.0, -60, 60)))
    return np.asarray((rest / 5500.0) ** -2.0 * balmer)


def galaxy_spectrum(objects: Objects, wavelength_angstrom: Floats, lsf_sigma_angstrom: float | Floats = 0.7) -> Floats:
    """Noiseless spectra of N galaxies at L wavelengths: (N, L), 1e-17 erg/s/cm2/A, total light of the galaxy.

    `lsf_sigma_angstrom` is the instrument's Gaussian width: one number, (L,) or (N, L).
    """
    wave = np.asarray(wavelength_angstrom, dtype=np.float64)
    z = np.asarray(objects["z"], dtype=np.float64)
    mass, sfr = 10.0 ** objects["log_stellar_mass"], 10.0 ** objects["log_sfr"]
    age, metallicity = objects["age_gyr"].astype(float), objects["metallicity"].astype(float)
    rest = wave[None, :] / (1 + z)[:, None]
    old = mass * SOLAR_5500 / (3.2 * (age / 10.0) ** 0.7 * 10 ** (0.2 * metallicity))
    flux = old[:, None] * _old_population(rest, age, metallicity)
    young = YOUNG_5500 * sfr[:, None] * _young_population(rest)
    share = np.clip((sfr * YOUNG_5500) / (old + sfr * YOUNG_5500), 0, 1)
    flux += young
    spread = velocity_dispersion(objects["log_stellar_mass"]) / KM_S
    for line in (*METAL_LINES, *BALMER_LINES):
        centre = line.wavelength * (1 + z)
        depth = np.clip(1.0 + 0.5 * metallicity, 0.2, 1.6) * (1 - share) if line in METAL_LINES else share + 0.15
        _absorb(flux, wave, line, depth, z, np.hypot(spread * centre, _at(lsf_sigma_angstrom, wave, centre)))
    flux *= 10 ** (-0.4 * 4.05 * objects["dust_ebv"][:, None] * (rest / 5500.0) ** -0.9)
    flux /= (1 + z)[:, None]
    for line, strength in zip(EMISSION_LINES, _line_strengths(metallicity), strict=True):
        dust = 10 ** (-0.4 * 4.05 * 1.3 * objects["dust_ebv"] * (line.wavelength / 5500.0) ** -0.9)
        centre = line.wavelength * (1 + z)
        sigma = np.hypot(spread * centre, _at(lsf_sigma_angstrom, wave, centre))
        _emit(flux, wave, centre, sigma, HALPHA * sfr * strength * dust)
    flux /= (4 * np.pi * (luminosity_distance_mpc(z) * CM_PER_MPC) ** 2 * 1e-17)[:, None]
    return np.asarray(flux * _foreground(objects, wave))


def _line_strengths(metallicity: Floats) -> list[Floats]:
    """Flux of each emission line relative to H alpha, one (N,) array a line.

    Metal-poor gas is rich in [O III].
    """
    strengths = [np.full(metallicity.shape, line.strength) for line in EMISSION_LINES]
    for index in range(*OXYGEN.indices(len(strengths))):
        strengths[index] = strengths[index] * 10 ** np.clip(-0.8 * metallicity, -0.4, 0.9)
    for index in NITROGEN:
        strengths[index] = strengths[index] * 10 ** np.clip(0.7 * metallicity, -0.9, 0.25)
    return strengths


def _foreground(objects: Objects, wavelength: Floats) -> Floats:
    """Transmission of the Milky Way's dust, (N, L)."""
    return np.asarray(10 ** (-0.4 * objects["ebv"][:, None] * milky_way_extinction(wavelength)[None, :]))


def stellar_radius(teff: npt.ArrayLike, logg: npt.ArrayLike) -> Floats:
    """Radius in solar radii from the surface gravity (cm/s2.

    Log) and a mass that follows from the temperature.
    """
    temperature, gravity = np.asarray(teff, dtype=float), np.asarray(logg, dtype=float)
    mass = np.where(gravity > 3.7, np.clip((temperature / 5772.0) ** 1.9, 0.09, 4.0), 1.2)
    return np.asarray(np.sqrt(mass * 10 ** (4.438 - gravity)))


def star_spectrum(objects: Objects, wavelength_angstrom: Floats, lsf_sigma_angstrom: float | Floats = 0.7) -> Floats:
    """Noiseless spectra of N stars at L wavelengths: (N, L), 1e-17 erg/s/cm2/A."""
    wave = np.asarray(wavelength_angstrom, dtype=np.float64)
    teff, logg, feh = (objects[name].astype(float) for name in ("teff", "logg", "feh"))
    z = objects["radial_velocity"].astype(float) / KM_S
    flux = _planck(wave[None, :], teff[:, None])
    cool = np.clip((7500.0 - teff) / 2500.0, 0, 1.3)
    blanketing = np.clip(0.28 + 0.2 * feh, 0.03, 0.5) * cool / 1.3
    flux *= 1 - blanketing[:, None] / (1 + np.exp(np.clip((wave[None, :] - 4300.0) / 180.0, -60, 60)))
    metal = cool * 10 ** (0.3 * feh) * (1 + 0.1 * (4.4 - logg))
    balmer = 2.2 * np.exp(-0.5 * ((np.log10(teff) - np.log10(9300.0)) / 0.12) ** 2)
    bands = np.clip((4150.0 - teff) / 900.0, 0, 1.4)
    for lines, depth in ((METAL_LINES, metal), (BALMER_LINES, balmer), (MOLECULAR_BANDS, bands)):
        for line in lines:
            instrument = _at(lsf_sigma_angstrom, wave, line.wavelength * (1 + z))
            _absorb(flux, wave, line, depth, z, instrument)
    scale = np.pi * (stellar_radius(teff, logg) * objects["parallax_mas"] / 1000.0 / SOLAR_RADII_PER_PC) ** 2
    return np.asarray(flux * scale[:, None] * 1e17 * _foreground(objects, wave))


def spectrum(objects: Objects, wavelength_angstrom: Floats, lsf_sigma_angstrom: float | Floats = 0.7) -> Floats:
    """Noiseless spectra of a mixed set of N objects: (N, L), 1e-17 erg/s/cm2/A."""
    flux = np.empty((len(objects), len(wavelength_angstrom)))
    models: dict[str, Any] = {"galaxy": galaxy_spectrum, "star": star_spectrum}
    lsf = np.asarray(lsf_sigma_angstrom, dtype=np.float64)
    for kind, model in models.items():
        rows = np.flatnonzero(objects["kind"] == kind)
        if rows.size:
            flux[rows] = model(objects[rows], wavelength_angstrom, lsf[rows] if lsf.ndim == 2 else lsf)
    return flux
