"""What a survey declares, and the five functions that turn its archive into records.

A survey is a folder `surveys/<name>/` (or an entry point in the group `mmu.surveys`) that exports one object, `SURVEY`.
The declaration is data; beside it stand

    archive.py   bootstrap, groups, select, files     where things are, which objects, which files hold them
    read.py      read                                 one unit's files -> records
    simulate.py  files, write                         the simulated sky as this archive would serve it
    card.md, cite.bib                                 words for the dataset card
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files as resource_files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from mmu.errors import UsageError, unknown
from mmu.schema.column import Column, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from mmu.archive.desk import Desk
    from mmu.simulate.sky import Sky
    from mmu.sky.region import Region

Paths = Mapping[str, Path]
"""Archive-relative path -> local file; a file that is absent upstream has no entry."""


@dataclass(frozen=True)
class File:
    """One file of an archive.

    Attributes:
        path: where it is, relative to the archive's root; also its name in the cache.
        bytes: typical size, for the plan (never trusted when reading).
        required: without it (404 upstream) its unit cannot be read; otherwise the reader does without it.
        checksums: path of the archive's checksum list that covers this file, if the archive publishes one.
        unpacked: the most bytes that it, or any HDU of it, may unpack to; 0 for the defaults, which are generous.
        query: what to ask the archive's service, where the file is not simply there under its path; the path then
            names the answer. Only the survey's `service.py` and `simulate.answer` know what it means.
        sha256: its digest, where the declaration knows it. The archive and its mirrors must serve these very bytes; a
            folder may hold others (simulated ones, say), and the ledger names what it held.
    """

    path: str
    bytes: int
    required: bool = True
    checksums: str = ""
    unpacked: int = 0
    query: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Group:
    """Catalogue files that are read together to select objects; cheap next to the units they name."""

    name: str
    files: tuple[File, ...]


@dataclass
class Candidates:
    """Every object a group's catalogue files list, and why some are not wanted.

    Attributes:
        object_id: text identifiers, (N,).
        ra, dec: ICRS degrees, float64 (N,).
        unit: the unit each object's data are in, (N,); units sort in the order they are walked.
        cuts: reason -> True where the object is cut for it; the first reason that applies is the one counted.
        carried: indices -> columns that only the catalogue has, handed on to `read` in `rows`. Keep it small.
    """

    object_id: np.ndarray[Any, Any]
    ra: np.ndarray[Any, Any]
    dec: np.ndarray[Any, Any]
    unit: np.ndarray[Any, Any]
    cuts: dict[str, np.ndarray[Any, Any]]
    carried: Callable[[np.ndarray[Any, Any]], dict[str, Any]] | None = None


@dataclass
class Records:
    """What one unit gave: a table with exactly the release's columns, and the objects it could not give.

    The rows may be in any order; `excluded` maps object_id -> reason. Every row asked for is in one of the two.
    """

    table: pa.Table
    excluded: dict[str, str] = field(default_factory=dict)


class Archive(Protocol):
    """`archive.py` of a survey."""

    def bootstrap(self, release: Release) -> tuple[File, ...]:
        """Files needed before anything can be planned (lists of bricks, of tiles), often none."""

    def groups(self, release: Release, paths: Paths, region: Region, walk: bool) -> Iterator[Group]:
        """The catalogue files to read for the objects in `region`, in the order of their units.

        `walk` asks for small groups, as they will be read one by one until enough objects are found.
        """

    def select(self, release: Release, group: Group, paths: Paths) -> Candidates:
        """The objects a group lists. Runs in a worker; a pure function of the files."""

    def files(self, release: Release, unit: str) -> tuple[File, ...]:
        """The files that hold one unit's data."""


class Router(Protocol):
    """What `archive.py` may have besides, if the best units depend on how many of their objects are selected."""

    def plan_units(self, release: Release, objects: pa.Table) -> np.ndarray[Any, Any]:
        """The unit that each selected object is to be read in, (N,), once cuts and region have been applied.

        `objects` holds object_id, ra, dec, unit and the carried columns. All objects of one unit named here come from
        one unit of `objects`; a pure function of it.
        """

    def route(self, release: Release, units: Collection[str]) -> str:
        """How these units are fetched, and why, in words for whoever asks what a build will take."""


class Asking(Protocol):
    """What `archive.py` may have besides, if a unit's files are answers to questions about its objects."""

    def files_for(self, release: Release, unit: str, rows: pa.Table) -> tuple[File, ...]:
        """The files that hold one unit's data, as `files`, for the objects wanted of it (object_id, ra, dec, ...)."""


class Service(Protocol):
    """`service.py` of a survey whose archive answers questions (`File.query`)."""

    def ask(self, desk: Desk, path: str, query: str, answer: Path) -> str:
        """Put a question, write the whole, checked answer to `answer`, and return the URL that gave it.

        Raises:
            DownloadError: there is none.
        """


class Reader(Protocol):
    """`read.py` of a survey."""

    def read(self, release: Release, unit: str, paths: Paths, rows: pa.Table) -> Records:
        """Records of one unit. Runs in a worker; a pure function of the files.

        `rows` holds object_id, ra, dec and the carried columns of the objects wanted, sorted as the shards are.
        """


class Hdf5Groups(Protocol):
    """`hdf5.py` of a survey that v1 stored as one HDF5 group a record."""

    def write_group(self, group: Any, record: Mapping[str, Any]) -> None:
        """Write a record (NumPy values, and `healpix`, its nside-16 pixel) as v1 has it."""


class Simulator(Protocol):
    """`simulate.py` of a survey."""

    def files(self, release: str, sky: Sky) -> dict[str, int]: ...

    def write(self, path: str, sky: Sky, destination: Path) -> None: ...


class SimulatedService(Protocol):
    """What `simulate.py` has besides, if the archive answers questions."""

    def answer(self, path: str, query: str, sky: Sky, destination: Path) -> None: ...


@dataclass(frozen=True)
class Hdf5Column:
    """One dataset of the v1 HDF5 layout: its name, where it comes from, and how ragged values are padded.

    `source` is a column, or `struct.member`. `index` takes one entry of the first axis (v1 has one mask for all bands);
    `length` pads a ragged first axis with `fill`; `stack` names further columns that make one array with `source`.
    """

    name: str
    source: str
    dtype: str
    index: int | None = None
    length: int | None = None
    fill: float = 0
    stack: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """A named cut of one data release: a configuration in Hugging Face terms.

    `facts` are what the survey's own functions need to know (paths, bands, cuts); the core never looks inside.
    `ragged` is the typical length of axes that differ between records, `rows_per_object` the typical number of rows
    where an object has several (a cube's spaxels); both are for planning only. With `hdf5_groups` v1 has a group a
    record, which `hdf5.py` beside it writes.
    """

    name: str
    title: str
    schema: Schema
    facts: Mapping[str, Any]
    selection: tuple[str, ...]
    epoch: float
    objects: int
    raw_bytes: int
    coverage: str
    hdf5: tuple[Hdf5Column, ...] = ()
    ragged: int = 4
    row_group_rows: int | None = None
    rows_per_object: int = 1
    hdf5_groups: bool = False

    @property
    def bytes_per_row(self) -> int:
        return self.schema.bytes_per_row(self.ragged)

    @property
    def object_bytes(self) -> int:
        """Typical bytes of an object, before compression."""
        return self.bytes_per_row * self.rows_per_object

    @property
    def many(self) -> bool:
        """True if an object may have several rows: one after the other, at the object's place in the sky's order."""
        return self.rows_per_object > 1


@dataclass(frozen=True)
class Policy:
    """How politely the archive is to be used: connections at once, and requests per second."""

    connections: int = 4
    per_second: float = 10.0


@dataclass(frozen=True)
class Login:
    """What an archive that wants a password calls for.

    Attributes:
        user, password: names of the environment variables that hold them.
        register: where to get an account.
    """

    user: str
    password: str
    register: str


@dataclass(frozen=True)
class Supplement:
    """Small files that the archive does not have, and that a user may give as a folder: `mmu build SURVEY --NAME DIR`.

    Where they are given, the `paths` of every unit hold them as `NAME/FILE`, the ledger says which bytes they were, and
    these are part of what the build is: another folder's build, or one without, is not resumed but refused.

    Attributes:
        name: the option's name, without dashes in front.
        files: what must be in the folder, all of it.
        meaning: what they are, for the option's help.
        given, absent: what the records hold with and without them, a sentence each, for the card.
    """

    name: str
    files: tuple[str, ...]
    meaning: str
    given: str
    absent: str


@dataclass(frozen=True)
class Survey:
    """One survey, as data. `module` is the package that holds its functions and texts.

    Attributes:
        builds: the releases that a build makes when none is named; the first one if empty.
        absent: HTTP statuses by which the archive says that it has no such file; some say 403, which is taken for a
            ban where a file that we had before is refused too.
        hosts: further `HOST[:PORT]` that the archive's redirects may lead to.
        login: how to sign in, where the archive wants that; only ever sent to the host of `root`.
        differences: where the records differ from Multimodal Universe v1, and why; each goes into the card.
        licence: as the archive states it; `licence_id` is its id on the Hub: `other` for terms of the archive's own,
            `unknown` where none are known.
        tasks: what it is for, in the Hub's words, for the card; by its modalities if empty.
    """

    name: str
    title: str
    module: str
    homepage: str
    root: str
    licence: str
    licence_id: str
    releases: tuple[Release, ...]
    differences: tuple[str, ...] = ()
    policy: Policy = Policy()
    builds: tuple[str, ...] = ()
    absent: tuple[int, ...] = (404, 410)
    hosts: tuple[str, ...] = ()
    login: Login | None = None
    supplements: tuple[Supplement, ...] = ()
    tasks: tuple[str, ...] = ()

    @property
    def default_release(self) -> Release:
        return self.releases[0]

    def to_build(self, release: str | None) -> tuple[str, ...]:
        """The releases that a build makes: the one named, or those that are built by default."""
        return (release,) if release is not None else self.builds or (self.default_release.name,)

    def release(self, name: str | None = None) -> Release:
        """The release of that name, or the default one.

        Raises:
            UsageError: no such release; the message lists them.
        """
        by_name = {release.name: release for release in self.releases}
        if name is None:
            return self.default_release
        if name not in by_name:
            raise unknown(f"release of {self.name}", name, by_name)
        return by_name[name]

    @cached_property
    def archive(self) -> Archive:
        return cast(Archive, importlib.import_module(f"{self.module}.archive"))

    @cached_property
    def router(self) -> Router | None:
        """The archive, if it chooses its units after the selection."""
        return cast("Router", self.archive) if hasattr(self.archive, "plan_units") else None

    @cached_property
    def asking(self) -> Asking | None:
        """The archive, if its files depend on the objects wanted."""
        return cast("Asking", self.archive) if hasattr(self.archive, "files_for") else None

    @cached_property
    def service(self) -> Service | None:
        """What puts questions to the archive, if it answers any."""
        name = f"{self.module}.service"
        return cast(Service, importlib.import_module(name)) if find_spec(name) is not None else None

    @cached_property
    def reader(self) -> Reader:
        return cast(Reader, importlib.import_module(f"{self.module}.read"))

    @cached_property
    def hdf5_groups(self) -> Hdf5Groups:
        return cast(Hdf5Groups, importlib.import_module(f"{self.module}.hdf5"))

    @cached_property
    def simulator(self) -> Simulator:
        return cast(Simulator, importlib.import_module(f"{self.module}.simulate"))

    def text(self, name: str) -> str:
        """A text that stands beside the declaration: `card.md`, `cite.bib`."""
        return resource_files(self.module).joinpath(name).read_text(encoding="utf-8")


def survey_names() -> list[str]:
    """Every survey this installation knows: the folders of `surveys/` and the entry points of `mmu.surveys`."""
    package = importlib.import_module("surveys")
    folders = [module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg]
    return sorted({*folders, *_plugins(tuple(sys.path))})


def get_survey(name: str) -> Survey:
    """The declaration of a survey.

    Raises:
        UsageError: no survey of that name; the message lists them.
    """
    plugins = _plugins(tuple(sys.path))
    if name in plugins:
        return _checked(name, plugins[name].load())
    names = survey_names()
    if name not in names:
        raise unknown("survey", name, names)
    return _checked(name, importlib.import_module(f"surveys.{name}").SURVEY)


@cache
def _plugins(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Entry points by name; looked up once a search path, as that reads every installed package's metadata."""
    return {point.name: point for point in entry_points(group="mmu.surveys")}


def _checked(name: str, declared: object) -> Survey:
    if not isinstance(declared, Survey) or declared.name != name:
        raise UsageError(f"The plug-in {name!r} does not export a Survey of that name; see CONTRIBUTING.md.")
    return declared


def cut_reasons(cuts: Mapping[str, np.ndarray[Any, Any]], size: int) -> np.ndarray[Any, Any]:
    """For each of `size` objects the index of the first cut that applies, or -1 where none does."""
    import numpy as np

    reason = np.full(size, -1, dtype=np.int16)
    for index, mask in reversed(list(enumerate(cuts.values()))):
        reason[np.asarray(mask, dtype=bool)] = index
    return reason


__all__ = [
    "Candidates",
    "Column",
    "File",
    "Group",
    "Hdf5Column",
    "Login",
    "Paths",
    "Policy",
    "Records",
    "Release",
    "Supplement",
    "Survey",
    "cut_reasons",
    "get_survey",
    "survey_names",
]
