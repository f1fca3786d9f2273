"""Bad files of every survey: told in a sentence, or the right records; never a wrong row, a hang or a crash.

Every survey inherits this. Its simulator makes a small unit; one file of it is spoiled in each way of `mutate.KINDS`,
with the archive's checksum list vouching for the bytes or knowing the spoiled file, and a worker with bounded memory
does what a build does.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmu.survey import get_survey, survey_names
from tests.reliability.conftest import Tally
from tests.reliability.fuzz import Case, Outcome, RealCase, SmallUnit, Worker, golden, small_unit, worker
from tests.reliability.fuzz_real import READERS
from tests.reliability.mutate import KINDS, Mutated, mutated, with_sums

SECTION = "Bad files"
FLIPS = ("a bit of a header flipped", "a bit of the data flipped")
COLUMNS_GONE = ("a column renamed", "a column gone", "a CSV column renamed", "a CSV column gone")
SWAPS = ("a file of another unit", "another file of the unit", "a file of another survey")
ROWS_GONE = ("rows of a table twice", "rows of a table in place of others", "rows of a table dropped")
NEIGHBOURS = {"legacysurvey": ("catalog", "object_mask")}
"""Columns that tell of other objects too: whom the catalogue does not list is no neighbour."""
TINY, LARGE, THOROUGH_BYTES = 100_000, 5_000_000, 120_000_000
BY_ROW = {"gz10"}
"""Surveys whose objects are called by their row in a file of known sha256: that digest vouches for the order."""
UNTOLD = {"legacysurvey": (".jpg",)}
"""Files in which nothing says whose they are: one in place of another cannot be noticed."""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("fuzz-worker") / "work") as made:
        yield made


class Record:
    """What became of all examples of a test."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.rows = self.excluded = 0
        self.bad: list[str] = []

    def add(self, what: str, outcome: Outcome) -> None:
        self.count["all"] += 1
        self.count["refused" if outcome.refused and not outcome.rows else "answered"] += 1
        self.rows += outcome.rows
        self.excluded += outcome.excluded
        self.bad += [f"{what}: {wrong}" for wrong in outcome.wrong]

    def close(self, what: str, tally: Tally) -> None:
        """All must have gone well; then it is told."""
        assert not self.bad, f"{len(self.bad)} of {self.count['all']}:\n" + "\n".join(self.bad[:12])
        assert self.count["refused"]
        n, words = self.count["all"], f"{self.count['refused']} refused in words"
        words += f", {self.count['answered']} answered ({self.rows} right rows, {self.excluded} objects excluded)"
        tally(SECTION, f"{what}: {n} mutated files", f"{words}, 0 wrong", n)


def examples(kind: str, count: int, run: Callable[[str, np.random.Generator], None]) -> None:
    """Run a kind of mutation with so many seeds, the same ones every time."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32 - 1))
    def each(seed: int) -> None:
        run(f"{kind} (seed {seed})", np.random.default_rng([crc32(kind.encode()), seed]))

    each()


class Fuzzed:
    """A survey's small unit, spoiled one file at a time and put right again."""

    def __init__(self, made: SmallUnit, folder: Path, runner: Worker) -> None:
        self.made, self.runner = made, runner
        self.golden = folder / "golden.arrow"
        golden(made, self.golden)
        self.healthy = {path: (made.folder / path).read_bytes() for path in made.paths}

    def put(self, path: str, data: bytes) -> None:
        """Another version of a file; links and times are new, as a download's are."""
        file = self.made.folder / path
        file.unlink(missing_ok=True)
        file.write_bytes(data)

    def run(self, path: str, data: bytes, exact: bool, relisted: bool, kind: str = "") -> Outcome:
        made = self.made
        changed = {path: data}
        if relisted and path in made.lists:
            changed[made.lists[path]] = self._relisted(path, data)
        for name, content in changed.items():
            self.put(name, content)
        try:
            lost = NEIGHBOURS.get(made.survey, ()) if kind in ROWS_GONE else ()
            checks = (exact, kind in COLUMNS_GONE, lost, made.groups)
            case = Case(made.survey, made.release, made.unit, str(made.folder), str(self.golden), *checks)
            return self.runner.run(case)
        finally:
            for name in changed:
                self.put(name, self.healthy[name])

    def _relisted(self, path: str, data: bytes) -> bytes:
        """The checksum list as an archive would publish it that holds the spoiled file."""
        text = self.healthy[self.made.lists[path]]
        for kind in ("md5", "sha1", "sha256"):
            old, new = (hashlib.new(kind, one, usedforsecurity=False).hexdigest() for one in (self.healthy[path], data))
            text = text.replace(old.encode(), new.encode())
        return text

    def mutate(self, kind: str, path: str, random: np.random.Generator) -> tuple[Mutated, bool, bool] | None:
        """A spoiled version of a file, whether rows that come of it must be right, and whether the list knows it."""
        made, data, name = self.made, self.healthy[path], kind.partition(" (")[0]
        if name in SWAPS:
            content = self._another(name, path, random)
            told = not path.endswith(UNTOLD.get(made.survey, "/"))
            return None if content in (None, data) else (Mutated(content or b""), told, True)
        how = KINDS[name]
        listed = how.bytewise and path in made.lists and random.random() < 0.4
        summed = name in FLIPS and data.startswith(b"SIMPLE") and random.random() < 0.5
        changed = mutated(name, with_sums(data) if summed else data, random, path.endswith(".gz"))
        if changed is None:
            return None
        told = how.keeps and not (made.survey in BY_ROW and "another order" in name)
        exact = told or listed or summed or changed.sealed or path not in made.own
        return changed, exact, not listed

    def _another(self, name: str, path: str, random: np.random.Generator) -> bytes | None:
        made = self.made
        if name == SWAPS[0]:
            return made.others.get(path)
        alike = [other for other in made.own if other != path and Path(other).suffixes == Path(path).suffixes]
        pool = [self.healthy[other] for other in alike] if name == SWAPS[1] else made.foreign
        return pool[int(random.integers(len(pool)))] if pool else None


def _count(made: SmallUnit, thorough: bool) -> int:
    """Seeds for each kind of mutation: as many as the size of the unit allows."""
    tiny = made.bytes < TINY
    return (20 if tiny else max(2, min(6, THOROUGH_BYTES // made.bytes))) if thorough else (3 if tiny else 1)


@pytest.mark.parametrize("survey", survey_names())
def test_spoiled_files_of_a_unit(survey: str, runner: Worker, thorough: bool, tmp_path: Path, tally: Tally) -> None:
    record = Record()
    for release in get_survey(survey).releases[:1]:
        folder = tmp_path / release.name
        folder.mkdir()
        fuzzed = Fuzzed(small_unit(survey, release.name, folder), folder, runner)
        paths = fuzzed.made.paths

        def run(kind: str, random: np.random.Generator, fuzzed: Fuzzed = fuzzed, paths: list[str] = paths) -> None:
            for path in random.permutation(paths).tolist():
                if found := fuzzed.mutate(kind, path, random):
                    changed, exact, relisted = found
                    name = kind.partition(" (")[0]
                    record.add(f"{path}: {kind}", fuzzed.run(path, changed.data, exact, relisted, name))
                    return

        step = 1 if thorough else max(1, min(3, fuzzed.made.bytes // LARGE))
        for kind in [*KINDS, *SWAPS][::step]:
            examples(kind, _count(fuzzed.made, thorough), run)
    record.close(survey, tally)


@pytest.mark.parametrize("survey", survey_names())
def test_spoiled_real_files(survey: str, runner: Worker, thorough: bool, tmp_path: Path, tally: Tally) -> None:
    root = Path(os.environ.get("MMU_REAL_DATA", ""))
    files = [root / survey / name for name in READERS.get(survey, {}) if (root / survey / name).is_file()]
    if not os.environ.get("MMU_REAL_DATA") or not files:
        pytest.skip(f"MMU_REAL_DATA names no folder with real files of {survey} that are read here")
    record = Record()
    for healthy in files:
        data, spoiled = healthy.read_bytes(), tmp_path / healthy.name

        def run(kind: str, random: np.random.Generator, healthy: Path = healthy, data: bytes = data) -> None:
            name = kind.partition(" (")[0]
            changed = mutated(name, data, random, healthy.suffix == ".gz")
            if changed is None:
                return
            spoiled = tmp_path / healthy.name
            spoiled.write_bytes(changed.data)
            exact = KINDS[name].keeps or changed.sealed
            case = RealCase(survey, healthy.name, str(spoiled), str(healthy), exact)
            record.add(f"{healthy.name}: {kind}", runner.run(case))

        for kind in KINDS:
            examples(kind, 6 if thorough else 1, run)
        spoiled.unlink(missing_ok=True)
    record.close(f"{survey}, real files", tally)


def test_a_wrong_row_would_be_noticed(runner: Worker, tmp_path: Path) -> None:
    """The harness itself: another object's values under an id, in a file that a list is made to vouch for."""
    fuzzed = Fuzzed(small_unit("gaia", "gaia_dr3", tmp_path), tmp_path, runner)
    path = next(path for path in fuzzed.made.own if "Xp" in path)
    lines = gzip.decompress(fuzzed.healthy[path]).decode().splitlines()
    first, second = (line.split(",", 1) for line in lines[-2:])
    lines[-2:] = [f"{second[0]},{first[1]}", f"{first[0]},{second[1]}"]
    outcome = fuzzed.run(path, gzip.compress("\n".join([*lines, ""]).encode()), exact=True, relisted=True)
    assert any("not the golden value" in wrong for wrong in outcome.wrong)
    assert fuzzed.run(path, fuzzed.healthy[path], exact=True, relisted=False) == Outcome(rows=outcome.rows)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "column" in kind and "CSV" not in kind])
def test_columns_of_arrays_of_several_lengths_can_be_spoiled(kind: str) -> None:
    """The harness itself: Gaia's real FITS files have such columns."""
    arrays = np.array([np.arange(n, dtype=np.float32) for n in (3, 5)], dtype=object)
    table = fits.BinTableHDU.from_columns([fits.Column("x", "PE()", array=arrays)])
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(buffer)
    for seed in range(8):
        mutated(kind, buffer.getvalue(), np.random.default_rng(seed), False)
