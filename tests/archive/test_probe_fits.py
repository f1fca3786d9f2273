"""The sums and bounds of FITS files: as Astropy writes them, as archives have them, and as attackers would."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu.archive import probe_fits
from mmu.archive.probe import probe
from mmu.archive.probe_fits import check_fits
from mmu.errors import FormatError

RANDOM = np.random.default_rng(5)


def summed(*hdus: Any) -> bytes:
    """A file with those HDUs, with both sums in every header."""
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out, checksum=True)
    return out.getvalue()


def check(data: bytes, **options: Any) -> None:
    check_fits(io.BytesIO(data), "a.fits", **options)


def table(rows: int) -> Any:
    lists = np.empty(rows, dtype=object)
    lists[:] = [RANDOM.normal(size=index % 7) for index in range(rows)]
    columns = [
        fits.Column("a", "J", array=np.arange(rows)),
        fits.Column("b", "7A", array=["text"] * rows),
        fits.Column("c", "PD()", array=lists),
    ]
    return fits.BinTableHDU.from_columns(columns)


def compressed(kind: str) -> Any:
    return fits.CompImageHDU(RANDOM.integers(0, 999, (37, 53)).astype(np.int32), compression_type=kind)


KINDS: dict[str, Callable[[], list[Any]]] = {
    "empty": lambda: [fits.PrimaryHDU()],
    "zeros": lambda: [fits.PrimaryHDU(np.zeros((30, 30)))],
    "all bits": lambda: [fits.PrimaryHDU(np.full((100, 99), 0xFF, np.uint8))],
    "table": lambda: [fits.PrimaryHDU(), table(101)],
    "rice": lambda: [fits.PrimaryHDU(), compressed("RICE_1")],
    "gzip": lambda: [fits.PrimaryHDU(), compressed("GZIP_2")],
    "hcompress": lambda: [fits.PrimaryHDU(), compressed("HCOMPRESS_1")],
    **{
        f"{length} bytes": lambda length=length: [fits.PrimaryHDU(RANDOM.integers(0, 256, length).astype(np.uint8))]  # type: ignore[misc]
        for length in (1, 2, 3, 2879, 2880, 2881, 1 << 20, (1 << 20) + 1, (3 << 20) + 5)
    },
}
GOOD = {kind: summed(*make()) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_astropy_sums_is_what_is_found(kind: str) -> None:
    check(GOOD[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bit_is_found(kind: str) -> None:
    """In data, padding, cards and the sums themselves."""
    data = GOOD[kind]
    for place in RANDOM.integers(0, len(data), 40).tolist():
        bad = bytearray(data)
        bad[place] ^= 1 << int(RANDOM.integers(0, 8))
        with pytest.raises(FormatError):
            check(bytes(bad))


def test_an_empty_sum_says_nothing_and_a_listed_file_is_not_summed() -> None:
    data = bytearray(GOOD["zeros"])
    data[3000] ^= 1
    with pytest.raises(FormatError, match=r"a\.fits is damaged: the data of HDU 0 sum to .*fetch it again"):
        check(bytes(data))
    check(bytes(data), listed=True)
    header = fits.PrimaryHDU(np.ones(5)).header
    header["DATASUM"] = header["CHECKSUM"] = ""
    check(summed_as_is(header, np.ones(5)))


def summed_as_is(header: Any, data: Any) -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(out)
    return out.getvalue()


def test_sums_copied_with_the_header_of_an_image_are_no_alarm() -> None:
    header = fits.Header.fromstring(GOOD["zeros"][:2880].decode())
    header["NAXIS"], header["DATASUM"] = 0, "522510080"
    del header["NAXIS1"], header["NAXIS2"]
    check(header.tostring().encode())


@pytest.mark.parametrize("card", ["DATASUM", "CHECKSUM"])
def test_either_sum_is_enough(card: str) -> None:
    with fits.open(io.BytesIO(GOOD["2881 bytes"])) as hdus:
        header, data = hdus[0].header, hdus[0].data
        del header["CHECKSUM" if card == "DATASUM" else "DATASUM"]
        raw = bytearray(header.tostring().encode() + data.tobytes() + bytes(2880 * 2 - 2881))
    if card == "DATASUM":
        check(bytes(raw))
    raw[4000] ^= 4
    with pytest.raises(FormatError, match=card):
        check(bytes(raw))


def test_real_files_raise_no_alarm(real_data: Path) -> None:
    seen = 0
    for path in sorted(real_data.rglob("*")):
        if path.name.endswith((".fits", ".fits.gz", ".fits.fz")):
            probe(path)
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            check(data)
            seen += data.count(b"CHECKSUM=")
    assert seen > 70


def bomb(**cards: object) -> bytes:
    """A table of a few bytes whose header says something else."""
    hdu = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "PB()", array=[np.zeros(9, np.uint8)])])
    for key, value in cards.items():
        hdu.header[key] = value
    out = io.BytesIO()
    fits.PrimaryHDU().writeto(out)
    return b"".join((out.getvalue(), hdu.header.tostring().encode(), bytes(2880)))


IMAGE = {"ZIMAGE": True, "ZBITPIX": -32, "ZNAXIS": 2, "ZNAXIS1": 100, "ZNAXIS2": 100}


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({**IMAGE, "ZNAXIS1": 100_000, "ZNAXIS2": 100_000}, "unpacks to 40000000000 bytes, more than the 268435456"),
        ({**IMAGE, "ZTILE1": 100_000, "ZTILE2": 100_000}, "unpacks to 40000000000 bytes"),
        ({**IMAGE, "ZNAXIS": 10**9}, "does not say how large it is"),
        ({**IMAGE, "ZNAXIS": -1}, "does not say how large it is"),
        ({**IMAGE, "ZNAXIS2": -100}, "negative size"),
        ({"ZIMAGE": True}, "does not say how large it is"),
        ({"ZTABLE": True, "ZNAXIS1": 1 << 30, "ZNAXIS2": 1 << 30}, "unpacks to"),
        ({"TFIELDS": 10**9}, "declares 1000000000 columns"),
        ({"NAXIS": 10**9}, "lacks sizes"),
        ({"NAXIS1": 10**18, "NAXIS2": 10**18}, "cut short"),
        ({"PCOUNT": 10**30}, "cut short"),
        ({"PCOUNT": -(10**6)}, "negative size"),
        ({"GCOUNT": -1}, "negative size"),
    ],
)
def test_what_a_small_file_may_declare_is_bounded(cards: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        check(bomb(**cards))


def test_a_plane_of_zeros_packs_as_well_as_it_likes() -> None:
    out = io.BytesIO()
    mask = fits.CompImageHDU(np.zeros((3600, 3600), np.int32), compression_type="GZIP_1", tile_shape=(3600, 3600))
    fits.HDUList([fits.PrimaryHDU(), mask]).writeto(out)
    assert 800 * len(out.getvalue()) < 3600 * 3600 * 4
    check(out.getvalue())
    with pytest.raises(FormatError, match="more than the 1000000 allowed"):
        check(out.getvalue(), unpacked=1_000_000)


def test_many_images_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_fits, "MAX_BYTES", 100_000)
    one = bomb(**IMAGE)
    with pytest.raises(FormatError, match="declares 120000 bytes unpacked, at most 100000"):
        check(one + one[2880:] * 2)


def test_a_header_of_a_million_cards_is_refused() -> None:
    data = fits.PrimaryHDU().header.tostring(padding=False).encode()[:-80]
    with pytest.raises(FormatError, match="does not end"):
        check((data + b"COMMENT x".ljust(80) * 1_000_000).ljust(28800 * 2880, b" "))


@settings(deadline=None, derandomize=True)
@given(place=st.integers(0, 40_000), data=st.binary(min_size=1, max_size=90), kind=st.sampled_from(["table", "rice"]))
def test_any_bytes_are_good_or_an_error_of_ours(place: int, data: bytes, kind: str) -> None:
    good = GOOD[kind]
    at = place % len(good)
    with suppress(FormatError):
        check(good[:at] + data + good[at + len(data) :])
