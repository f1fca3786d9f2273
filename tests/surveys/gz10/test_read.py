"""Records of a range of rows: pictures bit by bit, labels, NaN redshifts, whatever is asked for in whatever order."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmu.decoding import decode
from mmu.errors import FormatError
from mmu.png import png_files
from mmu.schema import arrow_type
from surveys.gz10 import PATH, SURVEY, read
from surveys.gz10.archive import object_id

PICTURES, LABELS = SURVEY.releases
ROWS = 90


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of noise, the hardest of pictures."""
    rng = np.random.default_rng(4)
    file_path = tmp_path_factory.mktemp("gz10") / "a.h5"
    with h5py.File(file_path, "w") as file:
        pixels = rng.integers(0, 256, (ROWS, 256, 256, 3), dtype="u1")
        file.create_dataset("images", data=pixels, chunks=(32, 64, 64, 1), compression="lzf")
        file["ans"] = rng.integers(0, 10, ROWS).astype("u1")
        file["ra"], file["dec"] = rng.uniform(0, 360, ROWS), rng.uniform(-90, 90, ROWS)
        file["redshift"] = np.where(np.arange(ROWS) % 2, np.nan, rng.uniform(0, 0.2, ROWS))
        file["pxscale"] = rng.uniform(0.1, 0.5, ROWS)
    return file_path


def _asked(rows: list[int]) -> pa.Table:
    return pa.table({"object_id": pa.array([object_id(row) for row in rows], pa.string())})


def test_pixels_and_numbers_are_the_files(path: Path) -> None:
    rows = [70, 33, 89, 34]
    records = read.read(PICTURES, "00032-00089", {PATH: path}, _asked(rows))
    assert records.excluded == {}
    assert records.table.schema.names == PICTURES.schema.names
    assert [field.type for field in records.table.schema] == [arrow_type(column) for column in PICTURES.schema]
    got = decode(records.table, pictures=True)
    assert sorted(got["object_id"].tolist()) == sorted(object_id(row) for row in rows)
    at = got["row"]
    assert got["object_id"].tolist() == [object_id(row) for row in at]
    with h5py.File(path) as file:
        assert (got["rgb_image"] == file["images"][:][at]).all()
        for ours, theirs in (("ra", "ra"), ("dec", "dec"), ("redshift", "redshift"), ("rgb_pixel_scale", "pxscale")):
            np.testing.assert_array_equal(got[ours], file[theirs][:][at])
        assert got["gz10_label"].tolist() == file["ans"][:][at].tolist()
    assert np.isnan(got["redshift"]).any()


def test_labels_alone_do_not_read_pictures(path: Path) -> None:
    table = read.read(LABELS, "00000-00089", {PATH: path}, _asked([0, 89])).table
    assert table.schema.names == LABELS.schema.names
    assert table.nbytes < 1000


def test_all_rows_at_once_and_none(path: Path) -> None:
    assert len(read.read(PICTURES, "00000-00089", {PATH: path}, _asked(list(range(ROWS)))).table) == ROWS
    assert len(read.read(PICTURES, "00000-00089", {PATH: path}, _asked([])).table) == 0


def test_rows_that_are_not_in_the_range_or_the_file(path: Path) -> None:
    with pytest.raises(FormatError, match="plan this build anew"):
        read.read(PICTURES, "00032-00063", {PATH: path}, _asked([64]))
    with pytest.raises(FormatError, match="has 90 rows"):
        read.read(PICTURES, "00064-00127", {PATH: path}, _asked([100]))


def test_a_label_of_no_class_is_told(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "a") as file:
        file["ans"][5] = 10
    with pytest.raises(FormatError, match="labels are 0 to 9"):
        read.read(LABELS, "00000-00089", {PATH: copy}, _asked([5]))


def test_a_damaged_block_costs_its_range_only(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.h5"
    with h5py.File(copy, "w") as file, h5py.File(path) as whole:
        for name in ("ans", "ra", "dec", "redshift", "pxscale"):
            file[name] = whole[name][:]
        file.create_dataset("images", data=whole["images"][:], chunks=(32, 256, 256, 3), compression="gzip")
        chunk = file["images"].id.get_chunk_info(1)
    content = bytearray(copy.read_bytes())
    content[chunk.byte_offset + 1000 : chunk.byte_offset + 1200] = bytes(200)
    copy.write_bytes(content)
    assert len(read.read(PICTURES, "00000-00031", {PATH: copy}, _asked([3])).table) == 1
    with pytest.raises(FormatError, match=r"a\.h5"):
        read.read(PICTURES, "00032-00063", {PATH: copy}, _asked([40]))


def test_png_of_grey_and_colour_is_lossless() -> None:
    rng = np.random.default_rng(2)
    for shape in ((3, 20, 30), (2, 16, 16, 3)):
        pixels = rng.integers(0, 256, shape, dtype="u1")
        decoded = [np.asarray(Image.open(io.BytesIO(data))) for data in png_files(pixels)]
        assert (np.stack(decoded) == pixels).all()
    assert png_files(np.empty((0, 8, 8, 3), "u1")) == []
