"""The errors this package raises: each says in one sentence what was given, what is allowed and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MmuError(Exception):
    """Anything that went wrong and can be told in a sentence; the command line prints it and exits."""

    exit_code = 1


class UsageError(MmuError, ValueError):
    """What was asked for cannot be done as asked; nothing was started (exit code 2)."""

    exit_code = 2


class DownloadError(MmuError, OSError):
    """A file could not be had from the archive, or did not pass its checks."""


class AbsentUpstreamError(DownloadError):
    """The archive answered that it has no such file (404); recorded, never retried."""


class DamagedError(DownloadError):
    """A file came, and no copy of it is what it should be; the archive itself is within reach."""


class FormatError(MmuError, ValueError):
    """A file was had, but is not what the survey's data model says: an HDU, a column or a shape is missing."""


class LedgerError(MmuError):
    """Counts do not balance, or a dataset on disk differs from its ledger."""


def unknown(what: str, given: object, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of the allowed ones, with the nearest of them."""
    names = sorted(allowed)
    near = get_close_matches(str(given), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"Unknown {what} {given!r}; the known ones are: {', '.join(names)}.{hint}")
