"""The simulated sky as Galaxy10 DECaLS: colour pictures of the brightest galaxies, labelled by their true shapes.

One HDF5 file with the authors' six arrays, its pictures compressed in blocks of several galaxies. The published
digest is of course another. Paths are relative to https://www.astro.utoronto.ca/~hleung/shared/Galaxy10/ .
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmu.simulate import Sky
from mmu.simulate.noise import generator, uniform
from mmu.simulate.truth import noiseless_image
from surveys.gz10 import PATH, SIDE, SURVEY

Objects = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]

FAINTEST = 16.9  # z magnitude
FWHM_ARCSEC = {"g": 1.3, "r": 1.2, "z": 1.1}
NOISE = 0.004  # nanomaggy a square arcsec pixel
GAINS = {"z": 0.45, "r": 0.95, "g": 1.6}  # red, green, blue
BLOCK = 32  # galaxies in a compressed block
UNKNOWN = 0.15  # share of galaxies without a redshift


def files(release: str, sky: Sky) -> dict[str, int]:
    """The one file of the simulated archive, with its approximate size in bytes."""
    if release not in {one.name for one in SURVEY.releases}:
        msg = f"gz10 has no simulated release {release!r}; allowed are {', '.join(r.name for r in SURVEY.releases)}"
        raise ValueError(msg)
    return {PATH: 10_000 + 100_000 * len(galaxies(sky))}


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write the file, named as in `files`."""
    import h5py

    if path != PATH:
        msg = f"{path!r} is not in the simulated Galaxy10 archive; allowed is {PATH}"
        raise FileNotFoundError(msg)
    truth = galaxies(sky)
    redshift = np.where(uniform(truth["true_id"], sky.seed, "gz10", "z") < UNKNOWN, np.nan, truth["z"])
    scale = pixel_scales(truth)
    with h5py.File(destination, "w") as file:
        file["ans"] = labels(sky)
        file["dec"] = truth["dec"]
        packed = {"chunks": (min(BLOCK, len(truth)), 32, 32, 1), "compression": "gzip"} if len(truth) else {}
        images = file.create_dataset("images", (len(truth), SIDE, SIDE, 3), "u1", **packed)
        for start in range(0, len(truth), BLOCK):
            rows = range(start, min(start + BLOCK, len(truth)))
            images[rows.start : rows.stop] = np.stack([picture(sky, truth[row], scale[row]) for row in rows])
        file["pxscale"] = scale
        file["ra"] = truth["ra"]
        file["redshift"] = redshift


@functools.lru_cache(maxsize=8)
def galaxies(sky: Sky) -> Objects:
    """Truth of the galaxies in the file, by class, as the real file has them."""
    objects = sky.objects()
    bright = objects[(objects["kind"] == "galaxy") & (objects["mag_z"] < FAINTEST)]
    return np.asarray(bright[np.lexsort((bright["true_id"], _classes(sky, bright)))])


def labels(sky: Sky) -> Bytes:
    """Class of each galaxy."""
    return _classes(sky, galaxies(sky)).astype(np.uint8)


def _classes(sky: Sky, objects: Objects) -> npt.NDArray[np.int64]:
    """Smooth by the axis ratio; discs on edge with a bulge or without; spirals wound by their star formation."""
    ratio, lot = objects["axis_ratio"], uniform(objects["true_id"], sky.seed, "gz10", "class")
    ssfr = objects["log_sfr"] - objects["log_stellar_mass"]
    smooth = np.select([ratio > 0.8, ratio > 0.6], [2, 3], 4)
    on_edge = np.where(objects["sersic_n"] > 1.2, 9, 8)
    spiral = np.select([lot > 0.7, ssfr < -10.0], [5, 6], 7)
    shape = np.select([objects["sersic_n"] > 2.5, ratio < 0.35], [smooth, on_edge], spiral)
    return np.select([lot < 0.06, lot < 0.16], [0, 1], shape)


def pixel_scales(objects: Objects) -> npt.NDArray[np.float64]:
    """Pixel scale of each picture, arcsec: wide enough for the galaxy."""
    return np.asarray(np.clip(objects["r_half_arcsec"] * 0.06, 0.1, 0.524))


def picture(sky: Sky, galaxy: np.void, scale: float) -> Bytes:
    """A galaxy in the centre, (256, 256, 3), with an asinh stretch, row 0 in the north."""
    rng = generator(sky.seed, "gz10", int(galaxy["true_id"]))
    planes = []
    for band, gain in GAINS.items():
        plane = noiseless_image(sky, float(galaxy["ra"]), float(galaxy["dec"]), SIDE, band, FWHM_ARCSEC[band], scale)
        planes.append((plane / scale**2 * 0.0686 + sky.noise * rng.normal(0, NOISE, plane.shape)) * gain)
    colours = np.stack(planes, axis=2)[::-1]
    mean = np.maximum(colours.mean(axis=2, keepdims=True), 1e-6)
    return np.asarray(np.clip(colours * np.arcsinh(mean * 40.0) / mean * 80.0 + 8.0, 0, 255), dtype=np.uint8)


__all__ = ["files", "write"]
