"""HDF5 files from outside: plain ones are read, every way of leading elsewhere or blowing up is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmu import hdf5
from mmu.errors import FormatError, UsageError
from mmu.hdf5 import open_hdf5

MOST = 1_000_000


def refused(path: Path, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught, open_hdf5(path, MOST):
        raise AssertionError("it was opened")
    assert "\n" not in str(caught.value)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another file of this machine, that no dataset may show."""
    other = tmp_path / "secret.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(8.0)
    (tmp_path / "secret.bin").write_bytes(b"password" * 8)
    return other


def test_plain_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(10)
        file["deep/er/text"] = np.array([b"x", b"yz"])
        file["same"] = file["a"]
        file["deep/up"] = file["/"]  # a hard link in a circle
        file["none"] = h5py.Empty("f4")
        file["type"] = np.dtype([("a", "i4"), ("b", "f8", (3,))])
        file.create_dataset(
            "packed", data=np.zeros((100, 100), "f4"), compression="gzip", shuffle=True, fletcher32=True
        )
        file.create_dataset("lzf", data=np.zeros(100), compression="lzf", maxshape=(None,))
        file.attrs["title"] = file["one"] = "text of any length"
    with open_hdf5(path, MOST) as file:
        assert file["a"][:].tolist() == list(range(10))
        assert file["deep/er/text"][1] == b"yz"
        assert file["packed"].shape == (100, 100)


def test_only_what_will_be_read_must_be_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["group/a"] = np.arange(3)
        file["group/b"] = file["group/a"]
        file.create_dataset("group/large", (1 << 20, 1 << 20), "f4", chunks=(1, 1 << 20))
        file.create_dataset("lists", (2,), h5py.vlen_dtype("f4"))
    with open_hdf5(path, MOST, only={"a"}) as file:
        assert file["group/a"][:].tolist() == [0, 1, 2]
    with h5py.File(path, "a") as file:
        file["alias"] = file["lists"]
    with pytest.raises(FormatError, match="'/alias' holds references"), open_hdf5(path, MOST, only={"a", "alias"}):
        raise AssertionError("it was opened")


def test_what_the_caller_refuses_is_not_called_damage(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w"):
        pass
    with pytest.raises(UsageError, match="not that one"), open_hdf5(tmp_path / "a.hdf5", MOST):
        raise UsageError("not that one")


EVIL: dict[str, tuple[Callable[[Any, Path], Any], str]] = {}


def evil(said: str) -> Callable[[Callable[[Any, Path], Any]], Callable[[Any, Path], Any]]:
    def keep(make: Callable[[Any, Path], Any]) -> Callable[[Any, Path], Any]:
        EVIL[make.__name__] = (make, said)
        return make

    return keep


@evil("a link to another place")
def external_link(file: Any, secret: Path) -> None:
    file["x"] = h5py.ExternalLink(str(secret), "/x")


@evil("a link to another place")
def external_link_deep_down(file: Any, secret: Path) -> None:
    file.create_group("a/b/c")["x"] = h5py.ExternalLink(str(secret), "/x")


@evil("a link to another place")
def soft_link(file: Any, secret: Path) -> None:
    file["real"] = np.arange(3)
    file["x"] = h5py.SoftLink("/real")


@evil("a link to another place")
def dangling_link(file: Any, secret: Path) -> None:
    file["x"] = h5py.SoftLink("/nowhere")


@evil("keeps its data in another file")
def external_storage(file: Any, secret: Path) -> None:
    file.create_dataset("x", (64,), "u1", external=[(str(secret.with_suffix(".bin")), 0, 64)])


@evil("a virtual dataset")
def virtual_dataset(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (8,))
    file.create_virtual_dataset("x", layout)


@evil("brings it to 800000000 bytes")
def bomb(file: Any, secret: Path) -> None:
    file.create_dataset("x", (10_000, 10_000), "f8", chunks=(100, 100), compression="gzip")


@evil("brings it to 1200000 bytes")
def many_small_bombs(file: Any, secret: Path) -> None:
    for number in range(3):
        file.create_dataset(f"x{number}", (100_000,), "f4")


@evil("brings it to .* bytes")
def overflow(file: Any, secret: Path) -> None:
    file.create_dataset("x", (1 << 40, 1 << 20), "f8", chunks=(1, 1))


@evil("brings it to 800000000 bytes")
def huge_chunk(file: Any, secret: Path) -> None:
    file.create_dataset("x", (1,), "f8", chunks=(100_000_000,), maxshape=(None,), compression="gzip")


@evil("brings it to .* bytes")
def huge_text(file: Any, secret: Path) -> None:
    file.create_dataset("x", (2,), "S500000000")


@evil("needs the filter 6")
def scale_offset(file: Any, secret: Path) -> None:
    file.create_dataset("x", data=np.arange(100), scaleoffset=0, chunks=(100,))


@evil("needs the filter 32015")
def plug_in(file: Any, secret: Path) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((10,))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((10,)), made)


@evil("references or values of variable length")
def references(file: Any, secret: Path) -> None:
    file.create_dataset("x", (2,), h5py.ref_dtype)


@evil("references or values of variable length")
def region_references(file: Any, secret: Path) -> None:
    file.create_dataset("x", (2,), h5py.regionref_dtype)


@evil("references or values of variable length")
def text_of_any_length(file: Any, secret: Path) -> None:
    file.create_dataset("x", (2,), h5py.string_dtype())


@evil("references or values of variable length")
def lists_in_records(file: Any, secret: Path) -> None:
    file.create_dataset("x", (2,), np.dtype([("a", "i4"), ("b", h5py.vlen_dtype("f4"))]))


@evil("more than 50 objects")
def many_objects(file: Any, secret: Path) -> None:
    for number in range(60):
        file.create_group(f"g{number % 7}/{number}")


@pytest.mark.parametrize("name", EVIL)
def test_each_way_out_is_refused(tmp_path: Path, secret: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 50)
    make, said = EVIL[name]
    with h5py.File(tmp_path / "evil.hdf5", "w") as file:
        make(file, secret)
    refused(tmp_path / "evil.hdf5", said)


def test_a_bomb_is_small_and_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.hdf5", "w") as file:
        bomb(file, tmp_path)
    assert (tmp_path / "bomb.hdf5").stat().st_size < 8000
    refused(tmp_path / "bomb.hdf5", "800000000")


def test_what_is_no_hdf5_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_bytes(b"<html>")
    refused(tmp_path / "a.hdf5", r"a\.hdf5: not a whole HDF5 file")


def test_errors_of_the_library_while_reading_become_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(1).normal(size=5000), compression="gzip", fletcher32=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(FormatError, match="not a whole HDF5 file"), open_hdf5(path, MOST) as file:
        file["x"][:]


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 4000), data=st.binary(min_size=1, max_size=12))
def test_damage_is_harmless_or_an_error_of_ours(tmp_path: Path, place: int, data: bytes) -> None:
    path = tmp_path / "good.hdf5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            file["a/b"] = np.arange(50)
            file.create_dataset("c", data=np.zeros((10, 10)), compression="gzip")
    good = path.read_bytes()
    bad = tmp_path / "bad.hdf5"
    at = place % len(good)
    bad.write_bytes(good[:at] + data + good[at + len(data) :])
    with suppress(FormatError), open_hdf5(bad, MOST) as file:
        for name in ("a/b", "c"):
            file[name][()]


def test_lists_of_variable_length_are_read_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        lists = file.create_dataset("lists", (3,), h5py.vlen_dtype("<f8"))
        lists[0] = np.arange(4.0)
        file["texts"] = ["a", "bc"]
    refused(path, "holds references or values of variable length")
    with open_hdf5(path, MOST, ragged=True) as file:
        assert file["lists"][0].tolist() == [0.0, 1.0, 2.0, 3.0]
        assert file["texts"].asstr()[1] == "bc"
    few = path.stat().st_size * 4  # three lists and two texts count as five times the file
    with pytest.raises(FormatError, match="bytes unpacked"), open_hdf5(path, few, ragged=True):
        raise AssertionError("it was opened")
    with h5py.File(path, "a") as file:
        file.create_dataset("swapped", (1,), h5py.vlen_dtype(">f8"))
        file.create_dataset("links", (1,), h5py.ref_dtype)
    for name in ("swapped", "links"):
        with pytest.raises(FormatError, match="variable length"), open_hdf5(path, MOST, {name}, ragged=True):
            raise AssertionError("it was opened")


def test_only_what_is_touched_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["a"], file["group/b"] = np.arange(3), np.arange(4)
        file["away"] = h5py.ExternalLink("secret.h5", "/x")
        file["large"] = np.zeros(1_000)
    with hdf5.looked_at(path, 1_000) as look:
        assert look.member(look.file, "a")[:].tolist() == [0, 1, 2]
        assert look.member(look.member(look.file, "group"), "b")[:].tolist() == [0, 1, 2, 3]
        for name, said in (("away", "a link to another place"), ("large", "8056 bytes unpacked")):
            with pytest.raises(FormatError, match=said):
                look.member(look.file, name)
        assert look.member(look.file, "a").shape == (3,)
