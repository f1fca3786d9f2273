"""The archive's services, played on this machine: jobs, cutout lists, files; what fails, and what is asked again."""

from __future__ import annotations

import io
import tarfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import surveys.hsc.service as service
from mmu.archive.credentials import Credentials
from mmu.archive.fetch import Fetcher
from mmu.archive.source import HttpSource
from mmu.build import raw
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.errors import DamagedError, DownloadError
from mmu.simulate import Sky
from mmu.survey import File, Group
from surveys.hsc import SURVEY, archive, simulate
from surveys.hsc.cutouts import ABSENT, parse_question, read_tar
from tests.archive.server import FREELY, QUICK
from tests.surveys.hsc.server import PASSWORD, USER, Archive, cut, page, redirect, serving, status

RELEASE = SURVEY.releases[0]
LISTED = archive.patches_file(RELEASE.facts)
OBJECTS = archive.objects_group(RELEASE, 9594, 9594, (185.6, 185.7, 0.05, 0.1)).files[0]
ME = Credentials(USER, PASSWORD)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "scratch").mkdir()
    with serving(tmp_path / "scratch") as one:
        yield one


@pytest.fixture
def get(served: Archive, tmp_path: Path) -> Iterator[Callable[[File], Path]]:
    source = HttpSource(served.url, QUICK, credentials=ME, login="register", service=SURVEY.service)
    with Fetcher(source, tmp_path / "cache", FREELY) as fetcher:
        yield lambda file: fetcher.get(file).local


@pytest.fixture(scope="module")
def cutouts() -> File:
    """Three objects in a patch."""
    path = next(path for path in simulate.files(RELEASE.name, Sky()) if path.endswith(".tar"))
    lines = parse_question(simulate._questions(RELEASE.name, Sky())[path])
    rows = {line.object_id: line for line in lines[:3]}
    places = {"ra": [line.ra for line in rows.values()], "dec": [line.dec for line in rows.values()]}
    return archive.cutouts_file(RELEASE.facts, "09594-100", pa.table({"object_id": list(rows), **places}))


def names(file: File) -> list[str]:
    return [line.name for line in parse_question(file.query)]


def test_a_query_is_a_job_that_is_waited_for_and_removed(
    served: Archive, get: Callable[[File], Path], tmp_path: Path
) -> None:
    path = get(OBJECTS)
    simulate.answer(OBJECTS.path, OBJECTS.query, Sky(), tmp_path / "same.fits")
    assert path.read_bytes() == (tmp_path / "same.fits").read_bytes()
    verbs = [one.rpartition("/")[2] for one in served.asked]
    assert verbs == ["submit", "status", "status", "status", "download", "delete"]
    assert served.jobs == {1: ""}
    asked = len(served.asked)
    assert get(OBJECTS) == path
    assert len(served.asked) == asked, "an answer in the cache is not asked for again"
    assert not list(path.parent.glob("*.draft*"))


def test_a_job_that_fails_costs_its_file_and_says_why(served: Archive, get: Callable[[File], Path]) -> None:
    served.job_error = "column z_cmodel_mog does not exist"
    with pytest.raises(DownloadError, match="could not run the query: column z_cmodel_mog"):
        get(OBJECTS)
    assert served.jobs == {1: ""}


def test_a_job_that_never_ends_is_given_up(
    served: Archive, get: Callable[[File], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.pending = 10**9
    monkeypatch.setattr(service, "LONGEST_WAIT", 0.2)
    monkeypatch.setattr(service, "LONGEST_PAUSE", 0.02)
    with pytest.raises(DownloadError, match="did not run the query"):
        get(OBJECTS)
    assert 1 < served.count("status") < 40
    assert served.jobs == {1: ""}


def test_an_answer_that_was_cut_short_is_found(served: Archive, get: Callable[[File], Path]) -> None:
    def fewer(body: bytes) -> tuple[int, bytes, dict[str, str]]:
        return 200, body.replace(b"NAXIS2  =" + b"%21d" % rows, b"NAXIS2  =" + b"%21d" % 3), {}

    rows = len(archive.select(RELEASE, Group("x", (OBJECTS,)), {OBJECTS.path: get(OBJECTS)}).ra)
    other = replace(OBJECTS, path="catalogue/other.fits")
    served.fail("download", fewer)
    get(other)
    assert served.count("download") == 3
    served.fail("download", fewer, fewer, fewer)
    with pytest.raises(DownloadError, match=f"selected {rows} rows and sent 3"):
        get(replace(OBJECTS, path="catalogue/third.fits"))


def test_trouble_on_the_way_is_tried_again(served: Archive, get: Callable[[File], Path]) -> None:
    served.fail("submit", status(503), page)
    served.fail("status", status(500))
    served.fail("download", cut(0.4), page)
    assert get(OBJECTS).stat().st_size % 2880 == 0


def test_refusals_and_redirects_are_final_and_give_nothing_away(served: Archive, get: Callable[[File], Path]) -> None:
    served.fail("submit", redirect("https://elsewhere.example/login"))
    with pytest.raises(DownloadError, match="redirect, which is not followed") as caught:
        get(LISTED)
    frames = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert PASSWORD not in frames
    served.fail("submit", status(401))
    with pytest.raises(DownloadError, match=r"refused access \(HTTP 401\).*wants credentials: register"):
        get(LISTED)
    assert served.count("submit") == 2
    with pytest.raises(DownloadError, match="refused access"):
        get(OBJECTS)
    assert served.count("submit") == 2, "a host that refused is left alone"


def test_a_login_page_is_no_answer(served: Archive, get: Callable[[File], Path]) -> None:
    served.fail("submit", *[page] * 10)
    with pytest.raises(DownloadError, match="web page instead of the file"):
        get(LISTED)


def test_a_service_that_moved_is_not_an_absent_file(served: Archive, get: Callable[[File], Path]) -> None:
    served.fail("submit", status(404))
    with pytest.raises(DownloadError, match="the archive's service may have moved") as caught:
        get(LISTED)
    assert type(caught.value) is DownloadError


def test_without_an_account_nothing_is_asked(served: Archive, tmp_path: Path) -> None:
    source = HttpSource(served.url, QUICK, service=SURVEY.service)
    with Fetcher(source, tmp_path / "cache", FREELY) as fetcher, pytest.raises(DownloadError, match="account"):
        fetcher.get(LISTED)
    assert served.asked == []


def test_cutouts_come_in_one_stream(
    served: Archive, get: Callable[[File], Path], cutouts: File, tmp_path: Path
) -> None:
    path = get(cutouts)
    simulate.answer(cutouts.path, cutouts.query, Sky(), tmp_path / "same.tar")
    assert path.read_bytes() == (tmp_path / "same.tar").read_bytes()
    assert len(served.lines) == 1
    assert len(served.lines[0]) == 15
    assert served.lines[0][0].startswith("pdr3_dud_rev coadd HSC-G 9594 185.6")
    assert served.lines[0][0].endswith("true true true")
    assert sorted(dict(read_tar(path, names(cutouts)))) == sorted(names(cutouts))


def test_a_stream_that_breaks_off_keeps_what_came(served: Archive, get: Callable[[File], Path], cutouts: File) -> None:
    served.fail("cutout", cut(0.5), cut(0.5), status(503))
    assert len(dict(read_tar(get(cutouts), names(cutouts)))) == 15
    assert len(served.lines[0]) == 15
    assert 0 < len(served.lines[-1]) < 6


def test_missing_members_are_asked_for_again(served: Archive, get: Callable[[File], Path], cutouts: File) -> None:
    seen: list[str] = []

    def once(name: str) -> bool:
        seen.append(name)
        return name.startswith("HSC-Z") and seen.count(name) == 1

    served.lacks = once
    assert len(dict(read_tar(get(cutouts), names(cutouts)))) == 15
    assert [len(lines) for lines in served.lines] == [15, 3]


def test_what_the_service_does_not_have_is_noted(served: Archive, get: Callable[[File], Path], cutouts: File) -> None:
    served.lacks = lambda name: name.startswith("HSC-Y")
    found = dict(read_tar(get(cutouts), names(cutouts)))
    assert sorted(found) == sorted(name for name in names(cutouts) if "HSC-Y" not in name)
    assert len(served.lines) == 3


def test_streams_that_keep_breaking_off_are_given_up(
    served: Archive, get: Callable[[File], Path], cutouts: File
) -> None:
    served.fail("cutout", *[cut(0.01)] * 9)
    with pytest.raises(DownloadError, match="kept breaking off"):
        get(cutouts)


def test_a_stream_with_a_link_in_it_is_refused(served: Archive, get: Callable[[File], Path], cutouts: File) -> None:
    def link(body: bytes) -> tuple[int, bytes, dict[str, str]]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as stream:
            member = tarfile.TarInfo("arch-1-1/2-cutout-HSC-G-9594-pdr3_dud_rev.fits")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            stream.addfile(member)
        return 200, buffer.getvalue(), {}

    served.fail("cutout", link)
    with pytest.raises(DamagedError, match=r"is refused: .* is no plain file"):
        get(cutouts)


def test_more_lines_than_the_service_takes_are_several_requests(
    served: Archive, get: Callable[[File], Path], cutouts: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LINES", 4)
    assert len(dict(read_tar(get(cutouts), names(cutouts)))) == 15
    assert [len(lines) for lines in served.lines] == [4, 4, 4, 3]
    assert ABSENT not in names(cutouts)


def test_a_build_from_the_archive_is_that_of_the_simulated_sky(
    served: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(text: str | None, survey: object, release: object) -> HttpSource:
        return HttpSource(served.url, QUICK, credentials=ME, service=SURVEY.service)

    region = "cone:185.66,0.1,0.012"
    simulated = build(BuildSpec("hsc", tmp_path / "one", source="simulated", regions=(region,), workers=0))
    monkeypatch.setattr(raw, "open_source", opened)
    real = build(BuildSpec("hsc", tmp_path / "two", regions=(region,), workers=0))
    assert real.counts == simulated.counts
    assert real.counts["written"] > 3
    one, two = (sorted((tmp_path / name).rglob("Npix=*.parquet")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    for path in (tmp_path / "two").rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()
