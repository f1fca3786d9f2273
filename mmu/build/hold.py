"""One build at a time in a folder: a kernel lock that dies with its holder, and a note of who that is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from mmu.build.files import write_json
from mmu.errors import UsageError


@contextmanager
def hold(*locks: Path) -> Iterator[None]:
    """Hold these lock files; the note beside each says who does.

    Raises:
        UsageError: another process holds one of them.
    """
    with ExitStack() as held:
        for lock in locks:
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(filelock.FileLock(lock).acquire(timeout=0))
            except filelock.Timeout as busy:
                who = f": {who}" if (who := holder(lock)) else ""
                msg = f"Another build is at work in {lock.parent}{who}; wait for it, or give another "
                raise UsageError(msg + "--out or --cache.") from busy
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            write_json(_note(lock), {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
            held.callback(_note(lock).unlink, missing_ok=True)
        yield


def _note(lock: Path) -> Path:
    return lock.with_name(lock.name.removesuffix(".lock") + ".holder.lock")


def holder(lock: Path) -> str:
    """Who holds a lock, in words; "" if nobody does: the note is of an earlier holder that died, or there is none."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        note = json.loads(_note(lock).read_text(encoding="utf-8"))
        if note["host"] != socket.gethostname() or _alive(int(note["pid"])):
            return f"process {note['pid']} on {note['host']} since {note['since']}"
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
