"""A galaxy as v1 has it: names, types and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from surveys.manga.columns import MAPS
from surveys.manga.hdf5 import v1_label, write_group

LOADER = (
    "flux ivar mask lsf_sigma lambda x y spaxel_idx flux_units lambda_units skycoo_x skycoo_y ellcoo_r ellcoo_rre "
    "ellcoo_rkpc ellcoo_theta skycoo_units ellcoo_r_units ellcoo_rre_units ellcoo_rkpc_units ellcoo_theta_units"
).split()
"""The order in which v1's loader takes them, with its own name for lsf_sigma put right."""


def _record(side: int, maps: bool) -> dict[str, Any]:
    plane = np.arange(side * side, dtype=np.float32).reshape(side, side) + 1
    cube = np.broadcast_to(plane, (4563, side, side))
    record: dict[str, Any] = {"object_id": "1-2", "ra": 1.5, "dec": -2.0, "healpix": 7, "nsa_z": 0.03}
    record["cube"] = {"flux": cube, "ivar": cube, "mask": cube.astype(np.int32), "lsf_sigma": cube}
    record["cube"]["lambda"] = np.linspace(3600, 10000, 4563, dtype=np.float32)
    record["image"] = {"band": list("griz"), "flux": np.stack([plane] * 4), "psf": np.stack([plane] * 4)}
    for name in MAPS:
        labels, units = [name.lower()], ["km/s"]
        if name.endswith("COO"):
            labels = ["On-sky X", "On-sky Y"] if "SKY" in name else ["Elliptical radius", "R/Re", "R h/kpc", "Azimuth"]
            units = ["arcsec", "arcsec"] if "SKY" in name else ["arcsec", "", "kpc/h", "degrees"]
        planes = np.stack([plane * (k + 1) for k in range(len(labels))])
        record[name.lower()] = {"label": labels, "unit": units, "value": planes}
        if name == "STELLAR_VEL":
            record["stellar_vel"] |= {"ivar": planes, "mask": np.zeros((1, side, side), np.int32)}
        if not maps:
            record[name.lower()] = {"label": [], "unit": [], "value": np.zeros((0, side, side))}
    return record


@pytest.mark.parametrize("maps", [True, False])
def test_a_group_is_v1s(maps: bool, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        group = file.create_group("1-2")
        write_group(group, _record(35, maps))  # odd: v1 made 95 of it
        assert group["object_id"].asstr()[()] == "1-2"
        assert group["spaxel_size_unit"].asstr()[()] == "arcsec"
        assert (group["z"][()], group["healpix"][()], group.attrs["ra"]) == (0.03, 7, 1.5)
        table = group["spaxels"]
        assert table.shape == (9216,)
        assert list(table.dtype.names) == LOADER
        for number in (0, 30 * 96 + 30, 9215):
            assert (table[number]["x"], table[number]["y"]) == (number % 96, number // 96)
        assert (table[0]["mask"] == 1024).all()
        assert not table[0]["flux"].any()
        assert table[0]["lambda"][-1] == 10000
        first = table[30 * 96 + 30]  # (96 - 35) // 2
        assert (first["flux"] == 1).all()
        assert (first["mask"] == 1).all()
        assert first["skycoo_y"] == (2 if maps else 0)
        assert first["ellcoo_rkpc_units"] == (b"kpc/h" if maps else b"")
        assert group["images"]["image_array"].shape == (4, 96, 96)
        assert group["images"]["image_band"].tolist() == [b"g", b"r", b"i", b"z"]
        assert len(group["maps"]) == (len(MAPS) + 2 * 1 + 2 * 3 if maps else 0)


def test_maps_are_padded_and_say_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        write_group(group := file.create_group("1-2"), _record(34, True))
        maps = {row["label"].decode(): row for row in group["maps"][:]}
    speed, ratio = maps["stellar_vel"], maps["spx_ellcoo_elliptical_radius"]
    assert speed["mask"][0, 0] == 1 << 30
    assert not speed["mask"][31:65, 31:65].any()
    assert (speed["array"][31, 31], speed["array"][30, 31]) == (1, 0)
    assert (ratio["mask"] == 1 << 30).all()  # as v1 has a map without a mask
    assert maps["spx_ellcoo_r/re"]["array_units"] == b""


def test_labels_are_v1s() -> None:
    assert v1_label("emline_gflux", "Ha-6564") == "emline_gflux_ha_6564"
    assert v1_label("bin_lwskycoo", "Lum. weighted on-sky X") == "bin_lwskycoo_lumweighted_on_sky_x"
    assert v1_label("stellar_vel", "stellar_vel") == "stellar_vel"
