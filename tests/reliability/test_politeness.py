"""How an archive sees us: never more than its survey's policy allows, and gone at once when it says no.

A request may start 1 / per_second after the one before, whatever thread or process makes it. On its way to the server
it may be held up, by no more requests than there are connections: a window of one second holds per_second + connections
of them at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmu.archive import source
from mmu.archive.fetch import Fetcher
from mmu.archive.http import HttpClient
from mmu.archive.source import HttpSource
from mmu.archive.status import Again
from mmu.build.fetch import fetch_raw
from mmu.build.progress import Progress
from mmu.errors import DownloadError
from mmu.survey import File, Policy, get_survey, survey_names
from tests.archive.server import ANY, FREELY, QUICK, Archive, serving
from tests.reliability.world import World, world

PROCESSES, THREADS = 2, 12
HAMMER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from mmu.archive.fetch import Fetcher
from mmu.archive.source import HttpSource
from mmu.survey import File, get_survey
url, folder, survey, mine, count, threads = sys.argv[1:]
hosts = Path(folder) / "hosts"
with Fetcher(HttpSource(url), Path(folder) / mine, get_survey(survey).policy, hosts=hosts) as fetcher:
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(fetcher.get, [File(f"{mine}/{number}.txt", 5) for number in range(int(count))]))
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Archive, Archive]]:
    """Two hosts; every file of theirs is five bytes."""
    with serving(tmp_path) as one, serving(tmp_path) as other:
        for each in (one, other):
            each.fail(ANY, lambda handler, data: handler.reply(200, b"words"), lasting=True)
        yield one, other


@pytest.mark.slow
@pytest.mark.parametrize("survey", survey_names())
def test_two_processes_of_many_threads_keep_to_the_policy(
    survey: str, servers: tuple[Archive, Archive], tmp_path: Path, tally: Any
) -> None:
    archive, policy = servers[0], get_survey(survey).policy
    archive.dwell = policy.connections / policy.per_second  # as long as it takes to need them all
    count = max(4, int(policy.per_second))
    words = [sys.executable, "-c", HAMMER, archive.url, str(tmp_path), survey]
    running = [subprocess.Popen([*words, f"p{n}", str(count), str(THREADS)]) for n in range(PROCESSES)]
    assert [process.wait() for process in running] == [0] * PROCESSES
    assert len(archive.asked) == PROCESSES * count
    most = archive.most_in(1.0)
    assert archive.peak <= policy.connections
    assert most <= policy.per_second + policy.connections
    allowed = f"{policy.per_second:g}/s, {policy.connections} at once"
    tally("Requests per second", f"{survey}: {allowed}", f"peak {most}/s, {archive.peak} at once")


@pytest.mark.parametrize(("status", "words"), [(401, "credentials"), (403, "ban")])
def test_a_refusal_stops_every_thread_at_once(
    servers: tuple[Archive, Archive], tmp_path: Path, status: int, words: str, tally: Any
) -> None:
    archive = servers[0]
    archive.heal()
    archive.fail(ANY, lambda handler, data: handler.reply(status, b"no"), lasting=True)
    with Fetcher(HttpSource(archive.url, QUICK), tmp_path / "cache", Policy(4, 1e4)) as fetcher:
        with ThreadPoolExecutor(THREADS) as threads:
            futures = [threads.submit(fetcher.get, File(f"{number}.txt", 5)) for number in range(50)]
        for future in futures:
            with pytest.raises(DownloadError, match=rf"HTTP {status}.*{words}"):
                future.result()
    assert len(archive.asked) <= 4
    tally("Politeness", f"{status} while {THREADS} threads ask for 50 files", f"stopped, says {words}; ≤ 4 requests")


def test_a_paused_host_does_not_hold_up_another(servers: tuple[Archive, Archive], tmp_path: Path, tally: Any) -> None:
    paused, other = servers
    paused.heal()
    paused.fail(ANY, lambda handler, data: handler.reply(503, b"later", {"Retry-After": "3600"}), lasting=True)
    hosts = tmp_path / "hosts"
    with (
        Fetcher(HttpSource(paused.url, QUICK), tmp_path / "a", FREELY, hosts=hosts) as waits,
        Fetcher(HttpSource(other.url, QUICK), tmp_path / "b", FREELY, hosts=hosts) as goes_on,
        ThreadPoolExecutor(4) as threads,
    ):
        waiting = [threads.submit(waits.get, File(f"{number}.txt", 5)) for number in range(4)]
        while not paused.asked:
            threading.Event().wait(0.005)
        for number in range(20):
            assert goes_on.get(File(f"{number}.txt", 5)).bytes == 5
        assert not any(future.done() for future in waiting)
        assert len(paused.asked) <= FREELY.connections
        waits.close()
        for future in waiting:
            with pytest.raises(DownloadError, match="stopped"):
                future.result()
    tally("Politeness", "503 with Retry-After 3600 from one host", "it is left alone; 20 files from another host came")


@pytest.fixture(scope="module")
def gaia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world("gaia", tmp_path_factory.mktemp("gaia")) as made:
        yield made


@pytest.mark.parametrize("age", ["fresh", "a year old"])
def test_fetched_with_internet_built_without(
    gaia: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: str, tally: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(source, "Patience", lambda: QUICK)
    gaia.begin(tmp_path / "out")
    got = fetch_raw(gaia.spec(), Progress(quiet=True))
    assert (got.files, got.absent) == (4, [])
    gaia.look_at_cache()
    if age != "fresh":
        for sidecar in gaia.cached.rglob("*.fetched.json"):
            facts = json.loads(sidecar.read_text())
            sidecar.write_text(json.dumps({**facts, "time": "2025-01-01T00:00:00Z"}))
    tries: list[str] = []

    def off(self: HttpClient, url: str, *rest: Any) -> None:
        tries.append(url)
        raise Again("the connection was refused", reached=False)

    before = len(gaia.archive.asked)
    monkeypatch.setattr(HttpClient, "_follow", off)
    report = gaia.build()
    assert report.code == 0
    assert report.counts["written"] == report.counts["selected"] > 0
    assert len(gaia.archive.asked) == before
    assert len(tries) <= (0 if age == "fresh" else FREELY.connections)
    assert gaia.problems() == []
    tally("Politeness", f"`mmu fetch`, then `mmu build` without a network; the cache is {age}", "built from the cache")
