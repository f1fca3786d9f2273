"""Two small simulated archives behind a web server, healthy builds of them, and builds to compare with those."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mmu.build.ledger import Folded, read_ledger
from mmu.build.run import Report, build
from mmu.build.spec import BuildSpec
from mmu.build.verify import verify
from tests.archive.server import Archive, serving, simulate

REDUX = "dr1/spectro/redux/iron/healpix"
TILES = f"{REDUX}/tilepix.fits"
PIXELS = (10533, 10544)
COADD, COADD_2 = (f"{REDUX}/main/bright/105/{pixel}/coadd-main-bright-{pixel}.fits" for pixel in PIXELS)
REDROCK, REDROCK_2 = (f"{REDUX}/main/bright/105/{pixel}/redrock-main-bright-{pixel}.fits" for pixel in PIXELS)
ABSENT_PIXEL = 10555
UNIT, UNIT_2 = (f"{pixel}-main-bright" for pixel in PIXELS)

XP_FOLDER = "Spectroscopy/xp_continuous_mean_spectrum"
RANGES = ("420092-420093", "420436-420438")
SOURCE, SOURCE_2 = (f"gaia_source/GaiaSource_{cells}.csv.gz" for cells in RANGES)
XP, XP_2 = (f"{XP_FOLDER}/XpContinuousMeanSpectrum_{cells}.csv.gz" for cells in RANGES)
SOURCE_LIST, XP_LIST = "gaia_source/_MD5SUM.txt", f"{XP_FOLDER}/_MD5SUM.txt"


def small_desi(folder: Path) -> None:
    """Two coadd files of ten spectra each, their redshifts, and a list that names a pixel without files too.

    The second coadd file carries FITS checksums.
    """
    simulate("desi", "dr1_main", folder, "tilepix", *(f"main/bright/105/{pixel}" for pixel in PIXELS))
    with fits.open(folder / TILES) as hdus:
        table = hdus[1].data
        kept = table[np.isin(table["HEALPIX"], PIXELS) & (table["PROGRAM"] == "bright")]
        absent = kept[:1].copy()
        absent["HEALPIX"] = ABSENT_PIXEL
        rows = np.concatenate([np.asarray(kept), np.asarray(absent)])
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows, name="TILEPIX")]).writeto(folder / "tiles.fits")
    (folder / "tiles.fits").replace(folder / TILES)
    with fits.open(folder / COADD_2, mode="update") as hdus:
        for hdu in hdus:
            hdu.add_checksum()


def small_gaia(folder: Path) -> None:
    """Two ranges of sources with their spectra, and lists that name just those."""
    simulate("gaia", None, folder)
    kept = {SOURCE, SOURCE_2, XP, XP_2, SOURCE_LIST, XP_LIST}
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if str(file.relative_to(folder)) not in kept:
            file.unlink()
    for path in (SOURCE_LIST, XP_LIST):
        lines = (folder / path).read_text().splitlines(keepends=True)
        (folder / path).write_text("".join(line for line in lines if any(cells in line for cells in RANGES)))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset but its ledger and its locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_mmu" not in path.parts and not path.name.endswith(".lock")
    }


@dataclass
class World:
    """One survey's archive as it should be (`pristine`), as it is served, and where a test builds."""

    survey: str
    archive: Archive
    pristine: Path
    out: Path = Path()
    allowed: dict[str, set[bytes]] = field(default_factory=dict)
    golden: dict[str, Any] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    _seen: set[tuple[str, int, int]] = field(default_factory=set)

    def begin(self, out: Path) -> None:
        """A healthy archive and nothing built."""
        self.out = out
        self.mend()
        self.archive.asked.clear()
        self.archive.alarms.clear()
        self.archive.watch = self.look_at_cache
        self.archive.peak = 0
        self.allowed, self.pauses = {}, []
        self._seen.clear()

    def mend(self) -> None:
        """Put the archive right again."""
        self.archive.heal()
        self.archive.etags = True
        for file in [path for path in self.archive.folder.rglob("*") if not path.is_dir()]:
            path = file.relative_to(self.archive.folder)
            there = self.pristine / path
            if not there.exists() or file.is_symlink() or not there.samefile(file):
                file.unlink()
        for file in [path for path in self.pristine.rglob("*") if path.is_file()]:
            served = self.archive.folder / file.relative_to(self.pristine)
            if not served.exists():
                served.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, served)

    def spec(self, **options: Any) -> BuildSpec:
        given = {"source": self.archive.url, "workers": 0, "keep_raw": True, "max_objects": None, **options}
        return BuildSpec(self.survey, given.pop("out", self.out), **given)

    def build(self, **options: Any) -> Report:
        return build(self.spec(**options))

    @property
    def cached(self) -> Path:
        return self.spec().raw

    def ledger(self) -> Folded:
        found = read_ledger(self.spec().ledger)
        assert found is not None
        return found

    def errors(self) -> dict[str, str]:
        """What the ledger says of units that failed."""
        units = self.ledger().units.select(["unit", "error"]).to_pylist()
        return {row["unit"]: row["error"] for row in units if row["error"]}

    def snapshot(self) -> dict[str, Any]:
        """All that a healthy build decides: the dataset's bytes, the counts, every object's fate."""
        spec, ledger = self.spec(), self.ledger()
        build = json.loads((spec.ledger / "build.json").read_text())
        account = {key: build[key] for key in ("counts", "absent", "not_there", "shards", "bytes")}
        return {"files": tree(spec.root), "account": account, "objects": ledger.objects.to_pylist()}

    def problems(self) -> list[str]:
        return [problem for verdict in verify(self.spec().root) for problem in verdict.problems]

    def look_at_cache(self) -> None:
        """No file stands under its final name that is not, byte for byte, what the archive has."""
        raw = self.cached
        for file in [path for path in raw.rglob("*") if path.is_file()] if raw.exists() else []:
            path = str(file.relative_to(raw))
            if ".hosts" in file.parts or file.name.endswith((".part", ".json", ".bad", ".tmp", ".lock")):
                continue
            try:
                facts = file.stat()
                key = (path, facts.st_size, facts.st_mtime_ns)
                if key in self._seen:
                    continue
                data = file.read_bytes()
            except FileNotFoundError:  # removed meanwhile
                continue
            assert data in self._truths(path), f"{path} in the cache is not the archive's file ({len(data)} bytes)"
            self._seen.add(key)

    def _truths(self, path: str) -> Iterator[bytes]:
        yield from self.allowed.get(path, ())
        for folder in (self.pristine, self.archive.folder):
            if (folder / path).is_file():
                yield (folder / path).read_bytes()


@contextmanager
def world(survey: str, folder: Path) -> Iterator[World]:
    """The archive of one survey, served, with its healthy build."""
    pristine, served = folder / "pristine", folder / "served"
    pristine.mkdir()
    served.mkdir()
    {"desi": small_desi, "gaia": small_gaia}[survey](pristine)
    with serving(served) as archive:
        made = World(survey, archive, pristine)
        made.begin(folder / "golden")
        yield made
