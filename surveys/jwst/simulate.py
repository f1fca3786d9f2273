"""The simulated sky as the DAWN JWST Archive serves it: a catalogue, images, weights, exposure maps."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt
from astropy.io import fits

from mmu.simulate import Sky
from mmu.simulate.files import write_fits
from surveys.jwst.simulate_catalogue import catalogue_hdu
from surveys.jwst.simulate_mosaics import MOSAICS, exposure_map, image_plane, plane_header, weight_plane

BYTES_PER_PIXEL = {"sci": 1.5, "wht": 1.8, "exp": 0.07}
_PLANE = re.compile(r"(.+)-(f\d{3}w)-clear_drc_(sci|wht|exp)\.fits\.gz")
_CATALOGUE = "-fix_phot_apcorr.fits"


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    mosaics = [mosaic for mosaic in MOSAICS.values() if mosaic.release == release]
    if not mosaics:
        known = ", ".join(sorted({mosaic.release for mosaic in MOSAICS.values()}))
        msg = f"jwst has no simulated release {release!r}; allowed are {known}"
        raise ValueError(msg)
    found = {}
    for mosaic in mosaics:
        found[mosaic.name + _CATALOGUE] = 150_000
        for band in mosaic.bands:
            rows, columns = mosaic.shape(band)
            for kind, size in BYTES_PER_PIXEL.items():
                found[f"{mosaic.name}-{band}-clear_drc_{kind}.fits.gz"] = int(rows * columns * size)
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    match = _PLANE.fullmatch(path)
    mosaic = MOSAICS.get(match[1] if match else path.removesuffix(_CATALOGUE))
    if mosaic is None or (match and match[2] not in mosaic.bands) or path == (mosaic and mosaic.name):
        msg = f"{path!r} is not in the simulated archive of JWST mosaics; allowed are the paths files() lists"
        raise FileNotFoundError(msg)
    if match is None:
        write_fits(destination, [catalogue_hdu(mosaic, sky)])
        return
    band, kind = match[2], match[3]
    if kind == "exp":
        pixels: npt.NDArray[Any] = exposure_map(mosaic, band)
    else:
        pixels = (image_plane if kind == "sci" else weight_plane)(mosaic, sky, band)
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels, plane_header(mosaic, sky, band, kind)).writeto(buffer)
    destination.write_bytes(_packed(buffer.getvalue()))


def _packed(content: bytes) -> bytes:
    """A gzip file without a time; looking for repetitions in noise would only take time."""
    stream = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return stream.compress(content) + stream.flush()


__all__ = ["files", "write"]
