"""The simulated sky as the Legacy Surveys' archive serves it.

Brick tables, sweeps, Tractor catalogues and coadds.

Paths are relative to https://portal.nersc.gov/cfs/cosmo/data/legacysurvey/ . DR10 south holds the fields
below Dec 32.375 in g, r, i, z, DR9 north those above it in g, r, z. Column names of Tractor catalogues
differ between the releases in the files we have seen (lower case on the portal, upper case once re-
written), so they do here: DR10 lower, DR9 upper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmu.simulate import Sky
from mmu.simulate.bricks import Brick
from mmu.simulate.files import compressed_hdu, table_hdu, write_fits
from mmu.simulate.noise import generator
from surveys.legacysurvey.simulate_catalogue import brick_table, sweep_dtype, tractor_table
from surveys.legacysurvey.simulate_planes import (
    EXPOSURE_IVAR,
    MOST_EXPOSURES,
    RELEASES,
    Release,
    coadd_header,
    image_plane,
    ivar_plane,
    mask_hdus,
    model_plane,
)

Plane = npt.NDArray[np.float32]

KINDS = ("image", "invvar")
BYTES = {
    "image": 12_000_000,
    "invvar": 1_100_000,
    "maskbits": 270_000,
    "image.jpg": 5_000_000,
    "blobmodel.jpg": 450_000,
}


def files(release: str, sky: Sky) -> dict[str, int]:
    """Every file of a release in the simulated archive, with its approximate size in bytes."""
    spec = _release(release)
    found = {f"{spec.folder}/{spec.bricks}": 4000}
    tiles = spec.tiles(sky)
    for name in sorted({name for brick in tiles for name in _sweep_names(brick)}):
        touching = sum(name in _sweep_names(brick) for brick in tiles)
        found[f"{spec.folder}/{spec.sweep}/{name}"] = 450_000 * touching
    for brick in tiles:
        found[f"{spec.folder}/tractor/{brick.name[:3]}/tractor-{brick.name}.fits"] = 800_000
        stem = f"{spec.folder}/coadd/{brick.name[:3]}/{brick.name}/legacysurvey-{brick.name}"
        found |= {f"{stem}-{kind}-{band}.fits.fz": BYTES[kind] for kind in KINDS for band in spec.bands}
        found[f"{stem}-maskbits.fits.fz"] = BYTES["maskbits"]
        found |= {f"{stem}-{name}": BYTES[name] for name in ("image.jpg", "blobmodel.jpg")}
    return found


def write(path: str, sky: Sky, destination: Path) -> None:
    """Write one file of the simulated archive, named as in `files`."""
    spec = next((spec for spec in RELEASES.values() if path.startswith(spec.folder + "/")), None)
    names = {brick.name: brick for brick in spec.tiles(sky)} if spec else {}
    match = re.search(r"(tractor|legacysurvey)-(\d{4}[pm]\d{3})[-.](.*)$", path)
    if spec and path.endswith(spec.bricks):
        write_fits(destination, [table_hdu(brick_table(spec, sky))], compress=True)
    elif spec and (edges := re.search(r"sweep-(\d{3})([pm])(\d{3})-\d{3}[pm]\d{3}\.fits$", path)):
        _write_sweep(spec, sky, edges, destination)
    elif spec and match and match[2] in names:
        _write_brick(spec, sky, names[match[2]], match[1], match[3], destination)
    else:
        msg = f"{path!r} is not in the simulated Legacy Surveys archive; allowed are the paths files() lists"
        raise FileNotFoundError(msg)


def _release(name: str) -> Release:
    if name not in RELEASES:
        msg = f"legacysurvey has no simulated release {name!r}; allowed are {', '.join(RELEASES)}"
        raise ValueError(msg)
    return RELEASES[name]


def _write_brick(spec: Release, sky: Sky, brick: Brick, kind: str, rest: str, destination: Path) -> None:
    """One file of one brick: `rest` is what follows the brick's name in the file's."""
    plane = re.fullmatch(r"(image|invvar)-([griz])\.fits\.fz", rest)
    if kind == "tractor" and rest == "fits":
        write_fits(destination, [_tractor_hdu(spec, sky, brick)])
    elif plane and plane[2] in spec.bands:
        data = (image_plane if plane[1] == "image" else ivar_plane)(spec, sky, brick, plane[2])
        seed = int(generator(sky.seed, "dither", spec.folder, brick.id, rest).integers(10_000))
        header = coadd_header(spec, brick, plane[1], plane[2])
        best = MOST_EXPOSURES * EXPOSURE_IVAR[plane[2]]
        step = best**-0.5 / 16 if plane[1] == "image" else best / 1e5
        write_fits(destination, [compressed_hdu(data, header, seed=seed, step=step)])
    elif rest == "maskbits.fits.fz":
        write_fits(destination, list(mask_hdus(spec, sky, brick)))
    elif rest in ("image.jpg", "blobmodel.jpg"):
        make = image_plane if rest == "image.jpg" else model_plane
        _write_picture([make(spec, sky, brick, band) for band in "zrg"], destination)
    else:
        msg = f"{rest!r} is not a file of brick {brick.name}; allowed are those files() lists"
        raise FileNotFoundError(msg)


def _write_picture(planes: list[Plane], destination: Path) -> None:
    """A colour JPEG of three planes (red first), asinh stretch, first row in the north."""
    red, green, blue = (plane * np.float32(gain) for plane, gain in zip(planes, (0.45, 0.95, 1.6), strict=True))
    mean = np.maximum((red + green + blue) / 3, 1e-6)
    stretch = np.arcsinh(mean * 40.0) / mean * np.float32(80.0)
    rgb = np.stack([np.clip(channel * stretch + 8.0, 0, 255).astype(np.uint8) for channel in (red, green, blue)], 2)
    buffer = io.BytesIO()
    Image.fromarray(rgb[::-1]).save(buffer, "JPEG", quality=90)
    destination.write_bytes(buffer.getvalue())


def _tractor_hdu(spec: Release, sky: Sky, brick: Brick) -> Any:
    """The Tractor catalogue of a brick, edge duplicates included."""
    table = tractor_table(spec, sky, brick)
    if spec.lower_case:
        table = table.view([(name.lower(), *rest) for name, *rest in table.dtype.descr])
    return table_hdu(table, cards={"BRICK": brick.name, "BRICKID": brick.id, "BANDS": spec.bands})


def _sweep_names(brick: Brick) -> Iterator[str]:
    """The 10 x 5 degree sweep files that a brick's unique area touches."""
    ra1, ra2, dec1, dec2 = brick.bounds

    def edge(ra: float, dec: float) -> str:
        return f"{int(ra):03d}{'m' if dec < 0 else 'p'}{int(abs(dec)):03d}"

    for ra in {10 * (ra1 // 10), 10 * ((ra2 - 1e-9) // 10)}:
        for dec in {5 * (dec1 // 5), 5 * ((dec2 - 1e-9) // 5)}:
            yield f"sweep-{edge(ra, dec)}-{edge(ra + 10, dec + 5)}.fits"


def _write_sweep(spec: Release, sky: Sky, edges: re.Match[str], destination: Path) -> None:
    """Primary sources of one sweep file's 10 x 5 degrees, brick after brick."""
    ra1, dec1 = float(edges[1]), float(edges[3]) * (-1 if edges[2] == "m" else 1)
    parts = [np.zeros(0, np.dtype(sweep_dtype(spec)))]
    for brick in spec.tiles(sky):
        if not any(name in edges.string for name in _sweep_names(brick)):
            continue
        table = tractor_table(spec, sky, brick)
        inside = (table["RA"] >= ra1) & (table["RA"] < ra1 + 10) & (table["DEC"] >= dec1) & (table["DEC"] < dec1 + 5)
        parts.append(table[inside & table["BRICK_PRIMARY"]][list(parts[0].dtype.names or ())].astype(parts[0].dtype))
    cards = {"RAMIN": ra1, "RAMAX": ra1 + 10, "DECMIN": dec1, "DECMAX": dec1 + 5}
    write_fits(destination, [table_hdu(np.concatenate(parts), cards=cards)])


__all__ = ["files", "write"]
