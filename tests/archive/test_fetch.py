"""Each way a download can fail, and that the cache's final name never holds anything but the archive's file."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mmu.archive import fetch, host, part
from mmu.archive.checksums import expected
from mmu.archive.fetch import Fetcher
from mmu.archive.http import HttpClient, Patience
from mmu.archive.part import sibling
from mmu.archive.source import FolderSource, HttpSource
from mmu.archive.status import retry_after
from mmu.errors import AbsentUpstreamError, DownloadError, UsageError
from mmu.survey import File, Policy
from tests.archive.server import ANY, FREELY, QUICK

PATH = "south/coadd/000/image.fits"
LIST = "south/coadd/000/brick.sha256sum"
FILE = File(PATH, 200_000)
LISTED = replace(FILE, checksums=LIST)
Make = Callable[..., Fetcher]


def listing(data: bytes, algorithm: str = "sha256") -> bytes:
    return f"{hashlib.new(algorithm, data).hexdigest()} *image.fits\n".encode()


def flipped(data: bytes) -> bytes:
    return data[:9000] + bytes([data[9000] ^ 1]) + data[9001:]


def left_over(cache: Path) -> set[str]:
    return {file.name.removeprefix("image.fits") for file in (cache / PATH).parent.glob("image.fits*")}


class TestHealthy:
    def test_the_file_arrives_and_is_accounted_for(self, archive: Any, fetcher: Fetcher, image: bytes) -> None:
        archive.add(PATH, image)
        got = fetcher.get(FILE)
        assert got.local.read_bytes() == image
        assert got.local == fetcher.cache / PATH
        assert (got.bytes, got.sha256) == (len(image), hashlib.sha256(image).hexdigest())
        assert got.url == archive.url + PATH
        assert got.etag.startswith('"')
        assert (got.reused, got.owned) == (False, True)
        assert left_over(fetcher.cache) == {"", ".fetched.json"}
        assert "multimodal-universe" in archive.asked[0].agent

    def test_a_verified_file_is_not_asked_for_again(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        first = make().get(FILE)
        again = make().get(FILE)
        assert again == replace(first, reused=True)
        assert archive.count(PATH) == 1

    def test_the_same_file_asked_for_by_many_threads_is_fetched_once(
        self, archive: Any, fetcher: Fetcher, image: bytes
    ) -> None:
        archive.add(PATH, image)
        archive.dwell = 0.05
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(fetcher.get, [FILE] * 8))
        assert len({one.sha256 for one in got}) == 1
        assert archive.count(PATH) == 1

    def test_two_processes_on_one_cache_fetch_once(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        archive.dwell = 0.05
        with ThreadPoolExecutor(2) as threads:
            got = list(threads.map(lambda one: one.get(FILE), [make(), make()]))
        assert sorted(one.reused for one in got) == [False, True]
        assert archive.count(PATH) == 1

    def test_what_arrives_is_reported(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        pieces: list[int] = []
        make(on_bytes=pieces.append).get(FILE)
        assert sum(pieces) == len(image)

    def test_awkward_names_are_quoted(self, archive: Any, fetcher: Fetcher) -> None:
        path = "a b/50%#?&x.txt"
        archive.add(path, b"words")
        assert fetcher.get(File(path, 5)).local.read_bytes() == b"words"

    def test_a_discarded_file_is_fetched_again(self, archive: Any, fetcher: Fetcher, image: bytes) -> None:
        archive.add(PATH, image)
        fetcher.get(FILE)
        fetcher.discard(PATH)
        assert left_over(fetcher.cache) == set()
        assert not fetcher.get(FILE).reused

    def test_a_cache_filled_from_another_source_is_not_taken_for_this_one(
        self, archive: Any, make: Make, image: bytes
    ) -> None:
        archive.add(PATH, image)
        archive.add("mirror/" + PATH, image[:2880])
        make(root=archive.url + "mirror").get(FILE)
        assert make().get(FILE).bytes == len(image)

    def test_a_cached_file_of_another_size_is_set_aside(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        got = make().get(FILE)
        got.local.write_bytes(image[:-1])
        assert make().get(FILE).local.read_bytes() == image
        assert sibling(got.local, ".bad").read_bytes() == image[:-1]


class TestConnection:
    """F1, F3-F5, F7, F8, F14, F24."""

    def test_a_cut_download_goes_on_where_it_stopped(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.cut(70_000), faults.cut(70_000))
        assert fetcher.get(FILE).local.read_bytes() == image
        assert [asked.range for asked in archive.asked] == [None, "bytes=70000-", "bytes=140000-"]
        assert archive.asked[1].if_range

    def test_a_later_run_goes_on_where_the_last_one_gave_up(
        self, archive: Any, make: Make, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.cut(100_000), *[faults.status(500)] * 3)
        with pytest.raises(DownloadError, match=r"given up after 4 attempts.*HTTP 500.*Run again"):
            make().get(FILE)
        assert make().get(FILE).sha256 == hashlib.sha256(image).hexdigest()
        assert archive.asked[-1].range == "bytes=100000-"

    def test_progress_is_not_counted_as_failure(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        big = image + b"\0" * 2880 * 200
        archive.add("big.dat", big)
        archive.fail("big.dat", *[faults.cut(70_000)] * 10)
        assert fetcher.get(File("big.dat", len(big))).local.read_bytes() == big

    def test_without_a_validator_a_cut_download_starts_anew(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.etags = False
        archive.add(PATH, image)
        archive.fail(PATH, faults.cut(70_000))
        assert fetcher.get(FILE).local.read_bytes() == image
        assert [asked.range for asked in archive.asked] == [None, None]

    @pytest.mark.parametrize(
        "answer",
        [
            lambda faults: faults.whole(),
            lambda faults: faults.partial("bytes {start}-{last}/{total}", shift=-5000),
            lambda faults: faults.partial("bytes 0-{last}/{total}"),
            lambda faults: faults.partial("bytes {start}-{last}/999999"),
            lambda faults: faults.partial("nonsense"),
            lambda faults: faults.status(416),
            lambda faults: faults.status(206),
        ],
        ids=["range ignored", "shifted", "wrong start", "wrong total", "no numbers", "416", "206 of nothing"],
    )
    def test_a_wrong_answer_to_a_range_is_never_appended(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any, answer: Callable[[Any], Any]
    ) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.cut(70_000), answer(faults))
        assert fetcher.get(FILE).local.read_bytes() == image
        assert archive.asked[1].range == "bytes=70000-"
        assert archive.count(PATH) <= 3, "the wrong bytes were taken in and found out only later"

    def test_an_answer_shorter_than_the_range_asked_for_is_gone_on_from(
        self, archive: Any, fetcher: Fetcher, faults: Any
    ) -> None:
        data = archive.add("a.dat", bytes(range(256)) * 1000)

        def less(handler: Any, data: bytes) -> None:
            about = {"Content-Range": f"bytes 70000-79999/{len(data)}"}
            handler.reply(206, data[70_000:80_000], about, tag=data)

        archive.fail("a.dat", faults.cut(70_000), less)
        assert fetcher.get(File("a.dat", 256_000)).local.read_bytes() == data
        assert archive.asked[2].range == "bytes=80000-"

    def test_a_file_replaced_in_the_middle_is_the_new_one_only(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)

        def cut_and_replace(handler: Any, data: bytes) -> None:
            archive.add(PATH, flipped(image))
            handler.reply(200, data, sent=70_000)

        archive.fail(PATH, cut_and_replace)
        assert fetcher.get(FILE).local.read_bytes() == flipped(image)

    @pytest.mark.parametrize("lie", [-2880, -1, 1, 2880])
    def test_a_length_that_lies_is_found_out(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any, lie: int
    ) -> None:
        archive.add(PATH, image)
        length = str(len(image) + lie)
        archive.fail(PATH, lambda handler, data: handler.reply(200, data, {"Content-Length": length}, sent=len(data)))
        assert fetcher.get(FILE).local.read_bytes() == image

    def test_without_a_length_the_end_of_the_connection_proves_nothing(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.unsized(2880 * 20))
        assert fetcher.get(FILE).local.read_bytes() == image
        assert archive.count(PATH) == 2

    def test_a_whole_file_without_a_length_is_taken(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.unsized(), lasting=True)
        assert fetcher.get(FILE).bytes == len(image)

    def test_a_stalled_connection_is_left(self, archive: Any, make: Make, image: bytes, faults: Any) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.stall(70_000))
        patience = Patience(attempts=50, first_pause=0.001, longest_pause=0.01, read=0.1)
        assert make(patience).get(FILE).local.read_bytes() == image

    def test_a_dripping_connection_is_left(self, archive: Any, make: Make, image: bytes, faults: Any) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.drip())
        patience = Patience(attempts=50, first_pause=0.001, longest_pause=0.01, slow_rate=1e4, slow_window=0.05)
        assert make(patience).get(FILE).local.read_bytes() == image

    def test_a_burst_of_errors_is_sat_out(self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.status(503), faults.status(502), faults.status(504))
        assert fetcher.get(FILE).local.read_bytes() == image

    def test_attempts_end(self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any) -> None:
        archive.add(PATH, image)
        archive.fail(PATH, faults.status(500), lasting=True)
        with pytest.raises(DownloadError, match="HTTP 500"):
            fetcher.get(FILE)
        assert archive.count(PATH) == 4
        assert not (fetcher.cache / PATH).exists()

    def test_time_without_progress_ends_too(self, archive: Any, make: Make, faults: Any) -> None:
        archive.fail(PATH, faults.status(500), lasting=True)
        with pytest.raises(DownloadError, match="after 1 attempts"):
            make(Patience(attempts=1000, without_progress=0.0)).get(FILE)

    def test_no_network_is_said_in_one_sentence_and_at_once_for_the_next_file(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # taken, but nobody listens
            fetcher = make(root=f"http://127.0.0.1:{taken.getsockname()[1]}/")
            with pytest.raises(
                DownloadError, match=r"127\.0\.0\.1:\d+ cannot be reached.*refused.*--source.*simulated"
            ):
                fetcher.get(FILE)
        monkeypatch.setattr(HttpClient, "_follow", lambda *args: pytest.fail("a request was made"))
        with pytest.raises(DownloadError, match="cannot be reached"):
            fetcher.get(File("other.fits", 1))


class TestStatus:
    """F11, F12, F15, F16."""

    @pytest.mark.parametrize("status", [404, 410])
    def test_absent_is_final(self, archive: Any, fetcher: Fetcher, faults: Any, status: int) -> None:
        archive.fail(PATH, faults.status(status), lasting=True)
        with pytest.raises(AbsentUpstreamError, match="no such file"):
            fetcher.get(FILE)
        assert archive.count(PATH) == 1

    @pytest.mark.parametrize(
        ("status", "headers", "words"),
        [(401, {}, "credentials"), (403, {}, "ban"), (403, {"WWW_Authenticate": "Basic"}, "credentials")],
    )
    def test_a_refusal_stops_the_host_at_once(
        self, archive: Any, fetcher: Fetcher, faults: Any, status: int, headers: dict[str, str], words: str
    ) -> None:
        archive.fail(PATH, faults.status(status, **headers), lasting=True)
        archive.add("other.txt", b"words")
        with pytest.raises(DownloadError, match=words):
            fetcher.get(FILE)
        with pytest.raises(DownloadError, match=f"HTTP {status}"):
            fetcher.get(File("other.txt", 5))
        assert len(archive.asked) == 1

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_holds_the_host_back(
        self,
        archive: Any,
        fetcher: Fetcher,
        image: bytes,
        faults: Any,
        status: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pauses: list[float] = []
        monkeypatch.setattr(fetcher.gate, "pause", pauses.append)
        archive.add(PATH, image)
        archive.fail(PATH, faults.status(status, Retry_After="7"))
        fetcher.get(FILE)
        assert pauses == [7.0]

    def test_retry_after_is_a_number_or_a_date(self) -> None:
        assert retry_after("120") == 120
        assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") < 0
        assert retry_after("soon") == retry_after("") == 0

    def test_other_refusals_are_not_repeated(self, archive: Any, fetcher: Fetcher, faults: Any) -> None:
        archive.fail(PATH, faults.status(418), lasting=True)
        with pytest.raises(DownloadError, match="HTTP 418"):
            fetcher.get(FILE)
        assert archive.count(PATH) == 1

    def test_many_failing_files_in_a_row_stop_the_host(self, archive: Any, make: Make, faults: Any) -> None:
        fetcher = make(Patience(attempts=1))
        for number in range(12):
            archive.fail(f"{number}.fits", faults.status(500), lasting=True)
            with pytest.raises(DownloadError):
                fetcher.get(File(f"{number}.fits", 1))
        assert len(archive.asked) == 8

    def test_a_redirect_within_the_host_is_followed(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add("new/image.fits", image)
        archive.fail(PATH, faults.status(301, Location="/new/image.fits"))
        assert fetcher.get(FILE).local.read_bytes() == image

    @pytest.mark.parametrize(
        "to",
        ["http://127.0.0.1:1/x.fits", "http://169.254.169.254/latest", "https://example.org/x", "file:///etc/passwd"],
    )
    def test_a_redirect_elsewhere_is_refused(self, archive: Any, fetcher: Fetcher, faults: Any, to: str) -> None:
        archive.fail(PATH, faults.status(302, Location=to), lasting=True)
        with pytest.raises(DownloadError, match=r"redirects .* not one of"):
            fetcher.get(FILE)
        assert archive.count(PATH) == 1

    def test_redirects_in_a_circle_end(self, archive: Any, fetcher: Fetcher, faults: Any) -> None:
        archive.fail(PATH, faults.status(302, Location="/" + PATH), lasting=True)
        with pytest.raises(DownloadError, match="redirects"):
            fetcher.get(FILE)


class TestContent:
    """F2, F6, F9, F10, F13 and sizes."""

    def test_a_web_page_instead_of_a_file_is_not_kept(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        page = b"<!DOCTYPE html><html><body>Maintenance</body></html>"
        archive.fail(
            PATH,
            faults.body(lambda data: page, Content_Type="text/html; charset=utf-8"),
            faults.body(lambda data: page),
        )
        assert fetcher.get(FILE).local.read_bytes() == image
        assert sibling(fetcher.cache / PATH, ".bad").read_bytes() == page

    def test_what_calls_itself_a_web_page_is_none_of_our_files(
        self, archive: Any, fetcher: Fetcher, faults: Any
    ) -> None:
        archive.add("a.txt", b"words")
        archive.fail("a.txt", faults.body(lambda data: b"Please log in", Content_Type="text/html"))
        assert fetcher.get(File("a.txt", 5)).local.read_bytes() == b"words"

    def test_a_web_page_every_time_is_said_so(self, archive: Any, fetcher: Fetcher, faults: Any) -> None:
        archive.fail(PATH, faults.body(lambda data: b"<html>blocked</html>"), lasting=True)
        with pytest.raises(DownloadError, match="failed its checks 3 times: the archive sent a web page"):
            fetcher.get(FILE)
        assert left_over(fetcher.cache) == {".bad"}

    @pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
    def test_a_flipped_byte_is_found_by_the_archives_list(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any, algorithm: str
    ) -> None:
        archive.add(PATH, image)
        archive.add(LIST, listing(image, algorithm))
        archive.fail(PATH, faults.body(flipped))
        assert fetcher.get(LISTED).local.read_bytes() == image
        assert archive.count(PATH) == 2

    def test_bytes_that_stay_wrong_are_given_up(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any
    ) -> None:
        archive.add(PATH, image)
        archive.add(LIST, listing(image))
        archive.fail(PATH, faults.body(flipped), lasting=True)
        with pytest.raises(DownloadError, match=r"sha256 is .* the archive's list .* says"):
            fetcher.get(LISTED)
        assert left_over(fetcher.cache) == {".bad"}

    @pytest.mark.parametrize("checked", [True, False], ids=["list", "format"])
    def test_junk_in_a_partial_file_does_not_survive(
        self, archive: Any, make: Make, image: bytes, faults: Any, checked: bool
    ) -> None:
        archive.add(PATH, image)
        archive.add(LIST, listing(image))
        archive.fail(PATH, faults.cut(70_000), *[faults.status(500)] * 3)
        with pytest.raises(DownloadError):
            make().get(FILE)
        stub = sibling(make().cache / PATH, ".part")
        stub.write_bytes(b"<p>error</p>".ljust(70_000))
        assert make().get(LISTED if checked else FILE).local.read_bytes() == image

    def test_no_list_means_no_checksum_and_is_asked_once(self, archive: Any, fetcher: Fetcher, image: bytes) -> None:
        archive.add(PATH, image)
        archive.add("south/coadd/000/other.fits", image)
        fetcher.get(LISTED)
        fetcher.get(File("south/coadd/000/other.fits", 1, checksums=LIST))
        assert archive.count(LIST) == 1

    def test_a_list_older_than_the_file_is_fetched_anew(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        archive.add(LIST, listing(image))
        make().get(LISTED)
        archive.add(PATH, flipped(image))
        archive.add(LIST, listing(flipped(image)))
        later = make()
        later.discard(PATH)
        assert later.get(LISTED).local.read_bytes() == flipped(image)
        assert archive.count(PATH) == 2

    def test_a_list_that_is_renewed_meanwhile_is_read_when_it_is_there(
        self, archive: Any, fetcher: Fetcher, image: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive.add(PATH, image)
        archive.add(LIST, listing(image))
        gone: list[Path] = []

        def just_gone(local: Path, path: str) -> Any:
            if not gone:
                gone.append(local)
                fetcher.discard(LIST)
            return expected(local, path)

        monkeypatch.setattr(fetch, "expected", just_gone)
        assert fetcher.get(LISTED).local.read_bytes() == image
        assert (len(gone), archive.count(LIST)) == (1, 2)

    def test_a_file_and_its_list_never_wait_for_each_other(
        self, archive: Any, fetcher: Fetcher, image: bytes, faults: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetch, "_STRIPES", 1)
        archive.add(PATH, image)
        archive.add(LIST, listing(flipped(image)))
        fetcher.get(File(LIST, 0))  # an earlier run's list, older than the file
        archive.add(LIST, listing(image))
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(fetcher.get, LISTED).result(timeout=20).bytes == len(image)

    @pytest.mark.parametrize("sized", [True, False])
    def test_an_endless_file_is_bounded(
        self, archive: Any, fetcher: Fetcher, faults: Any, sized: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetch, "_GIB", 1000)
        archive.add("bomb.dat", b"x" * 100_000)
        if not sized:
            archive.fail("bomb.dat", faults.unsized(), lasting=True)
        with pytest.raises(DownloadError, match="1010"):
            fetcher.get(File("bomb.dat", 10))
        assert archive.count("bomb.dat") == 1

    @pytest.mark.parametrize(
        "path", ["../x", "a/../../x", "/etc/passwd", "C:/x", "a\\..\\x", "a\0b", "", "a//b", "a/./b"]
    )
    def test_a_path_out_of_the_cache_is_refused(self, archive: Any, fetcher: Fetcher, path: str) -> None:
        with pytest.raises(UsageError, match="not a path inside an archive"):
            fetcher.get(File(path, 1))
        assert not archive.asked

    def test_a_full_disk_is_said_so(
        self, archive: Any, fetcher: Fetcher, image: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive.add(PATH, image)

        def full(self: part.Part, block: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(part.Part, "write", full)
        with pytest.raises(DownloadError, match=r"cannot be kept in .*No space left.*--cache"):
            fetcher.get(FILE)
        assert archive.count(PATH) == 1


class Killed(BaseException):
    """As sudden as a kill: nothing catches it."""


class TestKill:
    def test_killed_at_any_rename_the_next_run_has_the_file_without_fetching_it_twice(
        self, archive: Any, make: Make, image: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive.add(PATH, image)
        true_replace = Path.replace
        for moment in range(100):
            calls: list[Path] = []

            def dying(self: Path, target: Path, moment: int = moment, calls: list[Path] = calls) -> Path:
                if self.parent.name != ".hosts":
                    calls.append(self)
                    if len(calls) == moment + 1:
                        raise Killed
                return true_replace(self, target)

            archive.asked.clear()
            monkeypatch.setattr(Path, "replace", dying)
            try:
                make().get(FILE)
                break
            except Killed:
                pass
            finally:
                monkeypatch.setattr(Path, "replace", true_replace)
            assert not (make().cache / PATH).exists()
            got = make().get(FILE)
            assert got.local.read_bytes() == image
            assert [asked.range for asked in archive.asked][2:] == []
            assert left_over(make().cache) == {"", ".fetched.json"}
            make().discard(PATH)
        assert moment == 3

    def test_killed_after_the_last_byte_nothing_is_requested(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        got = make().get(FILE)
        version = {"url": got.url, "etag": got.etag, "modified": "", "total": got.bytes}
        got.local.rename(sibling(got.local, ".part"))
        sibling(got.local, ".fetched.json").unlink()
        sibling(got.local, ".part.json").write_text(json.dumps(version))
        assert make().get(FILE).sha256 == got.sha256
        assert archive.count(PATH) == 1

    def test_killed_between_sidecar_and_rename_nothing_is_requested(
        self, archive: Any, make: Make, image: bytes
    ) -> None:
        archive.add(PATH, image)
        got = make().get(FILE)
        got.local.rename(sibling(got.local, ".part"))
        assert make().get(FILE).local.read_bytes() == image
        assert archive.count(PATH) == 1

    def test_a_sidecar_does_not_vouch_for_other_bytes(self, archive: Any, make: Make, image: bytes) -> None:
        archive.add(PATH, image)
        got = make().get(FILE)
        got.local.unlink()
        sibling(got.local, ".part").write_bytes(flipped(image))
        assert make().get(FILE).local.read_bytes() == image

    def test_closing_wakes_those_who_wait(self, archive: Any, fetcher: Fetcher, faults: Any) -> None:
        archive.fail(PATH, faults.status(503, Retry_After="250"), lasting=True)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(fetcher.get, FILE)
            while not (fetcher.cache / ".hosts").exists() or not archive.asked:
                threading.Event().wait(0.005)
            fetcher.close()
            with pytest.raises(DownloadError, match="stopped"):
                waiting.result(timeout=10)


class TestPolicy:
    def test_no_more_connections_than_allowed(self, archive: Any, make: Make) -> None:
        for number in range(12):
            archive.add(f"{number}.txt", b"words")
        archive.dwell = 0.02
        runs = [make(policy=Policy(2, 1e4)), make(policy=Policy(2, 1e4))]
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(lambda number: runs[number % 2].get(File(f"{number}.txt", 5)), range(12)))
        assert archive.peak <= 2
        assert len(archive.asked) == 12

    def test_requests_start_no_faster_than_allowed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        gates = [host.HostGate("h", Policy(1, 4.0), tmp_path) for _ in range(2)]
        starts = []
        for turn in range(6):
            monkeypatch.setattr(gates[turn % 2], "sleep", clock.advance)
            with gates[turn % 2].slot():
                starts.append(clock.now)
        assert [later - earlier for earlier, later in pairwise(starts)] == [0.25] * 5

    def test_a_pause_holds_back_other_processes_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        one, other = (host.HostGate("h", Policy(1, 1e3), tmp_path) for _ in range(2))
        monkeypatch.setattr(other, "sleep", clock.advance)
        start = clock.now
        one.pause(30)
        with other.slot():
            assert clock.now == start + 30

    def test_a_pause_is_capped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        gate = host.HostGate("h", Policy(1, 1e3), tmp_path)
        monkeypatch.setattr(gate, "sleep", clock.advance)
        start = clock.now
        gate.pause(1e9)
        with gate.slot():
            assert clock.now == start + host.LONGEST_PAUSE

    def test_a_clock_turned_back_does_not_hold_for_ever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        gate = host.HostGate("h", Policy(1, 1e3), tmp_path)
        monkeypatch.setattr(gate, "sleep", clock.advance)
        gate.pause(100)
        clock.now -= 1e6
        start = clock.now
        with gate.slot():
            assert clock.now == start

    def test_a_second_process_waits_for_a_connection(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = (host.HostGate("h", Policy(1, 1e9), tmp_path) for _ in range(2))

        def must_wait(seconds: float) -> None:
            raise Killed

        monkeypatch.setattr(other, "sleep", must_wait)
        with one.slot(), pytest.raises(Killed), other.slot():
            pass
        with other.slot():
            pass

    def test_a_backoff_ends_when_the_host_is_stopped(self, tmp_path: Path) -> None:
        gate = host.HostGate("h", Policy(), tmp_path)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(gate.sleep, 30)
            gate.stop("closed")
            with pytest.raises(DownloadError, match="closed"):
                waiting.result(timeout=10)

    def test_hosts_do_not_hold_each_other_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = (host.HostGate(name, Policy(1, 1e3), tmp_path) for name in ("a", "b"))
        one.pause(100)
        one.stop("banned")
        with other.slot():
            pass
        with pytest.raises(DownloadError, match="banned"), one.slot():
            pass


class Clock:
    """Time that passes only in sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        monkeypatch.setattr(host, "time", self)

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def test_nothing_is_copied_from_a_folder(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "image.fits").write_bytes(image)
    with Fetcher(FolderSource(tmp_path / "data"), tmp_path / "cache", Policy()) as fetcher:
        got = fetcher.get(File("image.fits", 1))
    assert got.local == tmp_path / "data" / "image.fits"
    assert (got.reused, got.owned) == (True, False)
    assert not (tmp_path / "cache").exists()


def test_an_archive_may_say_absent_in_its_own_way(archive: Any, tmp_path: Path, faults: Any) -> None:
    archive.add("there.txt", b"words")
    archive.fail("a.fits", faults.status(403), lasting=True)
    with Fetcher(may_withhold(archive), tmp_path / "cache", FREELY) as fetcher:
        fetcher.get(File("there.txt", 5))
        with pytest.raises(AbsentUpstreamError, match="HTTP 403"):
            fetcher.get(File("a.fits", 0))
    with Fetcher(may_withhold(archive), tmp_path / "cache", FREELY) as fetcher:
        fetcher.get(File("there.txt", 5))  # from the cache
        with pytest.raises(AbsentUpstreamError, match="HTTP 403"):
            fetcher.get(File("a.fits", 0))


@pytest.mark.parametrize("had", [False, True], ids=["the first file", "in the middle"])
def test_a_ban_is_not_taken_for_absence(archive: Any, tmp_path: Path, faults: Any, had: bool) -> None:
    archive.add("there.txt", b"words")
    with Fetcher(may_withhold(archive), tmp_path / "cache", FREELY) as fetcher:
        if had:
            fetcher.get(File("there.txt", 5))
        archive.fail(ANY, faults.status(403), lasting=True)
        for _ in range(2):
            with pytest.raises(DownloadError, match="looks like a ban") as told:
                fetcher.get(File("a.fits", 0, required=False))
            assert not isinstance(told.value, AbsentUpstreamError)
    assert len(archive.asked) == (3 if had else 1), "the host was left alone at once"


def may_withhold(archive: Any) -> HttpSource:
    """An archive that says 403 of what it does not have, as jwst's does."""
    return HttpSource(archive.url, QUICK, absent=(404, 403))
