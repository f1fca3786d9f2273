"""Who we are to an archive that wants a password: from the environment or a file of ours, and to that host alone.

A secret is never part of a URL, an argument, a file we write or a message: it shows itself as `***`, in `repr` too.
"""

from __future__ import annotations

import base64
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from mmu.errors import UsageError
from mmu.survey import Login

FILE = "MMU_CREDENTIALS"
"""Environment variable that names another file than `~/.config/mmu/credentials.toml`."""
_DEFAULT = Path(".config") / "mmu" / "credentials.toml"
_MOST_BYTES = 1 << 16


class Hidden(str):
    """Text that neither prints nor travels to another process; only encoding it gives it away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        msg = "a secret stays in its process"
        raise TypeError(msg)


class Credentials:
    """A user and a password."""

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = Hidden(user), Hidden(password)

    def __repr__(self) -> str:
        return "Credentials(***)"

    def __reduce__(self) -> NoReturn:
        msg = "credentials stay in their process"
        raise TypeError(msg)

    @property
    def basic(self) -> Hidden:
        """The value of an `Authorization` header."""
        pair = self.user.encode() + b":" + self.password.encode()
        return Hidden("Basic " + base64.b64encode(pair).decode("ascii"))


class HostAuth(AuthBase):
    """Signs requests to one host, and no other; without credentials it signs none.

    That a session has it at all keeps `requests` from looking passwords up in a netrc file by itself.
    """

    def __init__(self, root: str, credentials: Credentials | None = None) -> None:
        self._place, self._credentials = _place(root), credentials

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._credentials is not None and _place(request.url or "") == self._place:
            request.headers["Authorization"] = self._credentials.basic
        return request


def _place(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def how_to(survey: str, login: Login) -> str:
    """What to do so that there are credentials."""
    return (
        f"set {login.user} and {login.password} in the environment, or write a table [{survey}] with user and password "
        f"into {_path()} (mode 600); register at {login.register}"
    )


def find_credentials(survey: str, login: Login) -> Credentials:
    """The survey's user and password: from the environment, else from the credentials file.

    Raises:
        UsageError: there are none, or the file is not one that only its owner can read.
    """
    found = _from_environment(login) or _from_file(survey)
    if found is None:
        raise UsageError(f"The archive of {survey} wants an account: {how_to(survey, login)}.")
    if isinstance(found, Credentials) and _usable(found):
        return found
    if isinstance(found, Credentials):
        raise UsageError(f"The user or password for {survey} holds a control character or ':', which cannot be sent.")
    raise UsageError(f"{found} Then {how_to(survey, login)}.")


def _from_environment(login: Login) -> Credentials | None:
    user, password = os.environ.get(login.user, ""), os.environ.get(login.password, "")
    return Credentials(user, password) if user and password else None


def _usable(credentials: Credentials) -> bool:
    return credentials.user.isprintable() and credentials.password.isprintable() and ":" not in credentials.user


def _path() -> Path:
    return Path(os.environ.get(FILE) or Path.home() / _DEFAULT)


def _from_file(survey: str) -> Credentials | str | None:
    """The survey's entry, None without one, or what is wrong with the file: nothing is raised where secrets are."""
    path = _path()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return f"{FILE} names {path}, which does not exist." if os.environ.get(FILE) else None
    except OSError as problem:
        return f"{path} cannot be read ({problem.strerror})."
    with os.fdopen(handle, "rb") as file:
        if wrong := _not_ours(os.fstat(handle)):
            return f"{path} {wrong}."
        try:
            table = tomllib.loads(file.read(_MOST_BYTES).decode())
        except (ValueError, RecursionError):
            return f'{path} is not a TOML file; write it as `[{survey}]`, `user = "..."`, `password = "..."`.'
    return _entry(table.get(survey), path, survey)


def _entry(entry: Any, path: Path, survey: str) -> Credentials | str | None:
    if entry is None:
        return None
    user, password = (entry.get(key) if isinstance(entry, dict) else None for key in ("user", "password"))
    if isinstance(user, str) and isinstance(password, str) and user and password:
        return Credentials(user, password)
    return f"The table [{survey}] of {path} lacks a user or a password in quotes."


def _not_ours(facts: os.stat_result) -> str:
    """Why a file is not to be trusted with a password."""
    if not stat.S_ISREG(facts.st_mode):
        return "is not a plain file"
    if facts.st_uid != os.getuid():
        return "belongs to another user; give MMU_CREDENTIALS one of your own"
    mode = stat.S_IMODE(facts.st_mode)
    return "" if mode == 0o600 else f"has mode {mode:03o}, so that others may see it or it is not yours: chmod 600 it"
