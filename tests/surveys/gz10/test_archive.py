"""Which galaxies the file lists, and in which ranges they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmu.errors import FormatError
from mmu.sky.region import AllSky, Cone
from surveys.gz10 import CLASSES, PATH, SHA256, SURVEY, archive

PICTURES, LABELS = SURVEY.releases


def write_file(path: Path, rows: int, *, chunks: Any = None, leave_out: str = "", **other: Any) -> None:
    """A file of the archive's layout, pictures black unless given; `chunks` are those of its pictures."""
    values = {
        "ans": np.arange(rows, dtype="u1") % 10, "ra": np.linspace(0, 359, rows), "dec": np.linspace(-30, 60, rows),
        "redshift": np.where(np.arange(rows) % 3, 0.1, np.nan), "pxscale": np.full(rows, 0.262), **other,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        if "images" not in values:
            packed = {"chunks": chunks, "compression": "gzip"} if chunks else {}
            file.create_dataset("images", (rows, 256, 256, 3), "u1", **packed)
        for name, value in values.items():
            if name != leave_out:
                file[name] = value
        if leave_out == "images":
            del file["images"]


def _select(release: Any, path: Path) -> Any:
    group = next(iter(archive.groups(release, {}, AllSky(), False)))
    return archive.select(release, group, {PATH: path})


def test_one_file_with_the_published_digest() -> None:
    assert archive.bootstrap(PICTURES) == ()
    for release in SURVEY.releases:
        (group,) = archive.groups(release, {}, Cone(10, 10, 0.1), True)
        (file,) = group.files
        assert (file.path, file.sha256) == (PATH, SHA256)
        assert archive.files(release, "00000-00511") == group.files
    assert len(SHA256) == 64


def test_every_galaxy_is_listed_by_its_row(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 1300)
    found = _select(PICTURES, tmp_path / "a.h5")
    assert found.object_id[[0, 42, 1299]].tolist() == ["gz10-00000", "gz10-00042", "gz10-01299"]
    assert found.cuts == {}
    assert found.ra.dtype == found.dec.dtype == np.float64
    assert np.unique(found.unit).tolist() == ["00000-00511", "00512-01023", "01024-01299"]


@pytest.mark.parametrize(("block", "first"), [(555, "00000-00554"), (100, "00000-00599"), (1300, "00000-01299")])
def test_ranges_are_whole_compressed_blocks(block: int, first: str, tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 1300, chunks=(block, 16, 16, 1))
    assert _select(PICTURES, tmp_path / "a.h5").unit[0] == first


def test_labels_alone_are_read_in_larger_ranges_but_never_too_large(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3000)
    assert np.unique(_select(LABELS, tmp_path / "a.h5").unit).tolist() == ["00000-02047", "02048-02999"]


def test_no_galaxies(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 0)
    assert len(_select(PICTURES, tmp_path / "a.h5").object_id) == 0


@pytest.mark.parametrize("name", ["images", "ans", "ra", "dec", "redshift", "pxscale"])
def test_a_missing_array_is_told(name: str, tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3, leave_out=name)
    with pytest.raises(FormatError, match=r"a\.h5: expected"):
        _select(PICTURES, tmp_path / "a.h5")


def test_arrays_of_another_length_kind_or_size_are_told(tmp_path: Path) -> None:
    small = np.zeros((3, 64, 64, 3), "u1")
    wrong: dict[str, Any] = {"ans": np.zeros(4, "u1"), "ra": np.zeros(3, "S4"), "images": small,
             "pxscale": np.zeros((3, 2))}  # fmt: skip
    for name, value in wrong.items():
        write_file(tmp_path / "a.h5", 3, **{name: value})
        with pytest.raises(FormatError, match="expected an array"):
            _select(PICTURES, tmp_path / "a.h5")
    write_file(tmp_path / "a.h5", 3, images=np.zeros((3, 256, 256, 3), "u2"))
    with pytest.raises(FormatError, match="pictures of bytes"):
        _select(PICTURES, tmp_path / "a.h5")


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3)
    content = (tmp_path / "a.h5").read_bytes()
    for size in (0, 8, 400, len(content) // 2):
        (tmp_path / "a.h5").write_bytes(content[:size])
        with pytest.raises(FormatError):
            _select(PICTURES, tmp_path / "a.h5")


def test_declaration() -> None:
    assert [release.name for release in SURVEY.releases] == ["gz10_rgb_images", "gz10"]
    assert {"images", "ans", "ra", "dec", "redshift", "pxscale", "object_id"} == {c.name for c in PICTURES.hdf5}
    assert len(CLASSES) == 10
    assert "rgb_image" not in LABELS.schema
    assert PICTURES.schema["gz10_label"].dtype == "int32"
    counts = [
        line.split("|")[3].replace(" ", "") for line in SURVEY.text("card.md").splitlines() if line.count("|") == 4
    ]
    assert sum(int(count) for count in counts if count.isdigit()) == PICTURES.objects
