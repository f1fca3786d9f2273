"""Addresses of catalogues that are not on this machine: `ORG/NAME[:release]` on the Hub, `hf://`, `https://`, `s3://`.

Tokens come from where huggingface_hub keeps them, never from an address: addresses are written into accounts.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mmu.errors import UsageError
from mmu.remote.ranges import SCHEMES

_ON_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?::([\w.+-]+))?", re.ASCII)
_DATASETS = "hf://datasets/"
_IN_REPO = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w.-]+))?((?:/[^/@]+)*)", re.ASCII)
_PATIENCE_S = 20.0

TABLES = (
    *(".parquet", ".parq", ".arrow", ".feather", ".fits", ".fit", ".csv", ".ecsv", ".tsv", ".vot", ".votable"),
    *(".fits.gz", ".csv.gz", ".ecsv.gz", ".tsv.gz", ".vot.gz", ".votable.gz"),
)
"""How the names of files that hold a table end, in small letters: FOLDER/FILE.csv is not meant to be on the Hub."""


@dataclass(frozen=True)
class Address:
    """Where a catalogue is.

    Attributes:
        shown: as the user may give it again.
        url: the same, of the very commit that was found; what is read.
        commit: of a repository on the Hub.
    """

    shown: str
    url: str
    commit: str = ""

    def child(self, path: str) -> Address:
        """What a relative path leads to, which stays on that host."""
        if "://" in path or path.startswith("/"):
            raise UsageError(f"{self.shown} leads to {path!r}; only a path within the same place is followed.")
        return replace(self, shown=_joined(self.shown, path), url=_joined(self.url, path))

    @property
    def name(self) -> str:
        return self.shown.rpartition("/")[2]

    @property
    def listable(self) -> bool:
        """True where folders can be listed; web servers only hand out files."""
        return urlsplit(self.url).scheme not in ("http", "https")


def _joined(url: str, path: str) -> str:
    scheme, _, rest = url.partition("://")
    host, _, _ = rest.partition("/")
    joined = posixpath.normpath(posixpath.join(rest, path))
    if not joined.startswith(f"{host}/"):
        raise UsageError(f"{url} leads to {path!r}, which is outside it.")
    return f"{scheme}://{joined}"


def on_hub(given: str) -> tuple[str, str | None] | None:
    """Repository and release of `ORG/NAME[:release]`; None for anything else, and for what is on this machine."""
    found = _ON_HUB.fullmatch(given)
    if found is None or given.lower().endswith(TABLES):
        return None
    local = [Path(given), Path(found[1]), Path(os.environ.get("MMU_DATA", ""), found[1])]
    if any(path.exists() for path in local) or not _is_repo(found[1]):
        return None
    return found[1], found[2]


def repository_of(given: str) -> str:
    """ORG/NAME of a dataset repository to write to.

    Raises:
        UsageError: it is something else.
    """
    name = given.removeprefix(_DATASETS).rstrip("/")
    if _ON_HUB.fullmatch(name) is None or ":" in name or not _is_repo(name):
        raise UsageError(f"{given!r} is no dataset repository; give it as ORG/NAME (letters, digits, -, _ and .).")
    return name


def _is_repo(name: str) -> bool:
    """The Hub's rules for names."""
    parts = name.split("/")
    usual = not any(part.startswith((".", "-")) or part.endswith((".", "-", ".git")) for part in parts)
    return usual and len(name) <= 96 and "--" not in name and ".." not in name


def is_remote(given: str) -> bool:
    """True for a URL, and for what can only be meant to be on the Hub."""
    return "://" in given or on_hub(given) is not None


def name_of(url: str) -> str:
    """What a dataset at a URL is called: its repository on the Hub, else its last folder."""
    found = _IN_REPO.fullmatch(url.rstrip("/"))
    return (found[1] if found else unquote(urlsplit(url).path).rstrip("/")).rpartition("/")[2]


def located(given: str) -> tuple[Address, str | None]:
    """Where an address leads, and the release that it names behind a colon.

    Raises:
        UsageError: it holds a secret, is of an unknown kind, or there is no such repository.
    """
    hub = on_hub(given)
    if hub is not None:
        return _in_repo(f"{_DATASETS}{hub[0]}", given), hub[1]
    url = given.rstrip("/")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UsageError("An address with a user or a password in it is not taken: it would be written down.")
    if parts.query or parts.fragment:
        plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
        raise UsageError(f"{plain} is followed by a query or a fragment, which may hold a secret: leave it out.")
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{url}: datasets are read from {', '.join(SCHEMES[2:4])} and https, not {parts.scheme!r}.")
    if parts.scheme == "http":
        from mmu.archive.http import is_loopback  # imports an HTTP library

        if not is_loopback(parts.hostname or ""):
            raise UsageError(f"{url}: data comes over https, not http.")
    return (_in_repo(url, "") if parts.scheme == "hf" else Address(url, url)), None


def _in_repo(url: str, given: str) -> Address:
    """A folder of a repository, pinned to the commit that it has now."""
    found = _IN_REPO.fullmatch(url)
    if found is None:
        raise UsageError(f"{url}: a dataset on the Hub is hf://datasets/ORG/NAME[@REVISION][/FOLDER].")
    try:
        commit = _commit(found[1], found[2])
    except UsageError as problem:
        if not given:
            raise
        data = os.environ.get("MMU_DATA")
        here = f"nor is it in MMU_DATA={data}" if data else "and MMU_DATA is not set"
        raise UsageError(f"There is no dataset {given!r}: it is no folder, {here}; {problem}") from problem
    return Address(url, f"{_DATASETS}{found[1]}@{commit}{found[3]}", commit)


def _commit(repo: str, revision: str | None) -> str:
    """The commit that a revision of a dataset on the Hub stands for."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    where = f"on the Hub ({urlsplit(endpoint).hostname})"
    if constants.HF_HUB_OFFLINE:
        raise UsageError(f"{where} it was not looked for, as HF_HUB_OFFLINE is set.")
    try:
        found = HfApi(endpoint=endpoint).dataset_info(repo, revision=revision, timeout=_PATIENCE_S, expand=["sha"])
    except RevisionNotFoundError as problem:
        raise UsageError(f"{where} the dataset {repo} has no revision {revision!r}.") from problem
    except HfHubHTTPError as problem:
        status = problem.response.status_code
        if status in (401, 403, 404):
            advice = "if it is private or gated, log in with `hf auth login`, or set HF_TOKEN"
            raise UsageError(
                f"{where} there is no dataset {repo} that may be read (HTTP {status}); {advice}."
            ) from None
        raise UsageError(f"{where} {repo} could not be looked up (HTTP {status}).") from None
    except Exception as problem:  # noqa: BLE001 - the client's own, and those of the network below it
        raise UsageError(f"{where} {repo} could not be looked up ({type(problem).__name__}: no connection).") from None
    return str(found.sha)
