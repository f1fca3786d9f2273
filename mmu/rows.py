"""Rows by identifier: which of those wanted a table lists, and where. Never by their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
"""Identifiers, integers or text, (N,)."""


def missing(wanted: Ids, listed: Ids, kind: str) -> dict[str, str]:
    """Those wanted that a table does not list, or lists more than once, as text -> why they cannot be had."""
    distinct, count = np.unique(listed, return_counts=True)
    absent, twice = ~np.isin(wanted, distinct), np.isin(wanted, distinct[count > 1])
    gone = dict.fromkeys(wanted[absent].astype(np.str_).tolist(), f"not in the {kind} file")
    return gone | dict.fromkeys(wanted[twice].astype(np.str_).tolist(), f"more than once in the {kind} file")


def positions(wanted: Ids, listed: Ids) -> NDArray[np.intp]:
    """Row of each one wanted; its first where it is listed twice.

    Raises:
        KeyError: one is not listed.
    """
    order = np.argsort(listed, kind="stable")
    place = np.searchsorted(listed, wanted, sorter=order)
    rows = order[np.minimum(place, len(listed) - 1)] if len(listed) else np.empty(0, dtype=np.intp)
    if len(rows) != len(wanted) or not np.array_equal(listed[rows], wanted):
        raise KeyError("one of the identifiers is not listed")
    return rows
