"""Passwords: where they come from, who gets them, and that they show nowhere."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import traceback
from pathlib import Path

import pytest
import requests

from mmu.archive.credentials import Credentials, HostAuth, find_credentials
from mmu.errors import UsageError
from mmu.survey import Login

SECRET = "s3cret-Zauberwort"
LOGIN = Login("TOY_USER", "TOY_PASSWORD", "https://example.org/register")
TABLE = f'[toy]\nuser = "me"\npassword = "{SECRET}"\n[other]\nuser = "x"\n'


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of the person who runs the tests."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("MMU_CREDENTIALS", LOGIN.user, LOGIN.password):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".config/mmu/credentials.toml"
    path.parent.mkdir(parents=True)
    path.write_text(TABLE)
    path.chmod(0o600)
    return path


def told(survey: str = "toy") -> str:
    """The sentence that no credentials give, which holds no secret, nor do the frames behind it."""
    with pytest.raises(UsageError) as caught:
        find_credentials(survey, LOGIN)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert SECRET not in "".join(frames)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_environment_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOGIN.user, "you")
    monkeypatch.setenv(LOGIN.password, "pw")
    assert base64.b64decode(find_credentials("toy", LOGIN).basic.encode()[6:]) == b"you:pw"


def test_then_the_file(file: Path) -> None:
    assert base64.b64decode(find_credentials("toy", LOGIN).basic.encode()[6:]) == f"me:{SECRET}".encode()


def test_the_file_may_be_elsewhere(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.rename(tmp_path / "mine.toml")
    monkeypatch.setenv("MMU_CREDENTIALS", str(tmp_path / "mine.toml"))
    assert find_credentials("toy", LOGIN)
    monkeypatch.setenv("MMU_CREDENTIALS", str(tmp_path / "none.toml"))
    assert "does not exist" in told()


def test_without_any_it_is_one_sentence_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ("TOY_USER", "TOY_PASSWORD", "credentials.toml", "mode 600", "https://example.org/register"):
        assert words in told()
    monkeypatch.setenv(LOGIN.password, SECRET)
    assert "TOY_USER" in told()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660, 0o700, 0o400, 0o000, 0o666])
def test_a_file_of_any_other_mode_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"has mode {mode:03o}" in told() or "cannot be read" in told()


def test_a_file_of_somebody_else_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert "belongs to another user" in told()


def test_a_pipe_is_no_file_and_does_not_hang(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)
    assert "not a plain file" in told()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"password = {SECRET}", "not a TOML file"),
        (f'[toy]\nuser = 5\npassword = "{SECRET}"', "lacks a user or a password"),
        (f'[toy]\npassword = "{SECRET}"', "lacks a user or a password"),
        (f'toy = "{SECRET}"', "lacks a user or a password"),
        (f'[elsewhere]\nuser = "me"\npassword = "{SECRET}"', "wants an account"),
        (f'[toy]\nuser = "a:b"\npassword = "{SECRET}"', "cannot be sent"),
        (f'[toy]\nuser = "a"\npassword = "{SECRET}\\r\\nX-Evil: 1"', "cannot be sent"),
        ("[" * 50_000 + SECRET, "not a TOML file"),
    ],
)
def test_a_bad_file_is_one_sentence_without_its_content(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    assert said in told()


def test_a_secret_does_not_print_nor_travel() -> None:
    credentials = Credentials("me", SECRET)
    for thing in (credentials, credentials.password, credentials.basic, [credentials.basic], {"a": credentials.basic}):
        assert SECRET not in f"{thing}{thing!r}{thing!s}" + "%s %r" % (thing, thing)  # noqa: UP031
        with pytest.raises(TypeError, match="stay"):
            pickle.dumps(thing)
    with pytest.raises(TypeError):
        copy.deepcopy(credentials)


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://data.example.org/a", True),
        ("https://data.example.org:443/a", True),
        ("https://DATA.example.org/a", True),
        ("http://data.example.org/a", False),
        ("https://data.example.org:444/a", False),
        ("https://example.org/a", False),
        ("https://data.example.org.evil.org/a", False),
        ("https://evil.org/data.example.org", False),
        ("https://data.example.org@evil.org/", False),
        ("https://evil.org#@data.example.org/", False),
    ],
)
def test_one_host_alone_is_signed_to(url: str, signed: bool) -> None:
    session = requests.Session()
    session.auth = HostAuth("https://data.example.org/root", Credentials("me", SECRET))
    request = session.prepare_request(requests.Request("GET", url))
    assert ("Authorization" in request.headers) == signed
    assert SECRET not in repr(request.headers)


def test_netrc_is_never_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine data.example.org login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    plain = requests.Session().prepare_request(requests.Request("GET", "https://data.example.org/a"))
    assert "Authorization" in plain.headers
    session = requests.Session()
    session.auth = HostAuth("https://data.example.org/root")
    assert "Authorization" not in session.prepare_request(requests.Request("GET", "https://data.example.org/a")).headers
