"""Attacks: files that blow up, names that lead elsewhere, servers that want what is not theirs. None gets through."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import logging
import os
import re
import struct
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pyarrow as pa
import pytest
import yaml
from astropy.io import fits

from mmu.archive import checksums, http, part, probe_fits, source
from mmu.archive.fetch import Fetcher
from mmu.archive.http import Patience
from mmu.archive.part import own_folder, read_json, safe_join
from mmu.archive.probe import probe
from mmu.archive.source import HttpSource
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.build.unit import read_unit, spool_file
from mmu.cli import _say
from mmu.decoding import decode
from mmu.errors import DownloadError, FormatError, MmuError, UsageError
from mmu.hdf5 import open_hdf5
from mmu.shards import card
from mmu.sky.partition import Partition
from mmu.survey import File, Login, Policy, get_survey
from surveys.gaia.ecsv import read_table
from surveys.legacysurvey.pictures import read_jpeg
from tests.archive.server import ANY, FREELY, QUICK, Archive, Fault, Faults, Handler, serving
from tests.build.toy import Toy, installed
from tests.reliability.conftest import Tally

BOMBS, ATTACKS = "Bombs refused", "Attacks refused"


def refused(tally: Tally, section: str, what: str, attack: Callable[[], object], said: str = ".") -> str:
    """The one sentence that an attack ends with."""
    with pytest.raises(MmuError, match=said) as caught:
        attack()
    words = str(caught.value)
    assert "\n" not in words
    tally(section, what, "refused: " + words.replace("|", "\\|")[:110])
    return words


# -- bombs ----------------------------------------------------------------------------------------------------------


def tiles(**cards: object) -> bytes:
    hdu = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "PB()", array=[np.zeros(9, np.uint8)])])
    hdu.header.update({"ZIMAGE": True, "ZBITPIX": -32, "ZNAXIS": 2, "ZNAXIS1": 100, "ZNAXIS2": 100, **cards})
    return b"".join((_primary(), hdu.header.tostring().encode(), bytes(2880)))


def _primary(**cards: object) -> bytes:
    header = fits.PrimaryHDU().header
    header.update(cards)
    return bytes(header.tostring().encode())


def million_cards() -> bytes:
    head = fits.PrimaryHDU().header.tostring(padding=False).encode()[:-80]
    return bytes((head + b"COMMENT x".ljust(80) * 1_000_000).ljust(28800 * 2880, b" "))


PROBED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "gzip 1000:1": ("a.csv.gz", lambda: gzip.compress(b"\0" * (64 << 20)), "at most 200:1"),
    "gzip in gzip members, 100 000 empty ones": ("a.csv.gz", lambda: gzip.compress(b"") * 100_000, "gzip streams"),
    "FITS in gzip, 1000:1": ("a.fits.gz", lambda: gzip.compress(_primary() + bytes(2880 << 13)), "at most 200:1"),
    "tile-compressed image of 40 GB in 9 kB": (
        "a.fits.fz",
        lambda: tiles(ZNAXIS1=100_000, ZNAXIS2=100_000),
        "unpacks to 40000000000",
    ),
    "tile of 40 GB in a small image": ("a.fits.fz", lambda: tiles(ZTILE1=100_000, ZTILE2=100_000), "unpacks to 400"),
    "compressed table of 10^18 bytes": (
        "a.fits.fz",
        lambda: tiles(ZIMAGE=False, ZTABLE=True, ZNAXIS1=10**9, ZNAXIS2=10**9),
        "unpacks to 10000",
    ),
    "FITS with NAXIS = 10^9": ("a.fits", lambda: _primary(NAXIS=10**9), "lacks sizes"),
    "FITS with axes of 10^18": ("a.fits", lambda: _primary(NAXIS=1, NAXIS1=10**18), "cut short"),
    "FITS with PCOUNT = -10^9": ("a.fits", lambda: tiles(PCOUNT=-(10**9)), "negative size"),
    "FITS with PCOUNT = 10^30": ("a.fits", lambda: tiles(PCOUNT=10**30), "cut short"),
    "FITS with TFIELDS = 10^9": ("a.fits", lambda: tiles(TFIELDS=10**9), "1000000000 columns"),
    "FITS header of 10^6 cards": ("a.fits", million_cards, "does not end"),
    "xz under its own name": ("a.csv.xz", lambda: b"\xfd7zXZ\0" * 99, "packed in a way"),
    "bzip2 under its own name": ("a.fits.bz2", lambda: b"BZh9" * 99, "packed in a way"),
    "zip under its own name": ("a.zip", lambda: b"PK\3\4" * 99, "packed in a way"),
}


@pytest.mark.parametrize("what", PROBED)
def test_files_that_blow_up_never_enter_the_cache(tmp_path: Path, tally: Tally, what: str) -> None:
    name, make, said = PROBED[what]
    (tmp_path / name).write_bytes(make())
    refused(tally, BOMBS, what, lambda: probe(tmp_path / name), said)


def test_a_mask_of_zeros_is_no_bomb(tmp_path: Path, tally: Tally) -> None:
    mask = fits.CompImageHDU(np.zeros((3600, 3600), np.int32), compression_type="GZIP_1", tile_shape=(3600, 3600))
    fits.HDUList([fits.PrimaryHDU(), mask]).writeto(tmp_path / "mask.fits.fz")
    (tmp_path / "mask.csv.gz").write_bytes(gzip.compress(bytes(8 << 20)))
    probe(tmp_path / "mask.fits.fz")
    probe(tmp_path / "mask.csv.gz", unpacked=8 << 20)
    refused(
        tally,
        BOMBS,
        "more than the survey declared",
        lambda: probe(tmp_path / "mask.fits.fz", unpacked=1 << 20),
        "1048576",
    )
    refused(
        tally,
        BOMBS,
        "more than the survey declared, gzip",
        lambda: probe(tmp_path / "mask.csv.gz", unpacked=4 << 20),
        "4194304",
    )


def test_sums_of_a_fits_file_are_errors(tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.arange(5000.0)).writeto(path, checksum=True)
    data = bytearray(path.read_bytes())
    data[20_000] ^= 1
    path.write_bytes(data)
    refused(tally, ATTACKS, "one flipped bit in FITS data without a list", lambda: probe(path), "DATASUM")
    monkeypatch.setattr(probe_fits, "_check_sums", Mock(side_effect=AssertionError))
    probe(path, listed=True)  # its list vouched for it: it is not summed again


def _opened(path: Path, most: int = 10 << 20) -> None:
    with open_hdf5(path, most) as file:
        file["x"][()]


def test_hdf5_declares_before_it_is_read(tmp_path: Path, tally: Tally) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10_000, 10_000), "f8", chunks=(100, 100), compression="gzip")
    assert path.stat().st_size < 8000
    refused(tally, BOMBS, "HDF5 declaring 800 MB in 7 kB", lambda: _opened(path), "800000000 bytes unpacked")


@pytest.mark.parametrize("way", ["external link", "soft link", "external raw storage", "virtual dataset"])
def test_hdf5_leads_nowhere_else(tmp_path: Path, tally: Tally, way: str) -> None:
    path, other = tmp_path / "a.hdf5", tmp_path / "other.hdf5"
    (tmp_path / "secret").write_bytes(b"password" * 8)
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(8.0)
    with h5py.File(path, "w") as file:
        if way == "external link":
            file["x"] = h5py.ExternalLink(str(other), "/x")
        elif way == "soft link":
            file["x"] = h5py.SoftLink("/elsewhere")
        elif way == "external raw storage":
            file.create_dataset("x", (64,), "u1", external=[(str(tmp_path / "secret"), 0, 64)])
        else:
            layout = h5py.VirtualLayout((8,), "f8")
            layout[:] = h5py.VirtualSource(str(other), "x", (8,))
            file.create_virtual_dataset("x", layout)
    refused(tally, ATTACKS, f"HDF5 {way} to another file", lambda: _opened(path), "the file is refused")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


def test_pictures_are_bounded_before_they_are_decoded(tmp_path: Path, tally: Tally) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    start = data.index(b"\xff\xc0") + 5
    for side in (12_000, 65_500):
        data[start : start + 4] = struct.pack(">HH", side, side)
        (tmp_path / "a.jpg").write_bytes(data)
        what = f"JPEG of {side} x {side} pixels in 1 kB"
        refused(tally, BOMBS, what, lambda: read_jpeg(tmp_path / "a.jpg", 3600), r"a\.jpg")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    for what, bad in {
        "PNG of 9000 x 9000 pixels in 1 kB": png(9000, 9000),
        "PNG of 10^9 x 10^9 pixels": png(10**9, 10**9),
        "PostScript as a picture": postscript,
    }.items():
        column = pa.table({"rgb": pa.array([{"bytes": bad, "path": None}])})
        refused(tally, BOMBS, what, lambda column=column: decode(column, pictures=True), "picture")  # type: ignore[misc]


def test_text_is_bounded(tmp_path: Path, tally: Tally) -> None:
    types = {"source_id": "int64", "ra": "double"}

    def gaia(text: bytes) -> Callable[[], object]:
        (tmp_path / "a.csv").write_bytes(text)
        return lambda: read_table(tmp_path / "a.csv", types)

    refused(tally, BOMBS, "ECSV header line without end", gaia(b"#" * (5 << 20)), "does not end")
    refused(tally, BOMBS, "CSV line without end", gaia(b"source_id,ra\n1," + b"1" * (40 << 20)), "not a gzipped Gaia")
    (tmp_path / "a.json").write_text("[" * 500_000)
    assert read_json(tmp_path / "a.json") == {}
    tally(BOMBS, "sidecar of 500 000 nested lists", "taken as unreadable: the file is fetched anew")


def test_checksum_lists_are_bounded(tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "MOST_BYTES", 100_000)
    (tmp_path / "list").write_text(f"{'a' * 32}  x\n" * 3000)
    refused(tally, BOMBS, "checksum list of gigabytes", lambda: checksums.expected(tmp_path / "list", "x"), "more than")
    line = f"{'a' * 32}  {'x' * 100_000}"
    refused(tally, BOMBS, "checksum list with a line without end", lambda: checksums.parse(line), "characters")


# -- names ----------------------------------------------------------------------------------------------------------

NAMES = [
    "../x", "a/../../x", "/etc/passwd", "//host/share", "C:x", "C:\\x", "C:/x", "..\\x", "a\\..\\..\\x", "\\\\host\\x",
    "a\0b", "a\nb", "a\x1b[31mb", "", ".", "..", "a//b", "a/./b", "a/", "\u202egpj.x", "a\u2028b", "~\0",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_paths_stay_below_their_root(tmp_path: Path, tally: Tally, name: str) -> None:
    refused(tally, ATTACKS, f"file name {name!r}", lambda: safe_join(tmp_path, name), "not a path inside an archive")


@pytest.mark.parametrize("name", ["%2e%2e/x", "..%2fx", "．．/x", "..;/x", "~root/x", "$HOME/x", "a" * 255, "COM1"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    assert tmp_path in safe_join(tmp_path, name).resolve().parents
    assert ".." not in HttpSource("https://x.org/").url(name).split("/")


@pytest.mark.parametrize("name", ["../x", "/x", "..\\x", "C:/x", "a/../../x", "x\0"])
def test_names_in_checksum_lists_lead_nowhere(tally: Tally, name: str) -> None:
    assert checksums.parse(f"{'a' * 32}  {name}\n") == {}
    tally(ATTACKS, f"{name!r} in a checksum list", "left out")


@contextmanager
def fetching(archive: Archive, cache: Path, patience: Patience = QUICK, **options: Any) -> Iterator[Fetcher]:
    with Fetcher(HttpSource(archive.url, patience, **options), cache, FREELY) as fetcher:
        yield fetcher


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "archive").mkdir()
    with serving(tmp_path / "archive") as archive:
        archive.add("a/x.txt", b"words")
        yield archive


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".hosts" not in p.parts}


def test_a_server_names_no_file(archive: Archive, tmp_path: Path, tally: Tally) -> None:
    evil = "attachment; filename=\"../../../evil\"; filename*=UTF-8''%2e%2e%2fevil"
    archive.fail("a/x.txt", Faults.body(lambda data: data, Content_Disposition=evil, Content_Location="/../evil"))
    with fetching(archive, tmp_path / "cache") as fetcher:
        assert fetcher.get(File("a/x.txt", 5)).local == tmp_path / "cache/a/x.txt"
    assert files_in(tmp_path / "cache") == {"a/x.txt", "a/x.txt.fetched.json"}
    assert not list(tmp_path.rglob("*evil*"))
    tally(ATTACKS, "Content-Disposition: ../../../evil", "not looked at")


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example.org/x",
        "//evil.example.org/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://me:pw@127.0.0.1/x",
        "http://127.0.0.1.evil.example.org/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1",
        "http://\x1b[31mevil/",
        "javascript:alert(1)",
    ],
)
def test_redirects_stay_with_the_archive(archive: Archive, tmp_path: Path, tally: Tally, location: str) -> None:
    archive.fail("a/x.txt", Faults.status(302, Location=location), lasting=True)
    # Some make the client wait for bytes that do not come: not long.
    with fetching(archive, tmp_path / "cache", dataclasses.replace(QUICK, read=1.0)) as fetcher:
        get = lambda: fetcher.get(File("a/x.txt", 5))  # noqa: E731
        refused(
            tally, ATTACKS, f"redirect to {location!r}", get, "not one of the archive's hosts|an address that is none"
        )
    assert files_in(tmp_path / "cache") == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content_Length", "\xb2"),
        ("Content_Length", "9" * 5000),
        ("Content_Range", f"bytes 0-{'9' * 5000}/*"),
        ("Retry_After", "\xb2"),
        ("Retry_After", "Mon, 01 Jan 0001 00:00:00 +2359"),
    ],
)
def test_odd_headers_are_a_sentence(archive: Archive, tmp_path: Path, tally: Tally, name: str, value: str) -> None:
    status = 503 if name == "Retry_After" else 206 if name == "Content_Range" else 200
    archive.fail("a/x.txt", Faults.status(status, b"", **{name: value}), lasting=True)
    # Some make the client wait for bytes that do not come: not long.
    with fetching(archive, tmp_path / "cache", dataclasses.replace(QUICK, read=1.0)) as fetcher:
        get = lambda: fetcher.get(File("a/x.fits" if status == 200 else "a/x.txt", 5))  # noqa: E731
        archive.fail("a/x.fits", Faults.status(status, b"", **{name: value}), lasting=True)
        refused(tally, ATTACKS, f"header {name.replace('_', '-')}: {value[:12]!r}", get)


def test_links_in_the_cache_are_not_written_through(archive: Archive, tmp_path: Path, tally: Tally) -> None:
    cache, victim = tmp_path / "cache", tmp_path / "victim"
    cache.mkdir()
    victim.mkdir()
    (victim / "file").write_text("precious")
    (cache / "a").symlink_to(victim)
    with fetching(archive, cache) as fetcher:
        words = "folder of the cache that is a link elsewhere"
        refused(tally, ATTACKS, words, lambda: fetcher.get(File("a/x.txt", 5)), "is a link to another place")
    (cache / "a").unlink()
    (cache / "a").mkdir()
    for suffix in ("", ".part", ".part.json", ".part.json.tmp", ".fetched.json", ".fetched.json.tmp", ".bad"):
        with fetching(archive, cache) as fetcher:
            (cache / f"a/x.txt{suffix}").symlink_to(victim / "file")
            assert fetcher.get(File("a/x.txt", 5)).local.read_bytes() == b"words"
            fetcher.discard("a/x.txt")
        assert (victim / "file").read_text() == "precious"
        assert files_in(cache) == set()
        tally(ATTACKS, f"x.txt{suffix} in the cache is a link elsewhere", "replaced, not written through")
    assert files_in(victim) == {"file"}


def test_a_resumed_part_is_not_a_link(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"wo")
    at = tmp_path / "x.part"
    part.write_json(tmp_path / "x.part.json", {"url": f"{archive.url}a/x.txt", "etag": '"1"', "total": 5})
    at.symlink_to(tmp_path / "victim")
    growing = part.Part(at, f"{archive.url}a/x.txt")
    growing.begin(part.Version(growing.url))
    growing.write(b"words")
    growing.close()
    assert (tmp_path / "victim").read_bytes() == b"wo"
    at.unlink()
    at.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        part.Part.begin(growing, part.Version("other"))


def test_the_folder_shared_by_processes_is_ours(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "hosts").symlink_to(tmp_path / "victim")
    refused(tally, ATTACKS, "link at the temporary folder", lambda: own_folder(tmp_path / "hosts"), "is a link")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused(tally, ATTACKS, "temporary folder that all may write", lambda: own_folder(tmp_path / "open"), "others may")
    assert own_folder(tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_names_that_are_too_long_are_a_sentence(archive: Archive, tmp_path: Path, tally: Tally) -> None:
    with fetching(archive, tmp_path / "cache") as fetcher:
        for name in ("x" * 300, "/".join(["x" * 200] * 30)):
            archive.fail(ANY, Faults.status(200, b"words"))
            what = f"file name of {len(name)} characters"
            refused(tally, ATTACKS, what, lambda name=name: fetcher.get(File(name, 5)), "cannot be kept")  # type: ignore[misc]


# -- names and words from catalogues --------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


UNITS = [
    "../../x",
    "/tmp/x",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "C:x",
    "a\0b",
    "x" * 500,
    "é" * 300,
    "a\nb",
    "%2e%2e%2fx",
    "~",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_one_file_of_the_spool(tmp_path: Path, tally: Tally, unit: str) -> None:
    (tmp_path / "data").write_text("o1,5")
    spool = tmp_path / "deep/down/spool"
    spool.mkdir(parents=True)
    rows = pa.table({"object_id": ["o1"], "ra": [10.0], "dec": [0.0]})
    leaves = [Partition(0, pixel) for pixel in range(12)]
    assert read_unit("toy", "v1", unit, {f"data/{unit}.csv": tmp_path / "data"}, rows, leaves, spool).rows == 1
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path != tmp_path / "data"]
    assert [path.parent.parent for path in made] == [spool]
    assert made[0].name == spool_file(unit)
    tally(ATTACKS, f"unit named {unit[:20]!r} in a catalogue", "one plain file of the spool")


def test_names_of_units_do_not_collide() -> None:
    names = [spool_file(unit) for unit in [*UNITS, "x" * 501, "a%2Fb", "a%5Cb"]]
    assert len(set(names)) == len(names)
    assert spool_file("10533-main-bright") == "10533-main-bright.arrow"


def test_a_build_of_a_hostile_catalogue_stays_in_its_folders(tmp_path: Path, tally: Tally) -> None:
    toy = Toy(tmp_path / "archive")
    evil = '../../<script>|`"\\: {x}\x1b[31m'
    toy.rows = [(evil if row[0] == "o1-3" else row[0], *row[1:3], "../../../u0" if row[3] == "u0" else row[3], row[4])
                for row in toy.rows if row[3] != "u5"]  # fmt: skip
    lines = [
        "object_id,ra,dec,unit,value",
        *(",".join('"' + str(v).replace('"', '""') + '"' for v in row) for row in toy.rows),
    ]
    (toy.folder / "catalogue.csv").write_text("\n".join(lines) + "\n")
    before = {path for path in tmp_path.rglob("*") if tmp_path / "out" not in path.parents}
    report = toy.build(tmp_path / "out")
    assert report.counts["failed"] == {"reading failed (UsageError)": 6}
    after = {path for path in tmp_path.rglob("*") if tmp_path / "out" not in path.parents} - {tmp_path / "out"}
    assert after == before
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not any("script" in name or "u0" in name for name in names)
    tally(ATTACKS, "catalogue with units ../../../u0 and ids of markup", "that unit fails, the rest is built")


def test_words_from_files_are_words_in_the_card(tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "bad | x |\n\n---\nlicense: evil\n<script>alert(1)</script> [a](javascript:1) `code`"
    table = card._counts({"read": 1, "cut": {evil: 1}, "selected": 0, "written": 0, "excluded": {}, "failed": {}})
    assert "<script>" not in table
    assert len(table.splitlines()) == 8
    assert "](javascript" not in table.replace("\\]", "")
    survey = dataclasses.replace(get_survey("toy"), title='x"\n---\nlicense: "evil', licence_id="a: [b")
    head = re.split(r"(?m)^---\n", card._card(survey, {}, [], {}))[1]
    assert yaml.safe_load(head)["license"] == "a: [b"
    tally(ATTACKS, "markup and YAML in reasons and titles of a card", "escaped")
    _say("evil \x1b]0;title\x07\x1b[31m \u202e words")
    assert not set(capsys.readouterr().err) & set("\x07\u202e")
    tally(ATTACKS, "terminal escapes in an archive's words", "not printed")


# -- credentials ----------------------------------------------------------------------------------------------------

USER, SECRET = "toy-user-7f3a", "correct-horse-Zauberwort-91"
SIGNED = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
LOGIN = Login("TOY_USER", "TOY_PASSWORD", "https://example.org/register")


@dataclasses.dataclass
class Guarded:
    """An archive that wants a password; `signed` are the requests that brought one."""

    archive: Archive
    signed: list[str] = dataclasses.field(repr=False)

    def wants(self, then: Fault | None = None) -> None:
        def answer(handler: Handler, data: bytes) -> None:
            given = handler.headers["Authorization"]
            if given is not None:
                self.signed.append(given)
            if given != f"Basic {SIGNED}":
                handler.reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
            elif then is not None:
                then(handler, data)
            elif (self.archive.folder / handler.path.lstrip("/")).is_file():
                handler.serve(data)
            else:
                handler.reply(404, b"")

        self.archive.heal()
        self.archive.fail(ANY, answer, lasting=True)


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """The toy's archive behind a password, with the temporary folder and all logging watched."""
    import toysurvey  # type: ignore[import-not-found]

    toy = Toy(tmp_path / "archive", units=2, per=3)
    monkeypatch.setattr(source, "Patience", lambda: QUICK)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv(LOGIN.user, USER)
    monkeypatch.setenv(LOGIN.password, SECRET)
    with serving(toy.folder) as archive:
        declared = dataclasses.replace(toysurvey.SURVEY, root=archive.url, login=LOGIN, policy=Policy(4, 1e4))
        monkeypatch.setattr(toysurvey, "SURVEY", declared)
        guarded = Guarded(archive, [])
        guarded.wants()
        yield guarded


def nowhere(tmp_path: Path, *texts: str) -> None:
    """The secret is in no file below `tmp_path` and in no text."""
    signs = (
        SECRET,
        SIGNED,
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        hashlib.md5(SECRET.encode()).hexdigest(),
    )
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert not any(sign.encode() in data for sign in signs), f"the secret is in {path}"
    for text in (*texts, Path("/proc/self/cmdline").read_text()):
        assert not any(sign in text for sign in signs), text[:2000]


def chain(problem: BaseException) -> str:
    """Everything that a traceback with the values of variables shows, of all exceptions that led to this one."""
    return "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format())


def spec(tmp_path: Path, **options: Any) -> BuildSpec:
    return BuildSpec("toy", tmp_path / "out", workers=0, keep_raw=True, **options)


def test_a_build_with_a_password_leaves_no_trace_of_it(
    guarded: Guarded, tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    report = build(spec(tmp_path))
    assert report.counts["written"] == 4
    assert set(guarded.signed) == {f"Basic {SIGNED}"}
    said = capfd.readouterr()
    assert "urllib3" in caplog.text + str({record.name for record in caplog.records})
    nowhere(tmp_path, caplog.text, said.out, said.err, repr(spec(tmp_path)))
    tally("Credentials kept", "a whole build behind Basic authentication", "in no file, log line or output")


FAILURES: dict[str, tuple[Fault | None, str]] = {
    "the password is refused": (None, "set TOY_USER and TOY_PASSWORD"),
    "banned (403)": (Faults.status(403), "refused access"),
    "server error": (Faults.status(500), "given up"),
    "hung up": (Faults.hangup(), "cannot be reached"),
    "cut in the middle": (Faults.cut(3), "given up"),
    "redirect to a foreign host": (Faults.status(302, Location="https://evil.example.org/x"), "not one of the archive"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_build_that_fails_tells_no_password(
    guarded: Guarded, tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str,
) -> None:  # fmt: skip
    fault, said = FAILURES[case]
    caplog.set_level(logging.DEBUG)
    if fault is None:
        monkeypatch.setenv(LOGIN.user, "somebody-else")
    guarded.wants(fault)
    with pytest.raises(MmuError, match=said) as caught:
        build(spec(tmp_path))
    _say(str(caught.value))
    output = capfd.readouterr()
    nowhere(tmp_path, chain(caught.value), caplog.text, output.out, output.err)
    tally("Credentials kept", case, "in no file, log line, output or traceback with variables")


def test_a_crash_tells_no_password(
    guarded: Guarded, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("crash")

    monkeypatch.setattr(http, "check_status", crash)
    with pytest.raises(RuntimeError) as caught:
        build(spec(tmp_path))
    nowhere(tmp_path, chain(caught.value))
    guarded.archive.release.set()
    tally("Credentials kept", "a crash in the middle of a download", "in no file or traceback with variables")


def test_a_host_that_is_not_there_is_told_no_password(guarded: Guarded, tmp_path: Path, tally: Tally) -> None:
    declared = get_survey("toy")
    import toysurvey

    toysurvey.SURVEY = dataclasses.replace(declared, root="http://127.0.0.1:9/")
    with pytest.raises(DownloadError) as caught:
        build(spec(tmp_path))
    nowhere(tmp_path, chain(caught.value))
    tally("Credentials kept", "connection refused", "in no file or traceback with variables")


def test_another_host_gets_the_request_but_not_the_password(guarded: Guarded, tmp_path: Path, tally: Tally) -> None:
    import toysurvey

    given: list[str | None] = []
    (tmp_path / "mirror").mkdir()
    with serving(guarded.archive.folder) as mirror:

        def answer(handler: Handler, data: bytes) -> None:
            given.append(handler.headers["Authorization"])
            handler.serve(data) if data else handler.reply(404, b"")

        mirror.fail(ANY, answer, lasting=True)
        guarded.wants(
            lambda handler, data: handler.reply(302, b"", {"Location": mirror.url + handler.path.lstrip("/")})
        )
        place = mirror.url.split("/")[2]
        toysurvey.SURVEY = dataclasses.replace(get_survey("toy"), hosts=(place,))
        assert build(spec(tmp_path)).counts["written"] == 4
    assert given
    assert set(given) == {None}
    assert guarded.signed
    nowhere(tmp_path)
    tally("Credentials kept", "redirect to another host of the archive", "followed without the password")


def test_a_mirror_is_given_no_password(guarded: Guarded, tmp_path: Path, tally: Tally) -> None:
    with serving(guarded.archive.folder) as mirror:
        assert build(spec(tmp_path, source=mirror.url)).counts["written"] == 4
    assert guarded.signed == []
    tally("Credentials kept", "--source with a mirror's URL", "the mirror is not sent the password")


def test_without_a_password_nothing_is_asked(guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOGIN.password)
    monkeypatch.setenv("MMU_CREDENTIALS", "/dev/null")
    with pytest.raises(UsageError, match="TOY_PASSWORD"):
        build(spec(tmp_path))
    assert guarded.archive.asked == []


def test_netrc_stays_unread_and_proxies_work(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "is_loopback", lambda host: False)  # as for a host on the internet
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    seen: list[str | None] = []

    def proxy(handler: Handler, data: bytes) -> None:
        seen.append(handler.headers["Authorization"])
        handler.reply(200, b"from the proxy")

    archive.fail(ANY, proxy, lasting=True)
    monkeypatch.setenv("http_proxy", archive.url)
    with Fetcher(HttpSource("http://127.0.0.1:9/", QUICK), tmp_path / "cache", FREELY) as fetcher:
        assert fetcher.get(File("y.txt", 5)).local.read_bytes() == b"from the proxy"
    assert seen == [None]
    assert os.environ["http_proxy"]


def test_errors_of_ours_are_what_bad_arrays_end_with(tmp_path: Path) -> None:
    """A pickled array under any of our formats' names is no data."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("a.fits", "a.hdf5", "a.png", "a.csv.gz"):
        (tmp_path / name).write_bytes((tmp_path / "a.npy").read_bytes())
        with pytest.raises(FormatError):
            probe(tmp_path / name)
