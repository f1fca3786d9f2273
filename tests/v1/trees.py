"""Trees in v1's layouts, as others wrote them: small, with what their files are known to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mmu.sky import healpix


def write(path: Path, **arrays: Any) -> Path:
    """A file of arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def inside(pixel: int, count: int) -> dict[str, Any]:
    """Positions in an nside-16 pixel."""
    ra, dec = healpix.centres(4, np.full(count, pixel))
    return {"ra": ra + np.arange(count) / 100, "dec": dec}


def spectra(root: Path, order: str = "<") -> Path:
    """Two pixels of spectra, of another length in each, padded as v1 pads them; ids are large integers."""
    for pixel, longest in ((5, 6), (800, 9)):
        lengths = np.array([longest, longest - 2, 0])
        inside_them = np.arange(longest) < lengths[:, None]
        wave = np.where(inside_them, 4000.0 + np.arange(longest), -1.0)
        write(
            root / f"healpix={pixel}" / "001-of-001.hdf5",
            object_id=(np.arange(3) + 2**60 + pixel).astype(f"{order}i8"),
            spectrum_flux=np.where(inside_them, wave / 2, 7.0).astype(f"{order}f4"),
            spectrum_lambda=wave.astype(f"{order}f4"),
            spectrum_mask=~inside_them,
            spectrum_lsf=np.zeros((3, 2, longest), f"{order}f4"),
            Z=np.array([0.1, 0.2, np.nan], f"{order}f4"),
            SURVEY=np.array([b"sdss  ", b"boss", b"caf\xe9"]),
            BITS=np.array([2**62 + 1, 3, -1], f"{order}i8"),
            healpix=np.full(3, pixel),
            **{name: values.astype(f"{order}f8") for name, values in inside(pixel, 3).items()},
        )
    return root


def images(root: Path, bands: tuple[bytes, ...] = (b"des-g", b"des-r", b"")) -> Path:
    """One pixel of images with one mask for all bands; the last has no name in the second row."""
    random, count = np.random.default_rng(1), len(bands)
    band = np.array([[b"des-g", b"des-r", b"des-z"][:count], list(bands)])
    write(
        root / "healpix=0042" / "001-of-001.hdf5",
        object_id=np.array([b"0421p022-7410", b"0421p022-7411"]),
        image_band=band,
        image_array=random.normal(size=(2, count, 4, 4)).astype("f4"),
        image_ivar=np.ones((2, count, 4, 4), "f4"),
        image_mask=random.random((2, 4, 4)) > 0.5,
        image_psf_fwhm=np.ones((2, count), "f4"),
        image_scale=np.full((2, count), 0.262, "f4"),
        image_rgb=np.zeros((2, 4, 4, 3), "u1"),
        DCHISQ=np.zeros((2, 5), "f4"),
        **inside(42, 2),
    )
    return root


def light_curves(root: Path) -> Path:
    """A file an object; one has texts of variable length, and another number of visits."""
    for number, visits in enumerate((3, 5)):
        write(
            root / "healpix=0012" / f"example_SN{number}.hdf5",
            object_id=f"SN{number}",
            bands=["B", "V"],
            time=np.arange(2.0 * visits).reshape(2, visits),
            mag=np.zeros((2, visits), "f4"),
            redshift=0.01,
            obj_type="Ia",
            ra=np.float32(10 + number),
            dec=2.0,
        )
    return root
