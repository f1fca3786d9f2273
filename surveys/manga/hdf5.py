"""A galaxy as v1 stored it: an HDF5 group with scalars and three tables, every plane padded to 96 x 96.

Names, order and types are those of v1, whose loader reads the tables' columns by position. Compressed, as v1 was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surveys.manga.columns import MAPS, PIXELS

SIDE = 96
PADDED_SPAXEL, PADDED_MAP = 1 << 10, 1 << 30
FLUX_UNIT, WAVE_UNIT = b"1E-17 erg/s/cm^2/Angstrom/spaxel", b"Angstrom"
IMAGE_UNIT = b"nanomaggies/pixel"

_COORDINATES = ("skycoo_x", "skycoo_y", "ellcoo_r", "ellcoo_rre", "ellcoo_rkpc", "ellcoo_theta")
_COORDINATE_UNITS = ("skycoo_units", "ellcoo_r_units", "ellcoo_rre_units", "ellcoo_rkpc_units", "ellcoo_theta_units")
SPAXEL = np.dtype(
    [
        *[(name, "i4" if name == "mask" else "f4", PIXELS) for name in ("flux", "ivar", "mask", "lsf_sigma", "lambda")],
        *[(name, "i8") for name in ("x", "y", "spaxel_idx")],
        *[("flux_units", "S32"), ("lambda_units", "S8")],
        *[(name, "f4") for name in _COORDINATES],
        *[(name, "S8") for name in _COORDINATE_UNITS],
    ]
)
IMAGE = np.dtype(
    [
        ("image_band", "S5"),
        ("image_array", "f4", (SIDE, SIDE)),
        ("image_array_units", "S17"),
        ("image_psf", "f4", (SIDE, SIDE)),
        ("image_psf_units", "S17"),
        ("image_scale", "f8"),
        ("image_scale_units", "S6"),
    ]
)
MAP = np.dtype(
    [
        *[("group", "S24"), ("label", "S64")],
        *[(name, "f4", (SIDE, SIDE)) for name in ("array", "ivar", "mask")],
        ("array_units", "S48"),
    ]
)


def write_group(group: Any, record: Mapping[str, Any]) -> None:
    """Write a record of the release `manga`, with `healpix`, its nside-16 pixel."""
    height, width = record["cube"]["flux"].shape[1:]
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    scalars = {name: record[name] for name in ("object_id", "ra", "dec", "healpix")}
    for name, value in (scalars | {"z": record["nsa_z"], "spaxel_size": 0.5, "spaxel_size_unit": "arcsec"}).items():
        group.attrs[name] = value
        group.create_dataset(name, data=value)
    table = group.create_dataset("spaxels", (SIDE**2,), SPAXEL, chunks=(SIDE,), shuffle=True, compression="lzf")
    for row, block in enumerate(_spaxels(record, top, left)):
        table[row * SIDE : (row + 1) * SIDE] = block
    group.create_dataset("images", data=_images(record["image"], top, left), compression="lzf")
    group.create_dataset("maps", data=_maps(record, top, left), compression="lzf")


def _spaxels(record: Mapping[str, Any], top: int, left: int) -> Iterator[NDArray[Any]]:
    """The padded spaxels, a row of the cube at a time: (96,) each."""
    cube = record["cube"]
    height, width = cube["flux"].shape[1:]
    places = _places(record, top, left)
    for y in range(SIDE):
        block = np.zeros(SIDE, SPAXEL)
        block["mask"], block["lambda"] = PADDED_SPAXEL, cube["lambda"]
        block["x"], block["y"], block["spaxel_idx"] = np.arange(SIDE), y, y * SIDE + np.arange(SIDE)
        block["flux_units"], block["lambda_units"] = FLUX_UNIT, WAVE_UNIT
        if top <= y < top + height:
            for name in ("flux", "ivar", "mask", "lsf_sigma"):
                block[name][left : left + width] = cube[name][:, y - top].T
        for name, plane in places.items():
            block[name] = plane[y] if isinstance(plane, np.ndarray) else plane
        yield block


def _places(record: Mapping[str, Any], top: int, left: int) -> dict[str, Any]:
    """Coordinates of the spaxels, padded planes (96, 96), and their units; 0 where the galaxy has no maps."""
    planes = [*record["spx_skycoo"]["value"], *record["spx_ellcoo"]["value"]]
    units = [*record["spx_skycoo"]["unit"][:1], *record["spx_ellcoo"]["unit"]]
    found = {name: _padded(plane, top, left) for name, plane in zip(_COORDINATES, planes, strict=False)}
    return found | {name: str(unit).encode() for name, unit in zip(_COORDINATE_UNITS, units, strict=False)}


def _images(image: Mapping[str, Any], top: int, left: int) -> NDArray[Any]:
    out = np.zeros(len(image["band"]), IMAGE)
    out["image_band"] = [band.encode() for band in image["band"]]
    for name, member in (("image_array", "flux"), ("image_psf", "psf")):
        for row, plane in zip(out, image[member], strict=True):
            row[name] = _padded(plane, top, left)
        out[f"{name}_units"] = IMAGE_UNIT
    out["image_scale"], out["image_scale_units"] = 0.5, b"arcsec"
    return out


def _maps(record: Mapping[str, Any], top: int, left: int) -> NDArray[Any]:
    """The maps, channel by channel, in the order of their extensions: 914 in DR17."""
    names = [name.lower() for name in MAPS]
    edges = np.cumsum([0, *(len(record[name]["label"]) for name in names)])
    out = np.zeros(edges[-1], MAP)
    out["mask"] = PADDED_MAP
    for name, (start, stop) in zip(names, pairwise(edges.tolist()), strict=True):
        members = record[name]
        for row, label, unit in zip(out[start:stop], members["label"], members["unit"], strict=True):
            row["group"], row["label"] = name.encode(), v1_label(name, label).encode()
            row["array_units"] = unit.encode()
        for target, member in (("array", "value"), ("ivar", "ivar"), ("mask", "mask")):
            for row, plane in zip(out[start:stop], members.get(member, ()), strict=member in members):
                row[target] = _padded(plane, top, left, PADDED_MAP if member == "mask" else 0)
    return out


def v1_label(group: str, label: str) -> str:
    """v1's name of a map: `emline_gflux_ha_6564`; a map of a single plane is called as its group."""
    if label == group:
        return group
    return f"{group}_" + label.replace("-", "_").strip().replace(". ", "").replace(" ", "_").lower()


def _padded(plane: NDArray[Any], top: int, left: int, fill: int = 0) -> NDArray[np.float32]:
    out = np.full((SIDE, SIDE), fill, dtype=np.float32)
    out[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return out
