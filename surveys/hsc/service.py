"""How the archive's two services are asked: the database by a job that is waited for, cutouts by a list.

https://hsc-release.mtk.nao.ac.jp/doc/: the job service is that of hscReleaseQuery.py, cutouts are downloadCutout.py's.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmu.archive.desk import Desk
from mmu.archive.http import Message
from mmu.archive.tar import MissingMembersError, members
from mmu.errors import DamagedError, DownloadError, FormatError
from surveys.hsc.catalogue import check_count
from surveys.hsc.cutouts import LINES, MOST_BYTES, Line, coordlist, parse_question, write_tar

JOBS = "datasearch/api/catalog_jobs/"
CUTOUT = "das_cutout/pdr3/cgi-bin/cutout"
LONGEST_PAUSE, LONGEST_WAIT = 30.0, 7200.0
"""Seconds between two looks at a job, and for the job."""
_CLIENT = 20190514.1
_ROUNDS = 3
_BOUNDARY = "mmu-coordlist"
_MEMBER = re.compile(r"(?:[^/]+/)?(\d{1,6})-cutout-(HSC-[A-Z])-\d+-[^/]+\.fits")


def ask(desk: Desk, path: str, query: str, answer: Path) -> str:
    """Put a question to the service that answers it: the catalogue's answers are FITS tables, cutouts a tar file.

    Raises:
        DownloadError: there is no answer, or none that is whole.
    """
    if path.endswith(".tar"):
        ask_cutouts(desk, query, answer)
        return desk.url(CUTOUT)
    ask_catalogue(desk, json.loads(query), answer)
    return desk.url(JOBS)


def ask_catalogue(desk: Desk, job: dict[str, str], answer: Path) -> None:
    """Run a query as a job, fetch what it found, and remove the job, however it ends."""
    who = _who(desk)
    asked = {**job, "out_format": "fits", "include_metainfo_to_body": True}
    question = {**who, "catalog_job": asked, "nomail": True, "skip_syntax_check": True}
    started = _fields(desk.call(f"{JOBS}submit", question), "id")
    same = {**who, "id": started["id"]}
    try:
        _wait(desk, same)
        for attempt in range(_ROUNDS):
            draft = desk.post(f"{JOBS}download", Message(json.dumps(same).encode(), "application/json"))
            try:
                check_count(draft)
            except FormatError as problem:
                if attempt == _ROUNDS - 1:
                    raise DamagedError(f"The catalogue's answer is not whole: {problem}") from problem
                desk.wait(desk.patience.first_pause)
            else:
                draft.replace(answer)
                return
    finally:
        with suppress(DownloadError):
            desk.call(f"{JOBS}delete", same)


def _who(desk: Desk) -> dict[str, Any]:
    if desk.credentials is None:
        raise DownloadError("The archive's services want an account; name it as the survey's login says.")
    account = {"account_name": desk.credentials.user, "password": desk.credentials.password}
    return {"credential": account, "clientVersion": _CLIENT}


def _fields(reply: object, *names: str) -> dict[str, Any]:
    if not isinstance(reply, dict) or not set(names) <= reply.keys():
        raise DownloadError(
            f"The catalogue service's reply lacks {' and '.join(names)}; its interface may have changed."
        )
    return reply


def _wait(desk: Desk, same: dict[str, Any]) -> None:
    """Look at a job, less and less often, until it is done."""
    pause, until = desk.patience.first_pause, time.monotonic() + LONGEST_WAIT
    while (job := _fields(desk.call(f"{JOBS}status", same), "status"))["status"] != "done":
        if job["status"] in ("error", "canceled", "cancelled"):
            raise DownloadError(f"The catalogue could not run the query: {str(job.get('error', job['status']))[:300]}")
        if time.monotonic() > until:
            raise DownloadError(
                f"The catalogue did not run the query in {LONGEST_WAIT / 3600:g} hours; run again later."
            )
        desk.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def ask_cutouts(desk: Desk, query: str, answer: Path) -> None:
    """Ask for a list of cutouts, and again for those that did not come; what never comes is noted as absent.

    Raises:
        DownloadError: streams kept breaking off before the service had said what it has.
    """
    lines = parse_question(query)
    write_tar(answer, _received(desk, lines), [line.name for line in lines])


def _received(desk: Desk, lines: Sequence[Line]) -> Iterator[tuple[str, bytes]]:
    """Every cutout that comes, each once, over as many requests as it takes."""
    left, failures = list(lines), 0
    while left:
        asked = left[:LINES]
        stream, came = _post(desk, asked), set()
        try:
            for name, content in _members(stream, asked):
                came.add(name)
                yield name, content
        except MissingMembersError as problem:
            failures = 0 if came else failures + 1
            if failures == _ROUNDS and not _ended(stream):
                raise DamagedError(f"The cutout service's answers kept breaking off: {problem}") from problem
            if failures >= _ROUNDS - 1 and _ended(stream):  # asked twice, it says that it has no more
                came, failures = {line.name for line in asked}, 0
            desk.wait(desk.patience.first_pause)
        except FormatError as problem:
            raise DamagedError(f"The cutout service's answer is refused: {problem}") from problem
        left = [line for line in left if line.name not in came]


def _members(stream: Path, asked: Sequence[Line]) -> Iterator[tuple[str, bytes]]:
    """The members of an answer under our names: the service numbers lines from 2."""
    names = {(str(number), line.filter): line.name for number, line in enumerate(asked, start=2)}
    return members(stream, dict.fromkeys(names.values()), MOST_BYTES, lambda wire: _name(wire, names))


def _post(desk: Desk, lines: Sequence[Line]) -> Path:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="list"; filename="coordlist.txt"\r\n\r\n'
    body = f"{head}{coordlist(lines)}\r\n--{_BOUNDARY}--\r\n"
    return desk.post(CUTOUT, Message(body.encode(), f'multipart/form-data; boundary="{_BOUNDARY}"'))


def _name(wire: str, names: dict[tuple[str, str], str]) -> str | None:
    """Which of our names the service's `arch-.../2-cutout-HSC-G-9813-pdr3_wide.fits` stands for."""
    match = _MEMBER.fullmatch(wire)
    return names.get((match[1], match[2])) if match else None


def _ended(stream: Path) -> bool:
    """True if a tar file has its end mark: the service said all it had to say."""
    with stream.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - 1024))
        return size >= 1024 and not handle.read().strip(b"\0")
