"""Do surveys of one sky agree? Objects of different surveys at one place, by brute force on small tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mmu.sky.healpix import unit_vectors


def common_objects(places: Mapping[str, pa.Table], radius_arcsec: float = 1.0) -> tuple[dict[str, int], dict[str, str]]:
    """How many objects of each survey another one sees too, and the ids of one that most of them see.

    Args:
        places: per survey object_id, ra, dec, a row an object (or several rows).
    """
    from scipy.spatial import cKDTree

    vectors = {name: unit_vectors(table["ra"], table["dec"]) for name, table in places.items() if len(table)}
    trees = {name: cKDTree(points) for name, points in vectors.items()}
    reach = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2)
    shared: dict[str, int] = {}
    best: dict[str, str] = {}
    for name, points in vectors.items():
        nearest = {other: tree.query(points, distance_upper_bound=reach) for other, tree in trees.items()}
        seen = np.stack([np.isfinite(distance) for distance, _ in nearest.values()])
        shared[name] = int((seen.sum(axis=0) > 1).sum())
        row = int(np.argmax(seen.sum(axis=0)))
        found = {other: _id(places[other], int(at[row])) for other, (d, at) in nearest.items() if np.isfinite(d[row])}
        best = max(best, found, key=len)
    return shared, best


def _id(table: pa.Table, row: int) -> Any:
    return table["object_id"][row].as_py()
