"""A toy survey, installed as a plug-in: small enough to build in milliseconds, and it misbehaves on demand.

Its archive is a folder: `catalogue.csv` lists objects, `data/<unit>.csv` holds a number per object. What stands in a
data file decides what the reader does: "CRASH", "SEGV" and "OOM" kill the worker (by exit, by a segmentation fault, as
the kernel does when memory is short), "ONCE" does so the first time, "MEMORY" has no memory left, "WRONG" is not the
data model, "LOSE" loses a row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mmu.build.run import Report, build
from mmu.build.spec import BuildSpec

DECLARATION = """
from mmu.schema import IDENTITY, MODALITIES, Column, Schema
from mmu.survey import Release, Survey
spectrum = MODALITIES["spectrum"].column(axes={"wavelength": 500}, flux="1")
schema = Schema((*IDENTITY, spectrum, Column("value", "float64")))
release = Release("v1", "Toy release", schema, {}, ("value > 0",), 2000.0, 100, 1000, "a patch", row_group_rows=3)
root = "https://example.org/toy/"
SURVEY = Survey("toy", "A toy survey", "toysurvey", "https://example.org", root, "none", "mit", (release,))
"""
ARCHIVE = """
import csv
import numpy as np
from mmu.survey import Candidates, File, Group
def bootstrap(release): return ()
def groups(release, paths, region, walk): yield Group("all", (File("catalogue.csv", 100),))
def select(release, group, paths):
    rows = list(csv.DictReader(paths["catalogue.csv"].read_text().splitlines()))
    at = {k: np.array([r[k] for r in rows]) for k in ("object_id", "ra", "dec", "unit", "value")}
    value = at["value"].astype(float)
    ra, dec = at["ra"].astype(float), at["dec"].astype(float)
    return Candidates(at["object_id"], ra, dec, at["unit"], {"not positive": ~(value > 0)})
def files(release, unit): return (File(f"data/{unit}.csv", 100), File(f"data/{unit}.extra", 10, required=False))
"""
READ = """
import csv, ctypes, os, signal
import numpy as np
from mmu.errors import FormatError
from mmu.schema import table_of
from mmu.survey import Records
def read(release, unit, paths, rows):
    text = paths[f"data/{unit}.csv"].read_text()
    if "CRASH" in text: os._exit(9)
    if "SEGV" in text: ctypes.string_at(0)
    if "OOM" in text: os.kill(os.getpid(), signal.SIGKILL)
    if "MEMORY" in text: raise MemoryError
    if "ONCE" in text and not (mark := paths[f"data/{unit}.csv"].with_suffix(".died")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "WRONG" in text: raise FormatError(f"{unit}: not as the data model says")
    values = dict(line.split(",") for line in text.split() if not line.startswith("ONCE"))
    ids = rows["object_id"].to_pylist()
    out = {n: "no data" for n in ids if n not in values}
    keep = [n not in out for n in ids]
    if "LOSE" in text: keep[0] = False
    kept = rows.filter(keep)
    value = np.array([float(values[n]) for n in kept["object_id"].to_pylist()])
    flux = value[:, None] * np.ones(500, dtype=np.float32)
    spectrum = {"flux": flux, "ivar": flux, "lsf_sigma": flux, "lambda": flux, "mask": flux < 0}
    columns = {n: kept[n] for n in ("object_id", "ra", "dec")}
    return Records(table_of(release.schema, {**columns, "spectrum": spectrum, "value": value}), out)
"""


@contextmanager
def installed(root: Path) -> Iterator[None]:
    """The plug-in, written below `root`, on the path of this process and of those it starts."""
    package = root / "toysurvey"
    package.mkdir()
    for name, text in {"__init__": DECLARATION, "archive": ARCHIVE, "read": READ}.items():
        (package / f"{name}.py").write_text(text)
    (package / "card.md").write_text("A toy.")
    (package / "cite.bib").write_text("@misc{toy}")
    info = root / "toysurvey-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toysurvey\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mmu.surveys]\ntoy = toysurvey:SURVEY\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root), prepend=":")
        patch.syspath_prepend(str(root))
        yield
    for name in [n for n in sys.modules if n.startswith("toysurvey")]:
        del sys.modules[name]


class Toy:
    """A toy archive of `units` units of `per` objects near (10, 0), and builds of it."""

    def __init__(self, folder: Path, units: int = 6, per: int = 7) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        random = np.random.default_rng(1)
        self.rows = [
            (f"o{unit}-{index}", 10 + random.normal(0, 0.5), random.normal(0, 0.5), f"u{unit}", index - 0.5)
            for unit in range(units)
            for index in range(per)
        ]
        self.write()

    def write(self) -> None:
        lines = ["object_id,ra,dec,unit,value", *(",".join(map(str, row)) for row in self.rows)]
        (self.folder / "catalogue.csv").write_text("\n".join(lines) + "\n")
        for unit in {row[3] for row in self.rows}:
            data = [f"{row[0]},{row[4]}" for row in self.rows if row[3] == unit]
            (self.folder / "data" / f"{unit}.csv").write_text("\n".join(data))

    def spoil(self, unit: str, text: str) -> None:
        path = self.folder / "data" / f"{unit}.csv"
        path.write_text(path.read_text() + f"\n{text},1")

    def spec(self, out: Path, **options: object) -> BuildSpec:
        defaults = {"source": str(self.folder), "workers": 0, "partition_bytes": 1 << 16}
        return BuildSpec("toy", out, **{**defaults, **options})  # type: ignore[arg-type]

    def build(self, out: Path, **options: object) -> Report:
        return build(self.spec(out, **options))
