"""Checksum lists as archives publish them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu.archive.checksums import expected, parse
from mmu.errors import FormatError

MD5, SHA1, SHA256 = "a" * 32, "B" * 40, "c" * 64


@pytest.mark.parametrize(
    ("line", "name", "digest"),
    [
        (f"{SHA256}  brick.fits", "brick.fits", ("sha256", SHA256)),
        (f"{SHA256} *brick.fits", "brick.fits", ("sha256", SHA256)),
        (f"{SHA256} *south/coadd/000/brick.fits", "south/coadd/000/brick.fits", ("sha256", SHA256)),
        (f"{SHA1}  ./brick.fits", "brick.fits", ("sha1", SHA1.lower())),
        (f"{MD5}\tGaiaSource_000000-003111.csv.gz", "GaiaSource_000000-003111.csv.gz", ("md5", MD5)),
        (f"MD5 (brick.fits) = {MD5}", "brick.fits", ("md5", MD5)),
        (f"SHA256 (a/brick.fits) = {SHA256}", "a/brick.fits", ("sha256", SHA256)),
        (f"{MD5}  a name with blanks.fits", "a name with blanks.fits", ("md5", MD5)),
    ],
)
def test_every_form_is_read(line: str, name: str, digest: tuple[str, str]) -> None:
    assert parse(f"# made by hand\n\n{line}\r\n") == {name: digest}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/global/cfs/x", "C:/x", "a\\x", "a//b"])
def test_names_that_lead_elsewhere_are_left_out(name: str) -> None:
    assert parse(f"{MD5}  {name}\n{MD5}  good.fits") == {"good.fits": ("md5", MD5)}


@pytest.mark.parametrize("text", ["<html>maintenance</html>", "abc  x", f"{MD5}", f"{MD5[:-1]}  x", f"{'a' * 50}  x"])
def test_other_text_is_an_error_that_shows_the_line(text: str) -> None:
    with pytest.raises(FormatError, match="Line 1 of the checksum list"):
        parse(text)


def test_contradictions_are_an_error() -> None:
    with pytest.raises(FormatError, match="two different digests for 'x'"):
        parse(f"{MD5}  x\n{'b' * 32}  x")
    assert parse(f"{MD5}  x\n{MD5}  x") == {"x": ("md5", MD5)}


@pytest.mark.parametrize(
    ("named", "asked", "found"),
    [
        ("brick.fits", "south/coadd/000/brick.fits", True),
        ("000/brick.fits", "south/coadd/000/brick.fits", True),
        ("dr10/south/coadd/000/brick.fits", "south/coadd/000/brick.fits", True),
        ("south/coadd/000/brick.fits", "south/coadd/000/brick.fits", True),
        ("001/brick.fits", "south/coadd/000/brick.fits", False),
        ("k.fits", "south/coadd/000/brick.fits", False),
        ("other.fits", "south/coadd/000/brick.fits", False),
    ],
)
def test_names_are_relative_to_folder_or_root(tmp_path: Path, named: str, asked: str, found: bool) -> None:
    file = tmp_path / "list.sha256sum"
    file.write_text(f"{SHA256}  {named}\n")
    assert expected(file, asked) == (("sha256", SHA256) if found else None)


def test_the_longest_name_wins_and_an_ambiguous_one_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "list.md5"
    file.write_text(f"{'1' * 32}  b/x\n{'2' * 32}  x\n")
    assert expected(file, "a/b/x") == ("md5", "1" * 32)
    file.write_text(f"{'1' * 32}  dr9/a/x\n{'2' * 32}  dr10/a/x\n\n")
    assert expected(file, "a/x") is None


def test_a_list_that_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "list.md5"
    file.write_text(f"{MD5}  x\n")
    assert expected(file, "x")
    file.write_text(f"{MD5}  yy\n")
    assert expected(file, "x") is None


def test_binary_is_not_a_list(tmp_path: Path) -> None:
    file = tmp_path / "list.md5"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not text"):
        expected(file, "x")


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_is_a_list_or_an_error_and_never_leads_out(text: str) -> None:
    try:
        names = parse(text)
    except FormatError:
        return
    assert not any(name.startswith("/") or ".." in name.split("/") for name in names)


def test_a_list_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "sums.txt").write_text("Too many requests\n")
    with pytest.raises(FormatError, match=r"sums\.txt: Line 1 of the checksum list is not"):
        expected(tmp_path / "sums.txt", "a.fits")
