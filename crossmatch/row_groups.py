"""Row groups once read, kept a while: the parts of the sky around theirs need their borders too.

Row groups follow the sky's order, so the next part of the sky often begins within the same ones; of those further back
it needs a strip along a border. Without this each large row group would be decoded three times over.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import pyarrow as pa


class RowGroups:
    """Tables by key, the latest used; safe to use from several threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, pa.Table] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], pa.Table]) -> pa.Table:
        """The table of a key; read if it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        table = read()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = table
                self._bytes += table.nbytes
            while self._bytes > self.most_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return table

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0


KEPT = RowGroups(120_000_000)
"""Whole ones, of this process."""

BORDERS = RowGroups(80_000_000)
"""Of the same, and of many more before them, what lies along borders of parts of the sky."""
