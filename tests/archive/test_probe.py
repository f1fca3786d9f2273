"""Files that are not what their names say, are cut short or damaged, or would unpack to something absurd."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmu.archive import probe as module
from mmu.archive import probe_fits
from mmu.archive.probe import probe
from mmu.errors import FormatError

PAGE = b"\n  <!DOCTYPE html>\n<html><body>503</body></html>"


def made(kind: str) -> bytes:
    """A good small file of each kind."""
    out = io.BytesIO()
    if kind in ("fits", "fz", "fits.gz"):
        table = fits.BinTableHDU.from_columns([fits.Column("a", "PE()", array=np.array([[1.0], [2, 3]], dtype=object))])
        image = fits.CompImageHDU(np.arange(10_000, dtype=np.int16).reshape(100, 100))
        fits.HDUList([fits.PrimaryHDU(np.zeros((3, 5))), image, table, fits.ImageHDU(np.zeros((60, 60)))]).writeto(out)
        return gzip.compress(out.getvalue()) if kind.endswith("gz") else out.getvalue()
    if kind in ("jpg", "png"):
        Image.new("RGB", (9, 7)).save(out, "JPEG" if kind == "jpg" else "PNG")
    elif kind == "hdf5":
        with h5py.File(out, "w") as file:
            file["x"] = np.arange(1000)
    elif kind == "latest.hdf5":
        with h5py.File(out, "w", libver="latest") as file:
            file["x"] = np.arange(1000)
    elif kind == "csv.gz":
        out.write(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    else:
        out.write(b"a,b\n1,2\n")
    return out.getvalue()


KINDS = ["fits", "fz", "fits.gz", "jpg", "png", "hdf5", "latest.hdf5", "csv.gz", "csv", "txt", "dat"]
FRAMED = [kind for kind in KINDS if kind not in ("csv", "txt", "dat")]


def check(folder: Path, name: str, data: bytes) -> None:
    file = folder / f"{name}.part"
    file.write_bytes(data)
    probe(file, name)


@pytest.mark.parametrize("kind", KINDS)
def test_good_files_pass(tmp_path: Path, kind: str) -> None:
    check(tmp_path, f"a.{kind}", made(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_web_page_is_never_one_of_them(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FormatError, match=rf"web page instead of a\.{kind}; fetch it again"):
        check(tmp_path, f"a.{kind}", PAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_files_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FormatError, match="empty"):
        check(tmp_path, f"a.{kind}", b"")


@pytest.mark.parametrize("kind", FRAMED)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_cut_files_are_found(tmp_path: Path, kind: str, kept: float) -> None:
    data = made(kind)
    with pytest.raises(FormatError, match=r"cut short|does not hold a whole"):
        check(tmp_path, f"a.{kind}", data[: int(len(data) * kept)])


@pytest.mark.parametrize("kind", FRAMED)
def test_other_formats_under_the_name_are_found(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FormatError, match=r"not an? "):
        check(tmp_path, f"a.{kind}", b"other".ljust(2880, b"."))


def test_a_web_page_may_be_a_web_page(tmp_path: Path) -> None:
    check(tmp_path, "index.html", PAGE)


def test_a_packed_web_page_is_found(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"web page instead of a\.csv"):
        check(tmp_path, "a.csv.gz", gzip.compress(PAGE))


class TestFits:
    @pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
    def test_a_file_cut_at_a_block_of_its_last_hdu_is_found(self, tmp_path: Path, blocks: int) -> None:
        data = made("fits")
        with pytest.raises(FormatError, match="cut short"):
            check(tmp_path, "a.fits", data[: -2880 * blocks])

    def test_the_walk_ends_where_astropy_ends(self, tmp_path: Path) -> None:
        file = tmp_path / "a.fits"
        file.write_bytes(made("fits"))
        with fits.open(file) as hdus, pytest.MonkeyPatch.context() as patch:
            seen: list[int] = []
            true = probe_fits.data_bytes

            def noted(cards: dict[str, str], name: str, index: int) -> int:
                seen.append(true(cards, name, index))
                return seen[-1]

            patch.setattr(probe_fits, "data_bytes", noted)
            probe(file)
            infos = [hdu.fileinfo() for hdu in hdus]
            assert seen == [info["datSpan"] for info in infos]

    def test_random_groups_are_walked(self, tmp_path: Path) -> None:
        groups = fits.GroupData(
            np.zeros((5, 1, 2, 3), dtype=np.float32), parnames=["u"], pardata=[np.arange(5.0)], bitpix=-32
        )
        fits.GroupsHDU(groups).writeto(tmp_path / "a.fits")
        probe(tmp_path / "a.fits")

    def test_something_after_the_last_hdu_is_found(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="HDU 4 starts with"):
            check(tmp_path, "a.fits", made("fits") + b"\0" * 2880)

    @pytest.mark.parametrize(
        "change",
        [
            (b"NAXIS1  =                    5", b"NAXIS1  =                   -5"),
            (b"NAXIS1  =", b"NOXIS1  ="),
            (b"BITPIX", b"BITPAX"),
        ],
    )
    def test_sizes_that_make_no_sense_are_found(self, tmp_path: Path, change: tuple[bytes, bytes]) -> None:
        with pytest.raises(FormatError, match="HDU 0"):
            check(tmp_path, "a.fits", made("fits").replace(*change, 1))

    def test_a_header_without_end_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe_fits, "MAX_CARDS", 100)
        with pytest.raises(FormatError, match="does not end"):
            check(tmp_path, "a.fits", b"SIMPLE  =                    T".ljust(2880 * 10))


class TestGzip:
    def test_a_damaged_byte_is_found(self, tmp_path: Path) -> None:
        data = bytearray(gzip.compress(np.random.default_rng(1).bytes(100_000)))
        data[50_000] ^= 1
        with pytest.raises(FormatError, match="not an undamaged gzip"):
            check(tmp_path, "a.csv.gz", bytes(data))

    def test_a_bomb_is_refused_without_unpacking_it_all(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="at most 200:1"):
            check(tmp_path, "a.csv.gz", gzip.compress(b"\0" * (64 << 20)))

    def test_total_size_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MAX_BYTES", 1000)
        with pytest.raises(FormatError, match="unpacks to more than 1000"):
            check(tmp_path, "a.csv.gz", gzip.compress(b"0" * 1001))

    def test_small_files_may_pack_well(self, tmp_path: Path) -> None:
        check(tmp_path, "a.csv.gz", gzip.compress(b"0" * 1_000_000))

    def test_sizes_around_the_buffer_pass(self, tmp_path: Path) -> None:
        random = np.random.default_rng(1)
        for size in ((1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20):
            check(tmp_path, "a.csv.gz", gzip.compress(random.bytes(size), 1))

    def test_zero_padding_after_the_stream_is_let_pass(self, tmp_path: Path) -> None:
        check(tmp_path, "a.csv.gz", gzip.compress(b"a,b\n") + b"\0" * 512)

    def test_junk_after_the_stream_is_not(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="not an undamaged gzip"):
            check(tmp_path, "a.csv.gz", gzip.compress(b"a,b\n") + b"junk")


@settings(deadline=None, derandomize=True)
@given(data=st.binary(min_size=1, max_size=300), kind=st.sampled_from(FRAMED), start=st.integers(0, 400))
def test_any_bytes_pass_or_are_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str, start: int
) -> None:
    good = GOOD[kind]
    file = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    file.write_bytes(good[:start] + data + good[start + len(data) :])
    with suppress(FormatError):
        probe(file)


GOOD = {kind: made(kind) for kind in FRAMED}
