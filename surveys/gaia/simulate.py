"""The simulated sky as ESA's Gaia archive serves it.

Bulk CSV files of sources and of XP continuous spectra.

Paths are relative to https://cdn.gea.esac.esa.int/Gaia/gdr3/ . Files are gzipped ECSV: a header of `#`
lines, then a CSV table in which `null` stands for a missing value and arrays are quoted, "[...]". A file
holds the sources of a range of level-8 HEALPix cells, which its name gives. XP coefficients are the star's
photon counts projected on Hermite functions of a pseudo-wavelength; its dispersion is smooth and monotone
(linear in 1/wavelength), not Gaia's own, so the coefficients have the look and the noise of the archive's
but not its absolute calibration.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import SkyCoord

from mmu.simulate import Sky
from mmu.simulate.noise import generator, uniform
from mmu.simulate.sed import star_spectrum
from mmu.simulate.sky import source_id
from surveys.gaia import columns

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

RELEASE = "gaia_dr3"
SOURCE, XP = "gaia_source", "Spectroscopy/xp_continuous_mean_spectrum"
STEMS = {SOURCE: "GaiaSource", XP: "XpContinuousMeanSpectrum"}
SOLUTION, XP_SOLUTION = 1636148068921376768, 4545469030156206080
LAST_CELL = 12 * 4**8 - 1
CELLS_PER_FILE = (4, 2, 6, 3)  # unequal on purpose
FAINTEST_XP = 17.65  # G
ZERO_POINTS = {"G": 25.6874, "BP": 25.3385, "RP": 24.7479}
NULL = "null"
BASES = 55
LOWER = np.tril_indices(BASES, -1)  # row by row: the order of the archive's correlations
PSEUDO = np.arange(0.0, 60.0, 0.25)  # pseudo-wavelength
ARMS = {"bp": (330.0, 680.0, 56), "rp": (630.0, 1050.0, 57)}  # nm, and the basis id
PUPIL_M2, PHOTON = 0.7278, 1.98644586e-16  # mirror; h c in J nm

ECSV_TYPES = {"i8": "int64", "f8": "float64", "f4": "float32", "i2": "int16", "b": "bool", "s": "string"}
_CODES = {dtype: code for code, dtype in ECSV_TYPES.items()}
COLUMNS = [(column.name, _CODES[column.dtype]) for column in columns.SOURCE]
XP_COLUMNS = [
    ("source_id", "i8"), ("solution_id", "i8"),
    *[(f"{arm}_{name}", dtype) for arm in ARMS for name, dtype in (
        ("basis_function_id", "i2"), ("degrees_of_freedom", "i2"), ("n_parameters", "i2"),
        ("n_measurements", "i2"),
        ("n_rejected_measurements", "i2"), ("standard_deviation", "f4"), ("chi_squared", "f4"),
        ("coefficients", "f8[55]"), ("coefficient_errors", "f4[55]"),
        ("coefficient_correlations", "f4[1485]"),
        ("n_relevant_bases", "i2"), ("relative_shrinking", "f4"))],
]  # fmt: skip


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    if release != RELEASE:
        msg = f"gaia has no simulated release {release!r}; allowed is {RELEASE}"
        raise ValueError(msg)
    found = {f"{folder}/_MD5SUM.txt": 75 * len(_ranges(sky)) for folder in (SOURCE, XP)}
    for first, last in _ranges(sky):
        stars = _stars(sky, first, last)
        found[_path(SOURCE, first, last)] = 8000 + 440 * len(stars)
        found[_path(XP, first, last)] = 800 + 2900 * int(_has_xp(sky, stars).sum())
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    folder, _, name = path.rpartition("/")
    if folder in STEMS and name == "_MD5SUM.txt":
        lines = [(_path(folder, *cells), _content(folder, sky, *cells)) for cells in _ranges(sky)]
        text = [f"{hashlib.md5(data).hexdigest()}  {name.rpartition('/')[2]}\n" for name, data in lines]
        destination.write_text("".join(text))
        return
    for cells in _ranges(sky):
        if folder in STEMS and path == _path(folder, *cells):
            destination.write_bytes(_content(folder, sky, *cells))
            return
    msg = f"{path!r} is not in the simulated Gaia archive; allowed are the paths files() lists"
    raise FileNotFoundError(msg)


def _path(folder: str, first: int, last: int) -> str:
    return f"{folder}/{STEMS[folder]}_{first:06d}-{last:06d}.csv.gz"


@functools.lru_cache(maxsize=32)
def _content(folder: str, sky: Sky, first: int, last: int) -> bytes:
    """The bytes of one gzipped file."""
    stars = _stars(sky, first, last)
    columns, table = COLUMNS, _sources
    if folder == XP:
        columns, table, stars = XP_COLUMNS, _spectra, stars[_has_xp(sky, stars)]
    values = table(sky, stars)
    rows = zip(*[values[name] for name, _ in columns], strict=True)
    lines = [*_header(columns), ",".join(name for name, _ in columns), *(",".join(row) for row in rows)]
    return gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=6, mtime=0)


def _header(columns: list[tuple[str, str]]) -> Iterator[str]:
    """The ECSV header."""
    yield from ("# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:")
    for name, code in columns:
        base, _, shape = code.partition("[")
        yield "# -"
        yield f"#   name: {name}"
        yield f"#   datatype: {'string' if shape else ECSV_TYPES[base]}"
        if shape:
            yield f"#   subtype: {ECSV_TYPES[base]}[{shape}"


# --- which stars ------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _ranges(sky: Sky) -> tuple[tuple[int, int], ...]:
    """First and last level-8 cell of each file: contiguous, of unequal size, together the whole sky."""
    cells = sky.cells()
    starts, place = [0], 0
    while (place := place + CELLS_PER_FILE[(len(starts) - 1) % len(CELLS_PER_FILE)]) < len(cells):
        starts.append(int(cells[place]))
    return tuple(zip(starts, [*(start - 1 for start in starts[1:]), LAST_CELL], strict=True))


def _stars(sky: Sky, first: int, last: int) -> Objects:
    """Stars of a range of level-8 cells, by source id."""
    cells = sky.cells()
    objects = sky.in_cells(cells[(cells >= first) & (cells <= last)])
    stars = objects[objects["kind"] == "star"]
    return np.asarray(stars[np.argsort(source_id(stars))])


def _has_xp(sky: Sky, stars: Objects) -> npt.NDArray[np.bool_]:
    """Which stars have a published XP spectrum."""
    return np.asarray((stars["mag_G"] < FAINTEST_XP) & (uniform(stars["true_id"], sky.seed, "xp") < 0.96))


# --- the source table ------------------------------------------------------------


def _text(values: npt.ArrayLike, code: str) -> list[str]:
    """A column as CSV text: NaN and masked values become `null`."""
    kinds: dict[str, Any] = {"f4": np.float32, "i2": np.int64, "i8": np.int64}
    array: Any = np.ma.masked_invalid(values) if np.asarray(values).dtype.kind == "f" else np.ma.asarray(values)
    array = array.astype(kinds.get(code, array.dtype))
    text = [str(value) for value in array.data]
    if code == "s":
        text = [value if value == NULL else f'"{value}"' for value in text]
    return [NULL if bad else value for value, bad in zip(text, np.ma.getmaskarray(array), strict=True)]


def _sources(sky: Sky, stars: Objects) -> dict[str, list[str]]:
    """All columns of gaia_source as text."""
    rng = generator(sky.seed, "gaia", *(int(v) for v in stars["true_id"][:1]))
    n, xp = len(stars), _has_xp(sky, stars)
    values: dict[str, Any] = {}
    for name, code in COLUMNS:  # what nothing below fills: plausible and inert
        if code in ("f8", "f4"):
            values[name] = rng.normal(0, 0.1, n) if name.endswith("_corr") else rng.uniform(0.1, 1, n)
        else:
            values[name] = {"b": np.zeros(n, bool), "s": np.full(n, NULL)}.get(code, rng.integers(10, 30, n))
    values |= {
        "solution_id": np.full(n, SOLUTION), "source_id": source_id(stars),
        "designation": [f"Gaia DR3 {i}" for i in source_id(stars)],
        "random_index": (uniform(stars["true_id"], sky.seed, "random") * 1.8e9).astype(np.int64),
        "ref_epoch": np.full(n, 2016.0), "has_xp_continuous": xp,
        "has_xp_sampled": xp & (stars["mag_G"] < 15),
        "phot_variable_flag": np.full(n, "NOT_AVAILABLE"), "non_single_star": np.zeros(n, int),
        "classprob_dsc_combmod_star": np.full(n, 0.9998), "classprob_dsc_combmod_quasar": np.full(n, 1e-5),
        "classprob_dsc_combmod_galaxy": np.full(n, 1e-5),
    }  # fmt: skip
    values |= _astrometry(rng, stars) | _photometry(rng, stars) | _velocity(rng, stars) | _gspphot(rng, stars, xp)
    return {name: _text(values[name], code) for name, code in COLUMNS}


def _astrometry(rng: np.random.Generator, stars: Objects) -> dict[str, Any]:
    """Positions, motions and their errors; the faintest have two-parameter solutions and no parallax."""
    n, g = len(stars), stars["mag_G"]
    error = np.clip(0.016 * 10 ** (0.2 * (g - 13.5)), 0.016, 2.5)  # mas
    ra = stars["ra"] + rng.normal(0, 1, n) * error / 3.6e6 / np.cos(np.deg2rad(stars["dec"]))
    dec = stars["dec"] + rng.normal(0, 1, n) * error / 3.6e6
    place = SkyCoord(ra * u.deg, dec * u.deg)
    galactic, ecliptic = place.galactic, place.barycentrictrueecliptic
    full = rng.random(n) > np.clip((g - 20.3) / 2, 0, 0.4)
    values: dict[str, Any] = {
        "ra": ra, "dec": dec, "ra_error": error, "dec_error": error * 0.9, "l": galactic.l.deg,
        "b": galactic.b.deg,
        "ecl_lon": ecliptic.lon.deg, "ecl_lat": ecliptic.lat.deg, "ruwe": rng.lognormal(0.02, 0.05, n),
        "astrometric_params_solved": np.where(full, np.where(g < 18.5, 31, 95), 3),
        "parallax_error": error * 1.15, "pmra_error": error * 1.2, "pmdec_error": error * 1.1,
        "astrometric_primary_flag": g < 17, "astrometric_n_obs_ac": np.zeros(n, int),
    }  # fmt: skip
    for name, truth in (("parallax", "parallax_mas"), ("pmra", "pmra"), ("pmdec", "pmdec")):
        values[name] = stars[truth] + rng.normal(0, 1, n) * values[f"{name}_error"]
    values["parallax_over_error"] = values["parallax"] / values["parallax_error"]
    values["pm"] = np.hypot(values["pmra"], values["pmdec"])
    colour = 1.75 - 0.18 * (stars["mag_BP"] - stars["mag_RP"])
    five = full & (g < 18.5)
    values["nu_eff_used_in_astrometry"] = np.where(five, colour, np.nan)
    values["pseudocolour"] = np.where(full & ~five, colour, np.nan)
    values["pseudocolour_error"] = np.where(full & ~five, 0.05, np.nan)
    for name in ("parallax", "parallax_error", "pmra", "pmra_error", "pmdec", "pmdec_error",
    "parallax_over_error",
                 "pm"):  # fmt: skip
        values[name] = np.where(full, values[name], np.nan)
    for name in ("parallax", "pmra", "pmdec"):
        values[f"ra_{name}_corr"] = np.where(full, rng.normal(0, 0.1, n), np.nan)
        values[f"dec_{name}_corr"] = np.where(full, rng.normal(0, 0.1, n), np.nan)
        values[f"{name}_pseudocolour_corr"] = np.where(full & ~five, rng.normal(0, 0.1, n), np.nan)
    return values


def _photometry(rng: np.random.Generator, stars: Objects) -> dict[str, Any]:
    """Fluxes, magnitudes and colours; a few faint stars lack BP and RP."""
    n, values = len(stars), dict[str, Any]()
    whole = rng.random(n) > np.where(stars["mag_G"] > 19.5, 0.03, 0.0)
    for band, floor in (("G", 2.0), ("BP", 8.0), ("RP", 6.0)):
        truth = 10 ** (0.4 * (ZERO_POINTS[band] - stars[f"mag_{band}"]))
        error = np.hypot(floor * 0.3, 0.0015 * truth)
        flux = np.maximum(truth + rng.normal(0, 1, n) * error, 0.5 * error)
        flux = flux if band == "G" else np.where(whole, flux, np.nan)
        stem = f"phot_{band.lower()}_mean"
        values |= {f"{stem}_flux": flux, f"{stem}_flux_error": error, f"{stem}_flux_over_error": flux / error}
        values[f"{stem}_mag"] = ZERO_POINTS[band] - 2.5 * np.log10(flux)
        values[f"phot_{band.lower()}_n_obs"] = rng.integers(15, 400, n)
    g, bp, rp = (values[f"phot_{band}_mean_mag"] for band in ("g", "bp", "rp"))
    values |= {"bp_rp": bp - rp, "bp_g": bp - g, "g_rp": g - rp, "phot_proc_mode": np.where(whole, 0, 2)}
    fluxes = [values[f"phot_{band}_mean_flux"] for band in ("g", "bp", "rp")]
    values["phot_bp_rp_excess_factor"] = (fluxes[1] + fluxes[2]) / fluxes[0]
    return values


def _velocity(rng: np.random.Generator, stars: Objects) -> dict[str, Any]:
    """Radial velocities of bright stars; null for the rest."""
    n = len(stars)
    bright = stars["mag_RP"] < 13.6
    error = np.clip(0.15 * 10 ** (0.25 * (stars["mag_RP"] - 8)), 0.1, None)
    values: dict[str, Any] = {
        "radial_velocity": stars["radial_velocity"] + rng.normal(0, 1, n) * error,
        "radial_velocity_error": error,
        "rv_template_teff": np.round(stars["teff"], -2), "rv_template_logg": np.round(stars["logg"] * 2) / 2,
        "rv_template_fe_h": np.round(stars["feh"] * 4) / 4, "grvs_mag": stars["mag_RP"] - 0.3,
    }  # fmt: skip
    seen = dict.fromkeys(values, bright)
    for name, code in COLUMNS:
        if name.startswith(("rv_", "vbroad", "grvs_", "rvs_")) and name not in values:
            values[name], seen[name] = (
                rng.integers(2, 20, n) if code == "i2" else rng.uniform(0.5, 2, n),
                bright,
            )
    return {name: np.ma.array(value, mask=~seen[name]) for name, value in values.items()}


def _gspphot(rng: np.random.Generator, stars: Objects, xp: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Parameters from XP spectra, for the stars that have one."""
    n, values = len(stars), dict[str, Any]()
    truths = {
        "teff": (stars["teff"], 60.0), "logg": (stars["logg"], 0.08), "mh": (stars["feh"], 0.15),
        "distance": (1000 / stars["parallax_mas"], 20.0), "azero": (3.1 * stars["ebv"], 0.02),
        "ag": (2.7 * stars["ebv"], 0.02), "ebpminrp": (1.3 * stars["ebv"], 0.01),
    }  # fmt: skip
    for name, (truth, error) in truths.items():
        value = truth + rng.normal(0, 1, n) * error
        value = value if name in ("logg", "mh") else np.maximum(value, 0.1 * error)
        for suffix, shift in (("", 0.0), ("_lower", -0.5), ("_upper", 0.5)):
            values[f"{name}_gspphot{suffix}"] = np.where(xp, value + shift * error, np.nan)
    values["libname_gspphot"] = np.where(xp, "PHOENIX", NULL)
    return values


# --- XP spectra ------------------------------------------------------------


def _hermite() -> Floats:
    """Hermite functions 0 to 54 at each pseudo-wavelength: (55, P)."""
    x = -9.8 + (PSEUDO - 0.0) * (9.467 + 9.8) / 59.0
    bases = [np.pi**-0.25 * np.exp(-0.5 * x**2)]
    bases.append(np.sqrt(2) * x * bases[0])
    for order in range(2, BASES):
        bases.append(np.sqrt(2 / order) * x * bases[-1] - np.sqrt((order - 1) / order) * bases[-2])
    return np.array(bases)


def _coefficients(stars: Objects, arm: str) -> tuple[Floats, Floats]:
    """Noiseless coefficients (N, 55) and total counts (N,), electrons a second, of one arm."""
    blue, red, _ = ARMS[arm]
    part = np.clip((PSEUDO - 23.0) / 14.0, -0.3, 1.3)  # 0 at the red end of the arm, 1 at the blue end
    wavelength = 1 / (1 / red + part * (1 / blue - 1 / red))  # nm
    stretch = np.abs(np.gradient(wavelength, PSEUDO))
    response = 0.6 / (1 + np.exp(-(part - 0.03) / 0.025)) / (1 + np.exp((part - 0.97) / 0.025))
    order = np.argsort(wavelength, kind="stable")
    grid = np.arange(max(2500.0, 10 * wavelength.min()), 10 * wavelength.max() + 1, 20.0)
    flux = star_spectrum(stars, grid, 40.0)  # already as blurred as the prisms blur
    watts = np.stack([np.interp(10 * wavelength[order], grid, row) for row in flux]) * 1e-19  # W/m2/nm
    counts = np.empty_like(watts)
    counts[:, order] = watts * (wavelength / PHOTON * PUPIL_M2 * response * stretch)[order]
    step = (9.467 + 9.8) / 59.0 * (PSEUDO[1] - PSEUDO[0])
    return counts @ _hermite().T * step, counts.sum(axis=1) * (PSEUDO[1] - PSEUDO[0])


def _spectra(sky: Sky, stars: Objects) -> dict[str, list[str]]:
    """All columns of the XP continuous table as text."""
    rng = generator(sky.seed, "xp", *(int(v) for v in stars["true_id"][:1]))
    n = len(stars)
    values: dict[str, list[str]] = {
        "source_id": _text(source_id(stars), "i8"), "solution_id": _text(np.full(n, XP_SOLUTION), "i8")
    }  # fmt: skip
    distance = np.abs(np.subtract.outer(np.arange(BASES), np.arange(BASES)))
    for arm, (_, _, basis) in ARMS.items():
        truth, total = _coefficients(stars, arm) if n else (np.zeros((0, BASES)), np.zeros(0))
        error = 0.12 * np.sqrt(total)[:, None] * np.exp(-np.arange(BASES) / 45.0) + 0.05
        error *= rng.uniform(0.7, 1.3, (n, BASES))
        strength = rng.uniform(-0.5, 0.5, n)  # correlation of neighbouring coefficients
        correlation = np.sign(strength)[:, None, None] ** distance * np.abs(strength)[:, None, None] ** distance
        noise = np.einsum("nij,nj->ni", np.linalg.cholesky(correlation), rng.normal(0, 1, (n, BASES)))
        measured = rng.integers(300, 1200, n)
        relevant = np.minimum((np.abs(truth) > 2 * error).sum(axis=1) + 5, BASES)
        columns: dict[str, tuple[Any, str]] = {
            "basis_function_id": (np.full(n, basis), "i2"), "degrees_of_freedom": (measured - BASES, "i2"),
            "n_parameters": (np.full(n, BASES), "i2"), "n_measurements": (measured, "i2"),
            "n_rejected_measurements": (rng.integers(0, 12, n), "i2"),
            "standard_deviation": (rng.normal(1.05, 0.05, n), "f4"), "n_relevant_bases": (relevant, "i2"),
            "chi_squared": ((measured - BASES) * rng.normal(1.1, 0.05, n), "f4"),
            "relative_shrinking": (rng.uniform(0.7, 1.0, n), "f4"),
        }  # fmt: skip
        values |= {f"{arm}_{name}": _text(*column) for name, column in columns.items()}
        values[f"{arm}_coefficients"] = _arrays(truth + noise * error, "%.15g")
        values[f"{arm}_coefficient_errors"] = _arrays(error, "%.8g")
        values[f"{arm}_coefficient_correlations"] = _arrays(correlation[:, LOWER[0], LOWER[1]], "%.6g")
    return values


def _arrays(rows: Floats, pattern: str) -> list[str]:
    """Each row as a quoted "[...]"."""
    return ['"[' + ", ".join([pattern % value for value in row]) + ']"' for row in rows.tolist()]


__all__ = ["files", "write"]
