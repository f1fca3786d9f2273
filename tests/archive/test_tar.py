"""Tar streams from the wire: what came whole is kept, what did not is named, and what was not asked for is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from mmu.archive.tar import MissingMembersError, members
from mmu.errors import FormatError

FILES = {f"{number}-cutout.fits": bytes([number]) * (1000 + number) for number in range(5)}
MOST = 10_000


def pack(path: Path, files: list[tuple[str, bytes]], **facts: object) -> Path:
    with tarfile.open(path, "w") as stream:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in facts.items():
                setattr(info, key, value)
            stream.addfile(info, io.BytesIO(data))
    return path


def stream(folder: Path) -> Path:
    return pack(folder / "reply.tar", list(FILES.items()))


def test_all_that_was_asked_for(tmp_path: Path) -> None:
    assert dict(members(stream(tmp_path), FILES, MOST)) == FILES


def test_names_may_be_translated_and_passed_over(tmp_path: Path) -> None:
    files = [("arch-2401/", b""), *((f"arch-2401/{name}", data) for name, data in FILES.items()), ("log.txt", b"done")]
    path = pack(tmp_path / "reply.tar", files)

    def ours(wire: str) -> str | None:
        return wire.rpartition("/")[2] if wire.startswith("arch-") and not wire.endswith("/") else None

    assert dict(members(path, FILES, MOST, ours)) == FILES


def test_cut_anywhere_it_gives_what_came_whole_and_names_the_rest(tmp_path: Path) -> None:
    whole = stream(tmp_path).read_bytes()
    content = 5 * 4 * 512  # each member: a header of one block and its content in three or less
    for size in [0, 1, 511, 512, 513, *range(600, content, 97)]:
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:size])
        got: dict[str, bytes] = {}
        missing: tuple[str, ...] = ()
        try:
            got.update(members(path, FILES, MOST))
        except MissingMembersError as problem:
            missing = problem.missing
        assert sorted([*got, *missing]) == sorted(FILES)
        assert got.items() <= FILES.items()


def test_fewer_members_than_asked_for(tmp_path: Path) -> None:
    path = pack(tmp_path / "reply.tar", list(FILES.items())[1:])
    with pytest.raises(MissingMembersError, match=r"lacks 1 of the 5 .*'0-cutout.fits'.*ask for") as caught:
        list(members(path, FILES, MOST))
    assert caught.value.missing == ("0-cutout.fits",)


@pytest.mark.parametrize("junk", [b"<html>busy</html>", b"\0" * 10240, b"\x1f\x8b" + b"x" * 600])
def test_no_tar_at_all(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "reply.tar"
    path.write_bytes(junk)
    with pytest.raises(MissingMembersError, match="lacks 5 of the 5"):
        list(members(path, FILES, MOST))


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "other.fits", "a/0-cutout.fits", "0-cutout.fits\x00.sh"])
def test_a_name_that_was_not_asked_for_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "reply.tar", [*FILES.items(), (name, b"x")])
    with pytest.raises(FormatError, match=r"not asked for|more than once"):
        list(members(path, FILES, MOST))
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_member_twice_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "reply.tar", [*FILES.items(), ("0-cutout.fits", b"other")])
    with pytest.raises(FormatError, match="more than once"):
        list(members(path, FILES, MOST))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_plain_files(tmp_path: Path, kind: bytes) -> None:
    path = pack(tmp_path / "reply.tar", [("0-cutout.fits", b"")], type=kind, linkname="/etc/passwd")
    with pytest.raises(FormatError, match="no plain file"):
        list(members(path, FILES, MOST))


def test_a_member_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="at most 1001 are allowed"):
        list(members(stream(tmp_path), FILES, 1001))
