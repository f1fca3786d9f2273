"""Every way an archive fails, in real builds: the same bytes in the end, or a sentence and then the same bytes."""

from __future__ import annotations

import io
import re
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import surveys.desi
import surveys.gaia
from mmu.archive import source
from mmu.archive.host import HostGate
from mmu.archive.tar import MissingMembersError, members
from mmu.errors import MmuError
from tests.archive.server import FREELY, QUICK
from tests.reliability.faults import ELSEWHERE, KINDS, ROWS, Row, changed, fits_with, removed, rows_dropped, without
from tests.reliability.world import COADD, COADD_2, REDROCK, UNIT, UNIT_2, World, world

SECTION = "Archive faults"
HERE = {"F17", "F20", "F21", "F25", "F28"}
"""Faults with a test of their own below, besides those of the table."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """Both archives, and what healthy builds of them give."""
    with (
        pytest.MonkeyPatch.context() as patch,
        world("desi", tmp_path_factory.mktemp("desi")) as desi,
        world("gaia", tmp_path_factory.mktemp("gaia")) as gaia,
    ):
        for module in (surveys.desi, surveys.gaia):
            patch.setattr(module, "SURVEY", replace(module.SURVEY, policy=FREELY))
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("hosts")))
        for each in (desi, gaia):
            assert each.build().code == 0
            each.golden = each.snapshot()
            assert each.problems() == []
            assert not each.archive.alarms
        yield {"desi": desi, "gaia": gaia}


@pytest.fixture
def ready(worlds: dict[str, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, World]:
    """Healthy archives that nothing was asked of, quick retries, and pauses noted instead of waited for."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(source, "Patience", lambda: QUICK)
    true_pause = HostGate.pause

    def pause(self: HostGate, seconds: float) -> None:
        for each in worlds.values():
            each.pauses.append(seconds)
        true_pause(self, min(seconds, 0.01))

    monkeypatch.setattr(HostGate, "pause", pause)
    for each in worlds.values():
        each.begin(tmp_path / "out")
    return worlds


def same(here: World, *but: str) -> None:
    """What was built is what a healthy build gives, in all files but these."""
    now = here.snapshot()
    assert now["account"] == here.golden["account"]
    assert now["objects"] == here.golden["objects"]
    files, wanted = now["files"], here.golden["files"]
    assert sorted(files) == sorted(wanted)
    assert [name for name in files if files[name] != wanted[name] and name not in but] == []


def survives(here: World) -> None:
    """A build now gives the golden bytes and a whole ledger."""
    report = here.build()
    assert here.errors() == {}
    assert report.code == 0
    same(here)
    assert here.problems() == []
    here.look_at_cache()
    assert here.archive.alarms == []


def says(here: World, words: str, unit: str = "") -> str:
    """A build now ends with these words, or (with a unit) with a ledger that holds them and blames that unit only."""
    if unit:
        report = here.build()
        assert report.code == 1
        errors = here.errors()
        assert set(errors) == {unit}
        told = errors[unit]
        assert here.problems() == []
    else:
        with pytest.raises(MmuError) as caught:
            here.build()
        told = str(caught.value)
        assert not list(here.out.rglob("build.json")), "a dataset was made"
    assert "\n" not in told.strip()
    assert "Traceback" not in told
    assert re.search(words, told), told
    here.look_at_cache()
    assert here.archive.alarms == []
    return told


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_fault(row: Row, ready: dict[str, World], monkeypatch: pytest.MonkeyPatch, tally: Any) -> None:
    here = ready[row.survey]
    monkeypatch.setattr(source, "Patience", lambda: row.patience)
    row.spoil(here)
    if row.said:
        says(here, row.said, row.unit)
        if row.requests is not None:
            assert len(here.archive.asked) <= row.requests
        here.mend()
    survives(here)
    tally(SECTION, str(row), "said in words; the same bytes once the archive is well" if row.said else "the same bytes")


@pytest.mark.parametrize("row", [row for row in ROWS if row.fault == "F16"], ids=str)
def test_the_time_asked_for_is_waited(row: Row, ready: dict[str, World]) -> None:
    here = ready[row.survey]
    row.spoil(here)
    try:
        here.build()
    except MmuError:
        assert row.said
    asked = {"429 with seconds": 99, "429 with a date": 90, "429 to every request": 3599}.get(row.what, -1e12)
    assert here.pauses
    assert here.pauses[0] >= asked


def test_a_refusal_ends_all_requests(ready: dict[str, World]) -> None:
    """F15: what is under way when the host refuses may end, and nothing new begins."""
    here = ready["desi"]
    here.archive.fail(COADD, lambda handler, data: handler.reply(403, b"banned"), lasting=True)
    says(here, "ban")
    before = [asked.path for asked in here.archive.asked]
    assert before.count(COADD) == 1
    assert len(before) - before.index(COADD) <= FREELY.connections


def test_another_host_is_never_asked(ready: dict[str, World]) -> None:
    """F12: a redirect elsewhere is not even looked at."""
    here = ready["desi"]
    next(row for row in ROWS if row.what == "redirected to another host").spoil(here)
    here.build()
    assert not [asked for asked in here.archive.asked if asked.path.startswith("elsewhere")]


def test_an_optional_file_that_is_absent(ready: dict[str, World], tally: Any) -> None:
    """F11: DESI lists more pixels than it has files for, so a catalogue file may be absent; the ledger names it."""
    here = ready["desi"]
    removed(REDROCK)(here)
    assert here.build().code == 0
    assert REDROCK in here.ledger().build["not_there"]
    assert here.errors() == {}
    assert here.problems() == []
    tally(SECTION, "F11 an optional file", "the ledger names it; all else is built")


def test_rows_lost_by_a_service(ready: dict[str, World], tally: Any) -> None:
    """F17: a file with fewer rows than the catalogue lists, and a catalogue with fewer than before."""
    here = ready["desi"]
    keep, total = slice(0, 4), here.golden["account"]["counts"]["selected"]
    planes = [f"{arm}_{kind}" for arm in "BRZ" for kind in ("FLUX", "IVAR", "MASK", "RESOLUTION")]
    changed(COADD, rows_dropped(keep, "FIBERMAP", "SCORES", *planes))(here)
    here.build()
    counts = here.ledger().build["counts"]
    assert counts["selected"] == total
    assert sum(counts["excluded"].values()) == total - counts["written"] > 0
    assert set(counts["excluded"]) == {"not in the coadd file"}
    tally(SECTION, "F17 a data file stops at a row limit", "every row missing is in the ledger, with the reason")
    here.mend()
    here.begin(here.out.with_name("second"))
    here.build()
    before = here.snapshot()
    changed(REDROCK, rows_dropped(keep, "FIBERMAP", "REDSHIFTS", "TSNR2"))(here)
    (here.cached / REDROCK).unlink()
    with pytest.raises(MmuError, match=r"objects of .* are not in this selection now"):
        here.build(add=True, regions=("cone:10,10,1",))
    assert here.snapshot() == before
    tally(SECTION, "F17 a catalogue stops at a row limit", "said in words; the dataset is left as it was")


def spectra(here: World) -> dict[str, Any]:
    """Per object its spectrum, as arrays."""
    shards = sorted(here.spec().folder.rglob("Npix=*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard, columns=["object_id", "spectrum"]).to_pylist()]
    return {row["object_id"]: {name: np.array(values) for name, values in row["spectrum"].items()} for row in rows}


def test_an_arm_that_is_missing(ready: dict[str, World], tally: Any) -> None:
    """F19: the other arms stay, and the pixels of this one are flagged."""
    here = ready["desi"]
    changed(COADD, without(*(f"Z_{kind}" for kind in ("WAVELENGTH", "FLUX", "IVAR", "MASK", "RESOLUTION"))))(here)
    assert here.build().code == 0
    assert here.ledger().build["counts"] == here.golden["account"]["counts"]
    objects = here.ledger().objects
    ids = objects.filter(pc.equal(objects["unit"], UNIT))["object_id"].to_pylist()
    found = spectra(here)
    for one in ids:
        assert found[one]["mask"][5100:].all()
        assert not found[one]["ivar"][5100:].any()
        assert found[one]["mask"][:4900].mean() < 0.1
    tally(SECTION, "F19 a whole arm", "its pixels are flagged, the others kept")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, 3e38])
def test_pixels_that_are_no_numbers(ready: dict[str, World], value: float, tally: Any) -> None:
    """F20: what is not finite, or has no weight, is flagged; nothing that is not finite is written."""
    here = ready["desi"]

    def spoil(hdus: Any) -> None:
        hdus["B_FLUX"].data[:, 100:200] = value
        if not np.isfinite(value):
            hdus["R_IVAR"].data[:, 1000:1100] = value
        hdus["R_IVAR"].data[:, 1200:1300] = 0

    changed(COADD, fits_with(spoil))(here)
    assert here.build().code == 0
    assert here.ledger().build["counts"] == here.golden["account"]["counts"]
    objects = here.ledger().objects
    found = spectra(here)
    for one in objects.filter(pc.equal(objects["unit"], UNIT))["object_id"].to_pylist():
        assert all(np.isfinite(found[one][name]).all() for name in ("flux", "ivar", "lsf_sigma"))
        assert found[one]["mask"][2700 + 1200 : 2700 + 1300].all()
        if not np.isfinite(value):
            assert found[one]["mask"][100:200].all()
            assert found[one]["mask"][2700 + 1000 : 2700 + 1100].all()
            assert not found[one]["ivar"][100:200].any()
    what = "kept as they are" if np.isfinite(value) else "flagged, with flux and ivar 0"
    tally(SECTION, f"F20 pixels of {value}, and others of ivar 0", f"{what}; ivar 0 is flagged; all is finite")


def test_a_tar_stream_cut_in_the_middle(tmp_path: Path, tally: Any) -> None:
    """F21: members that came whole are kept, the others named."""
    asked = {f"{number}.fits": bytes([number]) * 2880 for number in range(20)}
    path = tmp_path / "reply.tar"
    with tarfile.open(path, "w") as stream:
        for name, data in asked.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            stream.addfile(info, io.BytesIO(data))
    whole = path.read_bytes()
    cuts = range(0, 20 * (512 + 3072), 1111)
    for size in cuts:
        path.write_bytes(whole[:size])
        got: dict[str, bytes] = {}
        with pytest.raises(MissingMembersError) as caught:
            got.update(members(path, asked, 2880))
        assert {*got, *caught.value.missing} == set(asked)
        assert got.items() <= asked.items()
    tally(SECTION, "F21 tar stream cut", "whole members kept, the others named", count=len(cuts))


def test_no_name_service(ready: dict[str, World], monkeypatch: pytest.MonkeyPatch, tally: Any) -> None:
    """F25: one sentence that names the way out, and a mirror is one."""
    here = ready["gaia"]

    def unknown_host(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown_host)
        with pytest.raises(MmuError, match=r"cannot be reached: its name cannot be looked up.*--source a mirror"):
            here.build(source="https://archive.example.org/gdr3/")
    survives(here)
    tally(SECTION, "F25 no name service", "said in words; a mirror gives the same bytes")


def test_nobody_answers(ready: dict[str, World], tally: Any) -> None:
    """F25: a port where nobody listens."""
    here = ready["gaia"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(MmuError, match=r"cannot be reached: the connection was refused.*--source a mirror"):
            here.build(source=f"http://127.0.0.1:{taken.getsockname()[1]}/")
    survives(here)
    tally(SECTION, "F25 connection refused", "said in words; a mirror gives the same bytes")


def test_links_in_a_copy_of_the_archive(ready: dict[str, World], tally: Any) -> None:
    """F28: a transfer that keeps links works, and one that dropped what they point at is found out."""
    here = ready["desi"]
    for path in (COADD, COADD_2):
        file = here.archive.folder / path
        file.rename(file.with_name("real.fits"))
        file.symlink_to("real.fits")
    folder = str(here.archive.folder)
    assert here.build(source=folder).code == 0
    same(here, "README.md")  # the card names the source
    (here.archive.folder / COADD_2).with_name("real.fits").unlink()
    here.out = here.out.with_name("second")
    assert here.build(source=folder).code == 1
    assert set(here.errors()) == {UNIT_2}
    assert "has no file" in here.errors()[UNIT_2]
    here.mend()
    here.build(source=folder)
    same(here, "README.md")  # the card names the source
    tally(SECTION, "F28 links kept", "the same bytes")
    tally(SECTION, "F28 links whose files were left behind", "said in words; the same bytes once they are there")


def test_every_fault_has_a_row() -> None:
    assert {row.fault for row in ROWS} | HERE | ELSEWHERE == set(KINDS) == {f"F{n}" for n in range(1, 29)}
    assert len({str(row) for row in ROWS}) == len(ROWS)
