"""The catalogue of a simulated mosaic: what SEP and grizli would measure of its objects, and noise taken for some."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import records, table_hdu
from mmu.simulate.image import SIGMAS, sersic_weights
from mmu.simulate.noise import generator
from surveys.jwst.columns import APERTURES, DETECTION, optional_columns
from surveys.jwst.simulate_mosaics import FILTERS, LONG_SCALE, SHORT, Mosaic, band_flux, exposure_counts

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.void]

NOISE_PEAKS = 12
BLUE = "f814w"  # a Hubble band, as the archive's catalogues have, and this survey does not take
_SHORT_INTEGERS = ("flag_auto", "flux_radius_flag")


def catalogue_hdu(mosaic: Mosaic, sky: Sky) -> fits.BinTableHDU:
    """The table of a mosaic: objects in the order in which SEP finds them, south to north."""
    objects, fluxes = _detected(mosaic, sky)
    rng = generator(sky.seed, "catalogue", mosaic.name)
    count = len(objects)
    west, north = mosaic.project(sky, objects["ra"], objects["dec"])
    # a bright object's place is known to a thousandth of a pixel
    error = np.minimum(1e-5 * (1 + 1e4 / fluxes["detection"]), 0.01) / 3600
    ra = objects["ra"] + rng.normal(0, 1, count) * error / np.cos(np.deg2rad(objects["dec"]))
    columns: dict[str, Any] = {"id": np.arange(1, count + 1), "ra": ra, "x_world": ra}
    columns["dec"] = columns["y_world"] = objects["dec"] + rng.normal(0, 1, count) * error
    height, width = mosaic.long_shape
    columns |= {"x_image": west / LONG_SCALE + width / 2 + 0.5, "y_image": north / LONG_SCALE + height / 2 + 0.5}
    columns |= {"x": columns["x_image"] - 1, "y": columns["y_image"] - 1}
    columns |= _shapes(objects, fluxes["detection"] / 100)
    for band in mosaic.bands:
        columns |= _photometry(mosaic, sky, band, objects, fluxes[band] / 100, columns, rng)
    columns["npix"] = np.maximum(9, (fluxes["detection"] / 3).astype(int))
    columns[f"{BLUE}_flux_aper_0"] = fluxes["detection"] / 200
    dtype = _dtype(mosaic)
    kept = {name: columns[name] for name, *_ in dtype if name in columns}
    table = table_hdu(records(dtype, kept, count), cards={"ZP": 28.9, "TOTCFILT": "F140W", "KRONFACT": 2.5})
    for column in (*DETECTION, *optional_columns(mosaic.bands)):
        if column.unit in ("uJy", "mag", "deg") and column.name in table.columns.names:
            table.columns[column.name].unit = column.unit
    return table


def _detected(mosaic: Mosaic, sky: Sky) -> tuple[Objects, dict[str, Floats]]:
    """Objects on the long-wavelength exposures and noise peaks among them, with their total fluxes in 10 nJy."""
    objects = mosaic.around(sky)
    inside = _counts_at(mosaic, sky, "f444w", objects) > 0
    objects = objects[inside]
    rng = generator(sky.seed, "noise peaks", mosaic.name)
    fluxes = {band: band_flux(objects, band) for band in mosaic.bands}
    peaks = np.repeat(objects[:1], NOISE_PEAKS if len(objects) else 0)
    ra0, dec0 = mosaic.centre(sky)
    east, north = rng.uniform(-0.008, 0.008, (2, len(peaks)))
    peaks["ra"], peaks["dec"] = ra0 + east, dec0 + north
    peaks["r_half_arcsec"], peaks["kind"] = 0.1, "star"
    faint = 10 ** (0.4 * (28.9 - rng.uniform(27.6, 29.0, len(peaks))))
    together = np.concatenate([objects, peaks])
    fluxes = {band: np.concatenate([flux, faint]) for band, flux in fluxes.items()}
    fluxes["detection"] = np.mean([fluxes[band] for band in mosaic.bands if band not in SHORT], axis=0)
    order = np.argsort(together["dec"], kind="stable")
    return together[order], {name: flux[order] for name, flux in fluxes.items()}


def _counts_at(mosaic: Mosaic, sky: Sky, band: str, objects: Objects) -> npt.NDArray[np.uint8]:
    """Exposures at each object."""
    counts = exposure_counts(mosaic, band)
    x, y = mosaic.pixels(sky, objects["ra"], objects["dec"], band)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (row >= 0) & (row < counts.shape[0]) & (column >= 0) & (column < counts.shape[1])
    found = np.zeros(len(objects), np.uint8)
    found[inside] = counts[row[inside], column[inside]]
    return found


def _sigma_arcsec(objects: Objects, fwhm: float) -> Floats:
    star = objects["kind"] == "star"
    return np.hypot(np.where(star, 0.0, np.nan_to_num(objects["r_half_arcsec"])) / 1.18, fwhm / 2.35)


def _enclosed(objects: Objects, fwhm: float, radius: float) -> Floats:
    """Share of the light within a radius (arcsec), of the Gaussians that an object is drawn with, made round."""
    star = objects["kind"] == "star"
    size = np.nan_to_num(objects["r_half_arcsec"]) * np.sqrt(np.nan_to_num(objects["axis_ratio"], nan=1.0))
    width = np.hypot(np.where(star, 0.0, size)[:, None] * SIGMAS, fwhm / 2.35)
    weights = sersic_weights(np.nan_to_num(objects["sersic_n"], nan=1.0))
    return np.asarray((weights * (1 - np.exp(-0.5 * (radius / width) ** 2))).sum(axis=1))


def _shapes(objects: Objects, total: Floats) -> dict[str, Any]:
    """Ellipses and total fluxes (uJy) on the detection image."""
    star = objects["kind"] == "star"
    ratio = np.where(star, 1.0, np.nan_to_num(objects["axis_ratio"], nan=1.0))
    a = _sigma_arcsec(objects, 0.13) / LONG_SCALE
    b = np.maximum(a * ratio, 1.0)
    a = np.maximum(a, b)
    angle = np.deg2rad(90.0 + np.nan_to_num(objects["position_angle"]))  # from +x (west) to +y (north)
    theta = (angle + np.pi / 2) % np.pi - np.pi / 2
    sin, cos = np.sin(theta), np.cos(theta)
    error = 0.002 + 0.01 * np.sqrt(total)
    half = 1.18 * np.sqrt(a * b)
    return {
        "flux_auto": total, "fluxerr_auto": error, "mag_auto": 23.9 - 2.5 * np.log10(total),
        "magerr_auto": 1.0857 * error / total, "flux_iso": 0.95 * total, "fluxerr_iso": error,
        "mag_iso": 23.9 - 2.5 * np.log10(0.95 * total), "tot_corr": np.ones(len(total)),
        "flux_radius": half, "flux_radius_20": 0.5 * half, "flux_radius_90": 2.2 * half,
        "a_image": a, "b_image": b, "theta_image": theta, "kron_radius": np.full(len(total), 3.5),
        "kron_rcirc": 3.5 * np.sqrt(a * b), "area_auto": np.pi * 2.5**2 * a * b,
        "cxx_image": (cos / a) ** 2 + (sin / b) ** 2, "cyy_image": (sin / a) ** 2 + (cos / b) ** 2,
        "cxy_image": 2 * cos * sin * (1 / a**2 - 1 / b**2),
        "x2_image": (a * cos) ** 2 + (b * sin) ** 2, "y2_image": (a * sin) ** 2 + (b * cos) ** 2,
        "xy_image": cos * sin * (a**2 - b**2),
    }  # fmt: skip


def _photometry(
    mosaic: Mosaic,
    sky: Sky,
    band: str,
    objects: Objects,
    total: Floats,
    shape: dict[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Columns of one band, uJy; NaN where it was not exposed."""
    counts = _counts_at(mosaic, sky, band, objects)
    seen = counts > 0
    found: dict[str, Any] = {f"{band}_tot_corr": np.ones(len(total))}
    for number, diameter in APERTURES.items():
        share = _enclosed(objects, FILTERS[band].fwhm, diameter / 2)
        pixels = np.pi * (diameter / 2 / LONG_SCALE) ** 2
        error = 0.01 * np.sqrt(pixels / (FILTERS[band].weight * np.maximum(counts, 1)))
        flux = np.where(seen, total * share + rng.normal(0, 1, len(total)) * error, np.nan)
        end = f"aper_{number}"
        found |= {f"{band}_flux_{end}": flux, f"{band}_fluxerr_{end}": np.where(seen, error, np.nan)}
        found |= {f"{band}_bkg_{end}": np.where(seen, 0.0, np.nan), f"{band}_mask_{end}": np.where(seen, 0.0, pixels)}
        for stem in ("corr", "tot"):
            found |= {f"{band}_{stem}_{number}": flux / share, f"{band}_e{stem}_{number}": error / share}
        found |= {f"flux_{end}": shape["flux_auto"] * share, f"fluxerr_{end}": error}
    return found


def _dtype(mosaic: Mosaic) -> list[tuple[str, str]]:
    """Columns of the table; one field's catalogue has three apertures, as some of the archive's have."""
    listed = (*DETECTION, *optional_columns(mosaic.bands))
    if mosaic.release == "ngdeep":
        listed = tuple(column for column in listed if not column.name.endswith("_3"))
    names = {"id": "i8", "ra": "f8", "dec": "f8"}
    for column in listed:
        short = "flag_aper" in column.name or column.name in _SHORT_INTEGERS
        names[column.name] = "f8" if column.dtype == "float64" else "i2" if short else "i8"
    return [*names.items(), (f"{BLUE}_flux_aper_0", "f8")]
