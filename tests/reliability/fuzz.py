"""One small unit of each survey, what a healthy run makes of it, and a worker that runs what users run on bad copies.

The worker is a process of its own, with a limit on its memory: what would hang, crash or grow is a failed test, not a
failed run. It plans from a folder in the archive's layout, fetches and probes, reads the unit, and compares.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import multiprocessing
import os
import resource
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from PIL import Image

from mmu.archive import rendering
from mmu.archive.fetch import Fetcher
from mmu.archive.source import FolderSource
from mmu.build.executor import Inline
from mmu.build.plan import Plan, unit_files
from mmu.build.planner import make_plan
from mmu.build.progress import Progress
from mmu.build.spec import BuildSpec
from mmu.build.unit import read_unit
from mmu.decoding import decode
from mmu.errors import AbsentUpstreamError, MmuError
from mmu.schema import HEALPIX, arrow_schema
from mmu.simulate import Sky
from mmu.sky import healpix
from mmu.sky.region import parse_region
from mmu.survey import File, Group, Release, Survey, get_survey
from tests.reliability.fuzz_real import READERS

HANG_S = 120.0
"""After so long an example counts as a hang; a healthy one takes a second."""
MEMORY = 2 << 30
"""Bytes of address space that the worker may take beyond what it has before its first example."""
LONGEST_SENTENCE = 1200
FEWEST, TRIED = 2, 12
WINDOW = 400
"""Pixels along the side of what is kept of a brick."""
SAME_DEG = 1 / 3600


# -- a small unit -------------------------------------------------------------------------------------------------


@dataclass
class SmallUnit:
    """One unit in a folder of its own, and another unit's files to be mistaken for its own.

    Attributes:
        folder: the archive: bootstrap lists, the group's catalogues, the unit's files.
        own: paths of the files that decide what the records hold; other files only say where to look.
        others: path -> the same file of another unit; `foreign`: files of other surveys.
        lists: path -> the checksum list that covers it.
    """

    survey: str
    release: str
    unit: str
    folder: Path
    own: list[str]
    lists: dict[str, str]
    others: dict[str, bytes] = field(default_factory=dict)
    foreign: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    groups: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())

    @property
    def bytes(self) -> int:
        return sum((self.folder / path).stat().st_size for path in self.own)


def small_unit(survey: str, release: str, folder: Path) -> SmallUnit:
    """The smallest unit with a few objects that the simulator offers, made smaller still where a survey's is large."""
    declared, sky = get_survey(survey), Sky()
    kind = declared.release(release)
    listed = declared.simulator.files(kind.name, sky)

    def make(path: str, root: Path) -> Path | None:
        file = root / path
        if path in listed and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            rendering.render(declared.module, path, sky, file)
        return file if path in listed else None

    scratch, archive, other = folder / "scratch", folder / "archive", folder / "other"
    groups = _small_groups(declared, kind, make, listed, scratch)
    plan = _plan_of(survey, release, scratch, folder)
    files_of = unit_files(BuildSpec(survey, folder / "out", release), plan)
    found = _small_units(plan, files_of, listed)
    unit = found[0]
    files = [*plan.listed_in[unit], *(file.path for file in files_of[unit])]
    lists = {f.path: f.checksums for f in files_of[unit] if f.checksums}
    for path in [*(f.path for f in declared.archive.bootstrap(kind)), *files, *lists.values()]:
        make(path, archive)
    own = [path for path in dict.fromkeys(files) if (archive / path).exists()]
    names = tuple(group.name for group in groups if {f.path for f in group.files} & set(plan.listed_in[unit]))
    made = SmallUnit(survey, release, unit, archive, own, lists, groups=names)
    made.ids = plan.objects["object_id"].take(pa.array(plan.rows_of_unit[unit])).to_pylist()
    if len(found) > 1:
        theirs = [*plan.listed_in[found[1]], *(file.path for file in files_of[found[1]])]
        for mine, his in zip(files, theirs, strict=False):
            if mine != his and mine in own and (file := make(his, other)):
                made.others[mine] = file.read_bytes()
    if survey in SMALLER:
        SMALLER[survey](made)
    made.foreign = list(_foreign())
    shutil.rmtree(scratch)
    return made


def _small_groups(
    survey: Survey, release: Release, make: Callable[[str, Path], Path | None], listed: dict[str, int], scratch: Path
) -> list[Group]:
    """The catalogues of a few groups, the smallest first, in a folder."""
    paths = {file.path: made for file in survey.archive.bootstrap(release) if (made := make(file.path, scratch))}
    groups = list(survey.archive.groups(release, paths, parse_region(None), True))
    for group in sorted(groups, key=lambda group: sum(listed.get(file.path, 0) for file in group.files)):
        there = {file.path for file in group.files} & listed.keys()
        if there and all(file.path in there for file in group.files if file.required) and len(paths) < TRIED:
            paths |= {path: made for path in there if (made := make(path, scratch))}
    return groups


def _plan_of(survey: str, release: str, archive: Path, folder: Path) -> Plan:
    spec = BuildSpec(survey, folder / "out", release, source=str(archive), max_objects=1 << 30, workers=0)
    with Fetcher(FolderSource(archive), folder / "cache", spec.survey.policy) as fetcher:
        return make_plan(spec, fetcher, Inline(), Progress(quiet=True))


def _small_units(plan: Plan, files_of: dict[str, tuple[File, ...]], listed: dict[str, int]) -> list[str]:
    """Units that the simulator has, those with a few objects before those with one, the smallest first."""
    cost: dict[str, tuple[bool, int]] = {}
    for unit, rows in plan.rows_of_unit.items():
        files = files_of[unit]
        if all(file.path in listed for file in files if file.required):
            cost[unit] = (len(rows) < FEWEST, sum(listed.get(file.path, 0) for file in files))
    return sorted(cost, key=lambda unit: cost[unit])


def _foreign() -> Iterator[bytes]:
    """Healthy files of the kinds that archives hold, of no survey."""
    table = fits.BinTableHDU.from_columns([fits.Column("NUMBER", "K", array=np.arange(5))], name="FIBERMAP")
    for hdus in (
        [fits.PrimaryHDU()],
        [fits.PrimaryHDU(), table],
        [fits.PrimaryHDU(), fits.ImageHDU(np.ones((40, 40), np.float32))],
    ):
        buffer = io.BytesIO()
        fits.HDUList(hdus).writeto(buffer)
        yield buffer.getvalue()
    yield gzip.compress(b"a,b\n1,2\n", mtime=0)
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(buffer, kind)
        yield buffer.getvalue()


def _smaller_brick(made: SmallUnit) -> None:
    """A window on a brick's planes and pictures, and the sources in it: unpacking a whole one takes seconds."""
    tractor = next(made.folder / path for path in made.own if "tractor" in path)
    with fits.open(tractor) as hdus:
        rows = hdus[1].data
        x, y, number = (np.asarray(rows[name]) for name in ("bx", "by", "objid"))
        wanted = np.isin(number, [int(name.rpartition("-")[2]) for name in made.ids])
        places = np.clip(np.stack([x, y], 1)[wanted] - WINDOW / 2, 0, 3600 - WINDOW).astype(int)
        inside = [(x >= a) & (x < a + WINDOW) & (y >= b) & (y < b + WINDOW) for a, b in places]
        best = int(np.argmax([np.sum(one & wanted) for one in inside]))
        hdus[1].data = rows[inside[best]]
        hdus.writeto(tractor, overwrite=True)
    corner = (int(places[best][0]), int(places[best][1]))
    for path in [path for path in made.paths if "coadd/" in path]:
        file = made.folder / path
        file.write_bytes(_window(file.read_bytes(), *corner))
    made.others = {path: _window(data, *corner) if "coadd/" in path else data for path, data in made.others.items()}


def _window(data: bytes, x: int, y: int) -> bytes:
    """Part of a brick's plane or picture (whose first row is in the north)."""
    buffer = io.BytesIO()
    if not data.startswith(b"SIMPLE"):
        picture = Image.open(io.BytesIO(data))
        north = picture.height - y - WINDOW
        picture.crop((x, north, x + WINDOW, north + WINDOW)).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()
    with fits.open(io.BytesIO(data)) as hdus:
        small: list[Any] = [fits.PrimaryHDU()]
        for hdu in hdus[1:]:
            header = hdu.header.copy()
            header["CRPIX1"], header["CRPIX2"] = header["CRPIX1"] - x, header["CRPIX2"] - y
            pixels = np.array(hdu.data[y : y + WINDOW, x : x + WINDOW])
            small.append(fits.CompImageHDU(pixels, header, tile_shape=(80, 80)))
        fits.HDUList(small).writeto(buffer)
    return buffer.getvalue()


def _two_bands(made: SmallUnit) -> None:
    """A mosaic's planes in two bands: seven take seconds."""
    planes = [path for path in made.own if "_drc_" in path and not ("f277w" in path or "f444w" in path)]
    for path in planes:
        (made.folder / path).unlink()
        made.own.remove(path)
        made.others.pop(path, None)


SMALLER: dict[str, Callable[[SmallUnit], None]] = {"legacysurvey": _smaller_brick, "jwst": _two_bands}
"""Surveys whose smallest unit takes too long to read hundreds of times."""


# -- what a run makes of a folder ---------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of an example.

    Attributes:
        refused: every sentence that was told. rows: records given. excluded: objects left out, each with a reason.
        wrong: what must not happen; empty for a good outcome.
    """

    refused: list[str] = field(default_factory=list)
    rows: int = 0
    excluded: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Case:
    """One example for the worker: the archive's folder, whose unit, and what to hold the result against.

    `exact`: rows that come must be the golden ones; otherwise values may differ and the structure must hold.
    `may_lack`: but a column may have no values at all, as the file has none. `except_for`: columns not compared.
    """

    survey: str
    release: str
    unit: str
    folder: str
    golden: str
    exact: bool
    may_lack: bool = False
    except_for: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def attempt(case: Case, work: Path) -> Outcome:
    """Plan, fetch, probe, read and compare; only our own errors may come, each one sentence."""
    out = Outcome()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        table = _records(case, work, out)
    except MmuError as problem:
        out.refused.append(str(problem))
    except MemoryError as problem:
        out.wrong.append(f"memory without bound: {problem}")
    except Exception as problem:  # noqa: BLE001 - what escapes is what this looks for
        out.wrong.append(f"an error of another family escaped: {type(problem).__name__}: {problem}")
    else:
        if table is not None:
            release = get_survey(case.survey).release(case.release)
            out.rows = len(table)
            out.wrong += structure(table, release)
            if case.exact and len(table) and not out.wrong:
                out.wrong += differences(table.drop_columns(list(case.except_for)), _load(case.golden), case.may_lack)
    names = _names(case)
    out.wrong += [f"memory without bound: {text}" for text in out.refused if "MemoryError" in text]
    for text in out.refused:
        out.wrong += unlike_a_sentence(text, names)
    return out


def _records(case: Case, work: Path, out: Outcome) -> pa.Table | None:
    spec = BuildSpec(case.survey, work / "out", case.release, source=case.folder, max_objects=1 << 30, workers=0)
    with Fetcher(FolderSource(Path(case.folder)), work / "cache", spec.survey.policy) as fetcher:
        plan = make_plan(spec, fetcher, Inline(), Progress(quiet=True))
        out.refused += [text for name, text in plan.absent.items() if name in case.groups]
        if case.unit not in plan.rows_of_unit:
            return None
        paths = {}
        for file in unit_files(spec, plan)[case.unit]:
            try:
                paths[file.path] = fetcher.get(file).local
            except AbsentUpstreamError:
                if file.required:
                    raise
        return _read(case, plan, paths, work, out)


def _read(case: Case, plan: Plan, paths: dict[str, Path], work: Path, out: Outcome) -> pa.Table:
    rows = plan.objects.take(pa.array(plan.rows_of_unit[case.unit])).drop_columns(["unit", HEALPIX.name])
    leaves = [plan.leaves[n] for n in np.unique(plan.leaf[plan.rows_of_unit[case.unit]])]
    result = read_unit(case.survey, case.release, case.unit, paths, rows, leaves, work / "spool")
    parts = [pa.ipc.open_file(path.read_bytes()).read_all() for path in sorted((work / "spool").rglob("*.arrow"))]
    schema = arrow_schema(get_survey(case.survey).release(case.release).schema)
    table = pa.concat_tables([schema.empty_table().replace_schema_metadata(None), *parts])
    out.excluded = len(result.excluded)
    if not all(result.excluded.values()):
        out.wrong.append("an object was excluded without a reason")
    _hold_against_the_plan(table, rows, result.excluded, out)
    return table.sort_by("object_id").combine_chunks()


def _hold_against_the_plan(table: pa.Table, rows: pa.Table, excluded: dict[str, str], out: Outcome) -> None:
    """None lost, none invented, none twice, each where the catalogue has it."""
    given = table["object_id"].to_pylist()
    if sorted([*given, *excluded]) != sorted(rows["object_id"].to_pylist()):
        out.wrong.append("objects were lost or invented")
        return
    asked = {row["object_id"]: row for row in rows.select(["object_id", "ra", "dec"]).to_pylist()}
    for row in table.select(["object_id", "ra", "dec"]).to_pylist():
        at = asked[row["object_id"]]
        if not healpix.separation_deg(row["ra"], row["dec"], at["ra"], at["dec"]) <= SAME_DEG:
            out.wrong.append(f"{row['object_id']} is not where the catalogue has it")


def structure(table: pa.Table, release: Release) -> list[str]:
    """What must hold of records whatever their values are."""
    wrong = []
    if not table.schema.equals(arrow_schema(release.schema)):
        wrong.append("the schema is not the declared one")
    ids, ra, dec = table["object_id"].to_pylist(), np.asarray(table["ra"]), np.asarray(table["dec"])
    if len(set(ids)) != len(ids) or None in ids:
        wrong.append("an object_id is missing or comes twice")
    if not (np.isfinite(ra).all() and (np.abs(dec) <= 90).all() and (np.abs(ra - 180) <= 180).all()):
        wrong.append("a position is none")
    elif len(table) and not (np.asarray(table[HEALPIX.name]) == healpix.pixel(ra, dec)).all():
        wrong.append("a pixel is not that of the position")
    for column in release.schema:
        names = {member.name for member in column.members}
        if column.modality in ("image", "spectrum", "cube") and {"flux", "ivar", "mask"} <= names and len(table):
            wrong += _sane(column.name, decode(table.select([column.name]))[column.name])
    return wrong


def _sane(name: str, values: dict[str, Any]) -> list[str]:
    wrong = []
    for row in range(len(values["flux"])):
        flux, ivar, mask = (np.asarray(values[key][row]) for key in ("flux", "ivar", "mask"))
        if not (np.isfinite(flux).all() and np.isfinite(ivar).all() and (ivar >= 0).all()):
            wrong.append(f"{name}: flux or ivar is no number, or ivar is negative")
        elif mask.shape != flux.shape or ivar.shape != flux.shape:
            wrong.append(f"{name}: members have the shapes {flux.shape}, {ivar.shape}, {mask.shape}")
    return wrong[:1]


def differences(table: pa.Table, golden: pa.Table, may_lack: bool = False) -> list[str]:
    """Rows that are not those of the healthy run under the same id; with `may_lack` a column may be empty."""
    place = {name: index for index, name in enumerate(golden["object_id"].to_pylist())}
    ids = table["object_id"].to_pylist()
    if strange := [name for name in ids if name not in place]:
        return [f"objects that the healthy run does not have: {strange[:3]}"]
    expected = golden.take(pa.array([place[name] for name in ids])).combine_chunks()
    found = table.take(pa.array(range(len(ids)))).combine_chunks()
    return [
        f"{name} is not the golden value (of {ids[:3]}...)"
        for name in table.column_names
        if not (found[name].equals(expected[name]) or (may_lack and found[name].null_count == len(ids)))
        and not same_values(decode(found.select([name]))[name], decode(expected.select([name]))[name])
    ]


def same_values(found: Any, expected: Any) -> bool:
    """True for equal values, NaN being equal to itself."""
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(same_values(found[key], expected[key]) for key in found)
    return repr(_plain(found)) == repr(_plain(expected))


def _plain(values: Any) -> Any:
    return [_plain(one) for one in values] if getattr(values, "dtype", np.dtype(int)).kind == "O" else _listed(values)


def _listed(values: Any) -> Any:
    return values.tolist() if hasattr(values, "tolist") else values


def unlike_a_sentence(text: str, names: set[str]) -> list[str]:
    """What is wrong with what a user is told."""
    wrong = []
    if not text.isprintable() or len(text) > LONGEST_SENTENCE or not text.strip():
        wrong.append(f"told in {len(text)} characters over {text.count(chr(10)) + 1} lines: {text[:300]!r}")
    if not any(name and name in text for name in names):
        wrong.append(f"neither file nor unit is named: {text[:300]!r}")
    return wrong


def _names(case: Case) -> set[str]:
    files = [file.name for file in Path(case.folder).rglob("*") if file.is_file()]
    return {case.unit, case.release, *case.groups, *files, *(name.lower() for name in files)}


_golden: dict[str, pa.Table] = {}


def _load(path: str) -> pa.Table:
    if path not in _golden:
        _golden[path] = pa.ipc.open_file(Path(path).read_bytes()).read_all()
    return _golden[path]


def golden(made: SmallUnit, path: Path) -> pa.Table:
    """The records of a healthy run, kept in an Arrow file."""
    out = Outcome()
    case = Case(made.survey, made.release, made.unit, str(made.folder), "", False)
    work = path.with_suffix(".work")
    work.mkdir()
    table = _records(case, work, out)
    assert table is not None
    assert len(table), "the healthy unit gives no record"
    assert not out.refused + out.wrong, out
    assert structure(table, get_survey(made.survey).release(made.release)) == []
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return table


# -- real files, through the readers they are for -----------------------------------------------------------------


@dataclass
class RealCase:
    """One example of a real file: which survey's, its name, where it lies now."""

    survey: str
    name: str
    file: str
    healthy: str
    exact: bool


def attempt_real(case: RealCase, work: Path) -> Outcome:
    """Probe and read one file; rows that come under an id must be that id's."""
    out = Outcome()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    read = READERS[case.survey][case.name]
    survey = get_survey(case.survey)
    try:
        with Fetcher(FolderSource(Path(case.file).parent), work / "cache", survey.policy) as fetcher:
            from mmu.survey import File

            found = read(fetcher.get(File(case.name, 0)).local)
    except MmuError as problem:
        out.refused.append(str(problem))
        out.wrong += unlike_a_sentence(str(problem), {case.name, case.name.lower()})
    except MemoryError as problem:
        out.wrong.append(f"memory without bound: {problem}")
    except Exception as problem:  # noqa: BLE001 - a build puts these into words, naming the unit
        out.refused.append(f"{case.name}: {type(problem).__name__}: {problem}")
    else:
        out.rows = len(found)
        if case.exact:
            if case.healthy not in _healthy:
                _healthy[case.healthy] = read(Path(case.healthy))
            expected = _healthy[case.healthy]
            strange = [key for key in found if key not in expected]
            other = [key for key in found if key in expected and not same_values(found[key], expected[key])]
            out.wrong += [f"rows that the healthy file does not have: {strange[:3]}"] if strange else []
            out.wrong += [f"rows that are not those of the healthy file: {other[:3]}"] if other else []
    return out


_healthy: dict[str, dict[Any, Any]] = {}


# -- the worker ---------------------------------------------------------------------------------------------------


class Worker:
    """Runs examples in a process with bounded memory; a new one takes the place of one that died or hung."""

    def __init__(self, work: Path, hang_s: float = HANG_S) -> None:
        self._work, self._hang_s = work, hang_s
        self._process: Any = None
        self._pipe: Any = None

    def run(self, case: Case | RealCase) -> Outcome:
        if self._process is None:
            self._start()
        try:
            self._pipe.send(case)
            if not self._pipe.poll(self._hang_s):
                self.close()
                return Outcome(wrong=[f"it hung for {self._hang_s} s"])
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            self.close()
            return Outcome(wrong=[f"the process died with code {code}"])
        return outcome

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


@contextmanager
def worker(work: Path) -> Iterator[Worker]:
    """A worker for the tests of a module."""
    made = Worker(work)
    try:
        yield made
    finally:
        made.close()


def _serve(pipe: Any, work: Path, parent: int) -> None:
    """In the worker: examples one after another until the parent goes away."""
    warnings.simplefilter("ignore")  # what a user sees of libraries' complaints is not looked at here
    limited = False
    while os.getppid() == parent:
        with contextlib.suppress(EOFError):
            case = pipe.recv()
            if not limited:
                _warm(case, work)
                limited = True
            pipe.send(attempt(case, work) if isinstance(case, Case) else attempt_real(case, work))
            continue
        return


def _warm(case: Case | RealCase, work: Path) -> None:
    """Import what examples need, then bound what they may take beyond that."""
    survey = get_survey(case.survey)
    _ = survey.archive, survey.reader, survey.simulator
    table = pa.table({"x": [1.0]})
    table.sort_by("x")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
