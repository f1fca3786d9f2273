"""Cutouts as they are asked for, and as they are kept: a tar file with one small FITS file per object and band.

The service names what it sends by the line that asked for it; kept, a member is called by its object and band, and what
the service says it does not have is listed in the last member.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mmu.archive.tar import MissingMembersError, members
from surveys.hsc.columns import BANDS, SCALE, SIZE

LINES = 990
"""Lines that the service takes at once."""
MEMBER_BYTES = 380_000
"""A cutout of 167 x 167 pixels: image, mask and variance, and their headers."""
MOST_BYTES = 4_000_000
HALF_WIDTH_DEG = (SIZE / 2 + 3) * SCALE / 3600
"""Three pixels wider on each side than a stamp, so that it does not matter how the service rounds."""
ABSENT = "absent.txt"
_FIELDS = "rerun type filter tract ra dec sw sh image mask variance"


class Line(NamedTuple):
    """One cutout: an object in a band (`HSC-G`)."""

    object_id: str
    filter: str
    rerun: str
    tract: int
    ra: float
    dec: float

    @property
    def name(self) -> str:
        """What it is called where it is kept."""
        return f"{self.object_id}-{self.filter}.fits"


def question(rerun: str, tract: int, rows: pa.Table) -> str:
    """What to ask for some objects of a patch: a line each and band, band after band to suit the service's cache."""
    order = np.argsort(np.asarray(rows["object_id"]).astype(np.str_), kind="stable")
    where = rows.select(["object_id", "ra", "dec"]).take(pa.array(order)).to_pylist()
    lines = [
        f"{one['object_id']} HSC-{band.upper()} {rerun} {tract} {one['ra']!r} {one['dec']!r}"
        for band in BANDS
        for one in where
    ]
    return "\n".join(lines)


def parse_question(text: str) -> list[Line]:
    """The lines of a question."""
    words = (line.split() for line in text.splitlines())
    return [Line(name, band, rerun, int(tract), float(ra), float(dec)) for name, band, rerun, tract, ra, dec in words]


def coordlist(lines: Iterable[Line]) -> str:
    """The list that the service takes; the first line after the heading has number 2."""
    size = f"{HALF_WIDTH_DEG:.10f}deg"
    asked = [
        f"{one.rerun} coadd {one.filter} {one.tract} {one.ra:.12f}deg {one.dec:.12f}deg {size} {size} true true true"
        for one in lines
    ]
    return "\n".join([f"#? {_FIELDS}", *asked, ""])


def write_tar(path: Path, cutouts: Iterable[tuple[str, bytes]], expected: Iterable[str]) -> None:
    """Keep cutouts, and the names of those expected that are not among them; equal content is equal bytes."""
    left = dict.fromkeys(expected)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as stream:
        for name, content in cutouts:
            _add(stream, name, content)
            del left[name]
        _add(stream, ABSENT, "".join(f"{name}\n" for name in left).encode())


def _add(stream: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    stream.addfile(member, io.BytesIO(content))


def read_tar(path: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The cutouts of those names that the archive has, in the order they are kept.

    Raises:
        FormatError: the file is cut short, or lacks what it does not say the archive lacks.
    """
    expected = {*names, ABSENT}
    absent: set[str] = set()
    try:
        for name, content in members(path, expected, MOST_BYTES, lambda name: name if name in expected else None):
            if name == ABSENT:
                absent = set(content.decode("ascii", "replace").split())
            else:
                yield name, content
    except MissingMembersError as problem:
        if not set(problem.missing) <= absent:
            raise
