"""How archives fail (F1 to F28): one row for each variant, injected into a build of a small simulated archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from astropy.io import fits

from mmu.archive.http import Patience
from mmu.archive.part import sibling
from tests.archive.server import ANY, QUICK, Fault, Faults, Handler, etag
from tests.reliability.world import (
    COADD,
    COADD_2,
    PIXELS,
    RANGES,
    REDROCK,
    SOURCE,
    SOURCE_LIST,
    TILES,
    UNIT,
    UNIT_2,
    XP,
    XP_2,
    XP_LIST,
    World,
)

PAGE = b"<!DOCTYPE html>\n<html><head><title>503</title></head><body>The archive is being maintained.</body></html>"
FAR = "Wed, 21 Oct 2015 07:28:00 GMT"
IMPATIENT = replace(QUICK, attempts=10, read=0.2, slow_rate=1e4, slow_window=0.2)

KINDS = {
    "F1": "503/502/504 burst, maintenance for days",
    "F2": "error page with 200, or the body of an error saved",
    "F3": "connection cut at byte k",
    "F4": "Range ignored",
    "F5": "wrong Content-Range, or 416",
    "F6": "junk in a local partial file",
    "F7": "no Content-Length",
    "F8": "Content-Length lies",
    "F9": "same length, other bytes",
    "F10": "truncated FITS",
    "F11": "404 for a listed file",
    "F12": "moved URL",
    "F13": "checksum list missing, stale, with extra rows, relative to another folder",
    "F14": "file replaced in the middle",
    "F15": "401/403",
    "F16": "429 or quota",
    "F17": "silent truncation by a query service",
    "F18": "200 with a valid but empty product",
    "F19": "HDU or band missing in a good file",
    "F20": "NaN, inf, 1e20 pixels, zero ivar",
    "F21": "tar stream cut in the middle",
    "F22": "disk full, read-only, quota",
    "F23": "two processes building the same output",
    "F24": "stalled or dripping socket",
    "F25": "no name service, firewall",
    "F26": "worker dies, task runs twice",
    "F27": "renamed column read as no match",
    "F28": "listing hides symbolic links",
}
"""The fault matrix."""
ELSEWHERE = {"F22", "F23", "F26"}
"""Faults of this machine rather than of an archive: tests/reliability/test_breakage.py."""


GROUP = f"{PIXELS[0]:05d}"
"""The catalogue that lists the first of DESI's units."""


@dataclass(frozen=True)
class Row:
    """One variant of a fault.

    Attributes:
        spoil: does it to the archive (or the cache).
        said: what the error says, or "" where the build survives it.
        unit: the unit the ledger blames; "" where the build ends with the error.
        requests: at most so many reach the archive.
    """

    fault: str
    what: str
    survey: str
    spoil: Callable[[World], object]
    said: str = ""
    unit: str = ""
    patience: Patience = QUICK
    requests: int | None = None

    def __str__(self) -> str:
        return f"{self.fault} {self.what}"


def answers(path: str, *faults: Fault) -> Callable[[World], None]:
    """The next requests for a file get these answers."""
    return lambda world: world.archive.fail(path, *faults)


def always(path: str, fault: Fault) -> Callable[[World], None]:
    """Every request for a file gets this answer."""
    return lambda world: world.archive.fail(path, fault, lasting=True)


def changed(path: str, change: Callable[[bytes], bytes], listed: str = "") -> Callable[[World], None]:
    """The archive has another file, listed with its own checksum if there is a list."""

    def spoil(world: World) -> None:
        old = world.archive.read(path)
        new = world.archive.add(path, change(old))
        if listed:
            text = world.archive.read(listed).replace(md5(old), md5(new))
            world.archive.add(listed, text)

    return spoil


def removed(*paths: str) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        for path in paths:
            (world.archive.folder / path).unlink()

    return spoil


def every(*spoils: Callable[[World], object]) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        for one in spoils:
            one(world)

    return spoil


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).hexdigest().encode()


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def first(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:size]


def lines(change: Callable[[str, str], str], path: str = XP_LIST) -> Callable[[World], None]:
    """The archive's list with each line (digest, name) written another way."""

    def rewrite(data: bytes) -> bytes:
        return "".join(change(*line.split()) + "\n" for line in data.decode().splitlines()).encode()

    return changed(path, rewrite)


def fits_with(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    """A FITS file with its HDU list changed."""

    def rewrite(data: bytes) -> bytes:
        with fits.open(io.BytesIO(data)) as hdus:
            copy = fits.HDUList([hdu.copy() for hdu in hdus])
            change(copy)
            out = io.BytesIO()
            copy.writeto(out)
        return out.getvalue()

    return rewrite


def without(*names: str) -> Callable[[bytes], bytes]:
    def drop(hdus: Any) -> None:
        for name in names:
            del hdus[name]

    return fits_with(drop)


def rows_dropped(keep: slice, *tables: str) -> Callable[[bytes], bytes]:
    """Tables that list fewer objects than they should."""

    def drop(hdus: Any) -> None:
        for name in tables:
            hdus[name].data = hdus[name].data[keep]

    return fits_with(drop)


def ends_before(name: str) -> Callable[[bytes], bytes]:
    """The file cut exactly where an HDU begins: every HDU before it is whole."""

    def cut(data: bytes) -> bytes:
        with fits.open(io.BytesIO(data)) as hdus:
            return data[: hdus[name].fileinfo()["hdrLoc"]]

    return cut


def renamed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """A column called otherwise, everywhere it stands as a FITS card's value."""
    return lambda data: data.replace(b"'" + old + b"'", b"'" + new + b"'")


def unzipped(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(change(gzip.decompress(data)), mtime=0)


def partial_file(path: str, junk: Callable[[bytes], bytes], described: bool = True) -> Callable[[World], None]:
    """A partial download of an earlier run lies in the cache, and what is in it is not the file's start."""

    def spoil(world: World) -> None:
        data = world.archive.read(path)
        part = sibling(world.cached / path, ".part")
        part.parent.mkdir(parents=True)
        part.write_bytes(junk(data))
        version = {"url": world.archive.url + path, "etag": etag(data), "modified": "", "total": len(data)}
        if described:
            sibling(part, ".json").write_text(json.dumps(version))

    return spoil


def shorter(path: str, at: int, end: int) -> Fault:
    """An answer to a range that stops early, and says so."""

    def answer(handler: Handler, data: bytes) -> None:
        handler.reply(206, data[at:end], {"Content-Range": f"bytes {at}-{end - 1}/{len(data)}"}, tag=data)

    return answer


def soon() -> Fault:
    """429 with the moment to come back as a date."""

    def answer(handler: Handler, data: bytes) -> None:
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        handler.reply(429, b"slow down", {"Retry-After": moment})

    return answer


def moved(world: World) -> None:
    """The files stand elsewhere on the same host, and the old addresses say so."""
    for path in (COADD, REDROCK):
        world.archive.add("moved/" + path, world.archive.read(path))
        world.archive.fail(path, Faults.status(301, Location="/moved/" + path), lasting=True)


def gone_abroad(world: World) -> None:
    """The same server under a name that is not the archive's."""
    abroad = world.archive.url.replace("127.0.0.1", "localhost")
    world.archive.fail(COADD, Faults.status(302, Location=f"{abroad}elsewhere/coadd.fits"), lasting=True)


def replaced(path: str, old: Callable[[bytes], bytes], at: int, listed: str = "") -> Callable[[World], None]:
    """The archive has an older version, and puts the right one in its place while the old one is being sent."""

    def spoil(world: World) -> None:
        true, true_list = world.archive.read(path), world.archive.read(listed) if listed else b""
        changed(path, old, listed)(world)

        def answer(handler: Handler, data: bytes) -> None:
            if listed:
                world.archive.add(listed, true_list)
            Faults.replace(path, true, at)(handler, data)

        world.archive.fail(path, answer)

    return spoil


_CUTS = [0, 1, 79, 2879, 2880, 2881, 1_000_000, 5_967_359]
_UNANSWERED = "given up after"
_REFUSED = r"refused access \(HTTP {}\).*{}"

ROWS = [
    # F1
    Row("F1", "503, 502, 504 one after the other", "desi",
        answers(COADD, *(Faults.status(code) for code in (503, 502, 504)))),
    Row("F1", "503 with Retry-After to the first request", "gaia",
        answers(SOURCE_LIST, Faults.status(503, Retry_After="100"))),
    Row("F1", "503 with an error page", "desi", answers(TILES, Faults.status(503, PAGE, Content_Type="text/html"))),
    Row("F1", "one file that answers 500 for ever", "desi", always(COADD, Faults.status(500)), "HTTP 500", UNIT),
    Row("F1", "maintenance: 503 to every request", "gaia", always(ANY, Faults.status(503, Retry_After="3600")),
        r"HTTP 503.*Run again", requests=4),
    Row("F1", "maintenance that begins after the plan", "desi",
        every(*(always(path, Faults.status(503)) for path in (COADD, COADD_2))), "HTTP 503.*Run again"),
    # F2
    Row("F2", "a page as text/html with 200", "desi",
        answers(COADD, Faults.body(lambda _: PAGE, Content_Type="text/html"))),
    Row("F2", "a page as application/fits with 200", "desi",
        answers(COADD, Faults.body(lambda _: PAGE, Content_Type="application/fits"))),
    Row("F2", "a gzipped page with 200", "gaia", answers(SOURCE, Faults.body(lambda _: gzip.compress(PAGE)))),
    Row("F2", "a page in place of a checksum list", "gaia", answers(XP_LIST, Faults.body(lambda _: PAGE))),
    Row("F2", "plain words as text/html in place of a catalogue", "desi",
        answers(TILES, Faults.body(lambda _: b"Please log in", Content_Type="text/html"))),
    Row("F2", "a page with 200 every time", "desi", always(COADD, Faults.body(lambda _: PAGE)), "web page", UNIT),
    Row("F2", "a page with 404", "desi", always(COADD, Faults.status(404, PAGE, Content_Type="text/html")),
        "no such file", UNIT),
    Row("F2", "a page with 500", "desi", answers(COADD, Faults.status(500, PAGE, Content_Type="text/html"))),
    # F3
    *(Row("F3", f"cut at byte {at:,}", "desi", answers(COADD, Faults.cut(at))) for at in _CUTS),
    Row("F3", "cut at byte 20,000 of a gzip file", "gaia", answers(XP, Faults.cut(20_000))),
    Row("F3", "cut at byte 10 of a checksum list", "gaia", answers(SOURCE_LIST, Faults.cut(10))),
    Row("F3", "hung up without an answer", "desi", answers(COADD, Faults.hangup(), Faults.hangup())),
    Row("F3", "cut at every million bytes", "desi", answers(COADD, *[Faults.cut(1_000_000)] * 5)),
    Row("F3", "cut, and no ETag to resume by", "desi",
        every(answers(COADD, Faults.cut(70_000)), lambda world: setattr(world.archive, "etags", False))),
    # F4, F5
    Row("F4", "cut, then Range ignored", "desi", answers(COADD, Faults.cut(70_000), Faults.whole())),
    Row("F4", "cut, then Range ignored, twice", "gaia",
        answers(XP, Faults.cut(20_000), Faults.whole(), Faults.cut(30_000), Faults.whole())),
    *(Row("F5", what, "desi", answers(COADD, Faults.cut(70_000), answer)) for what, answer in {
        "the part starts 5000 bytes early and says so": Faults.partial("bytes {start}-{last}/{total}", shift=-5000),
        "Content-Range from 0": Faults.partial("bytes 0-{last}/{total}"),
        "Content-Range of another length": Faults.partial("bytes {start}-{last}/99"),
        "Content-Range that is none": Faults.partial("nonsense"),
        "a part that ends early": shorter(COADD, 70_000, 80_000),
        "416": Faults.status(416),
        "206 without a part": Faults.status(206),
    }.items()),
    Row("F5", "206 to a request for the whole", "gaia", answers(XP, Faults.status(206))),
    # F6
    Row("F6", "a page as the partial file", "desi", partial_file(COADD, lambda _: PAGE)),
    Row("F6", "a page before the right bytes", "desi", partial_file(COADD, lambda data: PAGE + data[:100_000])),
    Row("F6", "other bytes in the middle", "gaia", partial_file(XP, lambda data: flipped(5000)(data[:50_000]))),
    Row("F6", "zeros of a lost write", "gaia", partial_file(XP, lambda data: data[:9000] + bytes(20_000))),
    Row("F6", "longer than the file", "desi", partial_file(COADD, lambda data: data + PAGE)),
    Row("F6", "as long as the file, and other bytes", "gaia", partial_file(XP, flipped(5000))),
    Row("F6", "of unknown origin", "desi", partial_file(COADD, lambda data: flipped(9000)(data[:50_000]), False)),
    # F7, F8
    Row("F7", "the file whole", "desi", answers(COADD, Faults.unsized())),
    Row("F7", "cut at a FITS block", "desi", answers(COADD, Faults.unsized(2880 * 20))),
    Row("F7", "cut in a gzip file", "gaia", answers(XP, Faults.unsized(20_000))),
    Row("F7", "chunked, whole", "desi", answers(COADD, Faults.chunked())),
    Row("F7", "chunked, cut inside a chunk", "desi", answers(COADD, Faults.chunked(100_000))),
    Row("F7", "chunked, cut between chunks", "gaia", answers(XP, Faults.chunked(65536 + 9))),
    Row("F7", "an empty end instead of the file", "desi", answers(COADD, Faults.chunked(0))),
    *(Row("F8", f"{abs(lie)} bytes too {'long' if lie > 0 else 'short'}", "desi", answers(COADD, Faults.length(lie)))
      for lie in (-2880, -1, 1, 2880)),
    Row("F8", "100 bytes too short, gzip", "gaia", answers(XP, Faults.length(-100))),
    Row("F8", "2880 bytes too short every time", "desi", always(COADD, Faults.length(-2880)), "cut short", UNIT),
    Row("F8", "one byte too long every time", "desi", always(COADD, Faults.length(1)), "connection was cut", UNIT),
    # F9, F10
    Row("F9", "once, the archive has a list", "gaia", answers(XP, Faults.body(flipped(5000)))),
    Row("F9", "in the gzip header, the archive has a list", "gaia", answers(SOURCE, Faults.body(flipped(4)))),
    Row("F9", "every time, the archive has a list", "gaia", always(XP, Faults.body(flipped(4))), r"its md5 is .*list",
        RANGES[0]),
    Row("F9", "in the data, FITS with checksums", "desi", answers(COADD_2, Faults.body(flipped(3_000_000)))),
    Row("F9", "in a header, FITS with checksums", "desi", answers(COADD_2, Faults.body(flipped(75)))),
    Row("F9", "in the data every time, FITS with checksums", "desi",
        always(COADD_2, Faults.body(flipped(3_000_000))), "damaged.*DATASUM", UNIT_2),
    Row("F10", "inside an HDU", "desi", answers(COADD, Faults.body(first(2880 * 100)))),
    Row("F10", "not at a block", "desi", answers(COADD, Faults.body(first(1_000_003)))),
    Row("F10", "inside an HDU, every time", "desi", always(COADD, Faults.body(first(2880 * 100))), "cut short", UNIT),
    Row("F10", "between HDUs, every time", "desi", changed(COADD, ends_before("Z_WAVELENGTH")), "SCORES", UNIT),
    Row("F10", "before the last HDU, which is not read", "desi", changed(COADD, ends_before("SCORES"))),
    Row("F10", "a catalogue file between HDUs", "desi", changed(REDROCK, ends_before("TSNR2")), "no HDU TSNR2", GROUP),
    Row("F10", "a gzip stream that ends early", "gaia", answers(XP, Faults.body(first(40_000)))),
    # F11, F12
    Row("F11", "a required file", "desi", removed(COADD), "no such file", UNIT),
    Row("F11", "a required file, 410", "desi", always(COADD, Faults.status(410)), "no such file", UNIT),
    Row("F11", "a catalogue file", "gaia", removed(SOURCE), "absent upstream", RANGES[0]),
    Row("F12", "moved within the host", "desi", moved),
    Row("F12", "redirected to another host", "desi", gone_abroad, "redirects .* not one of the archive's hosts", UNIT),
    Row("F12", "redirected in a circle", "desi", always(COADD, Faults.status(302, Location="/" + COADD)),
        "redirects", UNIT),
    Row("F12", "redirected to a login page", "gaia", every(
        lambda world: world.archive.add("login.html", b"Please log in"),
        always("login.html", Faults.body(lambda _: b"Please log in", Content_Type="text/html")),
        answers(SOURCE_LIST, Faults.status(302, Location="/login.html")))),
    # F13
    Row("F13", "a list that is not there", "gaia", removed(XP_LIST), "no such file"),
    Row("F13", "names with a '*'", "gaia", lines(lambda digest, name: f"{digest} *{name}")),
    Row("F13", "names from the archive's root", "gaia",
        lines(lambda digest, name: f"{digest}  {XP.rpartition('/')[0]}/{name}")),
    Row("F13", "names from above the archive's root", "gaia",
        lines(lambda digest, name: f"{digest}  Gaia/gdr3/{XP.rpartition('/')[0]}/{name}")),
    Row("F13", "names with './'", "gaia", lines(lambda digest, name: f"{digest}  ./{name}")),
    Row("F13", "lines as BSD writes them", "gaia", lines(lambda digest, name: f"MD5 ({name}) = {digest}")),
    Row("F13", "digests in capitals, lines ending in CR LF", "gaia",
        lines(lambda digest, name: f"{digest.upper()}  {name}\r")),
    Row("F13", "more rows than files", "gaia",
        lines(lambda digest, name: f"{digest}  {name}\n{'0' * 32}  {name}.old\n{'1' * 32}  readme.txt")),
    Row("F13", "rows with '..' and absolute names", "gaia",
        lines(lambda digest, name: f"{digest}  {name}\n{'0' * 32}  ../../{name}\n{'1' * 32}  /etc/{name}")),
    Row("F13", "a file that the list lacks", "gaia", changed(XP_LIST, lambda data: data.splitlines(True)[0])),
    Row("F13", "a stale list", "gaia", lines(lambda digest, name: f"{'0' * 32}  {name}"), r"its md5 is .*list"),
    Row("F13", "a list that contradicts itself", "gaia",
        lines(lambda digest, name: f"{digest}  {name}\n{'0' * 32}  {name}"), "two different digests"),
    Row("F13", "a list that is none", "gaia", changed(XP_LIST, lambda _: b"no sums today\n"), "not `HEX  NAME`"),
    # F14
    Row("F14", "at byte 1,000,000", "desi", replaced(COADD, flipped(3_000_000), 1_000_000)),
    Row("F14", "by a longer one", "desi", replaced(COADD, first(2880 * 1500), 2880 * 1000)),
    Row("F14", "with its checksum list", "gaia", replaced(XP, flipped(100_000 // 2), 20_000, XP_LIST)),
    # F15
    Row("F15", "401 with WWW-Authenticate", "desi", always(ANY, Faults.status(401, WWW_Authenticate="Basic")),
        _REFUSED.format(401, "credentials"), requests=1),
    Row("F15", "401 without", "gaia", always(ANY, Faults.status(401)), _REFUSED.format(401, "credentials"), requests=1),
    Row("F15", "403 with WWW-Authenticate", "gaia", always(ANY, Faults.status(403, WWW_Authenticate="Basic")),
        _REFUSED.format(403, "credentials"), requests=1),
    Row("F15", "403 without", "desi", always(ANY, Faults.status(403)), _REFUSED.format(403, "ban"), requests=1),
    Row("F15", "403 in the middle of a build", "desi", always(COADD, Faults.status(403)), _REFUSED.format(403, "ban")),
    # F16
    Row("F16", "429 with seconds", "desi", answers(COADD, Faults.status(429, Retry_After="100"))),
    Row("F16", "429 with a date", "gaia", answers(XP, soon())),
    Row("F16", "429 with a date that is past", "gaia", answers(XP, Faults.status(429, Retry_After=FAR))),
    Row("F16", "429 without a time", "desi", answers(REDROCK, Faults.status(429), Faults.status(429))),
    Row("F16", "429 to every request", "gaia", always(ANY, Faults.status(429, Retry_After="3600")),
        "HTTP 429.*Run again"),
    # F18, F19
    Row("F18", "0 bytes", "desi", answers(COADD, Faults.body(lambda _: b""))),
    Row("F18", "0 bytes every time", "desi", always(COADD, Faults.body(lambda _: b"")), "empty", UNIT),
    Row("F18", "FITS with no data", "desi", changed(COADD, lambda data: data[:2880]), "no HDU", UNIT),
    Row("F18", "a catalogue in FITS with no data", "desi", changed(REDROCK, ends_before("REDSHIFTS")), "no HDU", GROUP),
    Row("F18", "a catalogue without rows", "desi",
        changed(REDROCK, rows_dropped(slice(0), "REDSHIFTS", "FIBERMAP", "TSNR2")), "lists no", GROUP),
    Row("F18", "a list of pixels without rows", "desi", changed(TILES, rows_dropped(slice(0), "TILEPIX")), "lists no"),
    Row("F18", "a list of files without files", "gaia", changed(SOURCE_LIST, lambda _: b"# none\n"), "does not list"),
    Row("F19", "a plane of one arm", "desi", changed(COADD, without("R_IVAR")), "no HDU R_IVAR", UNIT),
    Row("F19", "the table of fibres", "desi", changed(COADD, without("FIBERMAP")), "no HDU FIBERMAP", UNIT),
    # F24
    Row("F24", "stalled at byte 70,000", "desi", answers(COADD, Faults.stall(70_000)), patience=IMPATIENT),
    Row("F24", "stalled before the first byte", "gaia", answers(XP, Faults.stall(0)), patience=IMPATIENT),
    Row("F24", "one byte at a time", "gaia", answers(XP_2, Faults.drip()), patience=IMPATIENT),
    Row("F24", "stalled every time", "desi", always(COADD, Faults.stall(0)), "no answer in time", UNIT,
        patience=IMPATIENT),
    # F27
    Row("F27", "in a catalogue in FITS", "desi", changed(REDROCK, renamed(b"ZWARN   ", b"ZWARNING")),
        "no column ZWARN", GROUP),
    Row("F27", "in a catalogue in CSV, correctly listed", "gaia",
        changed(SOURCE, unzipped(lambda text: text.replace(b"source_id,", b"SOURCE,", 1)), SOURCE_LIST), "source_id",
        RANGES[0]),
    Row("F27", "in a data file", "desi", changed(COADD, renamed(b"TARGETID", b"TARGET_I")), "no column TARGETID", UNIT),
    Row("F27", "in the list of pixels", "desi", changed(TILES, renamed(b"HEALPIX ", b"PIXEL   ")), "HEALPIX"),
]  # fmt: skip

__all__ = ["ELSEWHERE", "KINDS", "ROWS", "Row"]
