"""One folder is a dataset of `datasets` and a catalogue of `lsdb`: both open it in this one process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from mmu.decoding import decode
from mmu.shards.catalogue import write_catalogue
from mmu.sky.healpix import separation_deg
from tests.shards.sample import RELEASE, SIDE, SURVEY, WAVES, write

ROWS = 300

pytestmark = [
    # pandas 3.1 deprecates what nested-pandas and lsdb still use (inplace, mode.chained_assignment)
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning"),
]


@dataclass
class Built:
    root: Path
    rows: pa.Table


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("sample")
    rows = write(root, ROWS, rows_each=60)
    write(root, 30, SURVEY.releases[1])
    return Built(root, rows)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library with its cache in a temporary folder, silent."""
    import datasets as library

    library.disable_progress_bars()
    before = library.config.HF_DATASETS_CACHE, library.config.SLEEP_TIME_ON_THREADS_SHUTDOWN
    library.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    library.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    yield library
    library.config.HF_DATASETS_CACHE, library.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = before
    library.enable_progress_bars()


@pytest.fixture(scope="module")
def lsdb(datasets: Any) -> Any:
    """Imported after `datasets`, which is the order that once broke."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3.1 warns of an option lsdb sets when imported
        import lsdb as library

        library.open_catalog  # noqa: B018  some of lsdb is loaded when first touched
    return library


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_restores_every_shape(built: Built, datasets: Any, streaming: bool) -> None:
    rows = datasets.load_dataset(str(built.root), split="train", streaming=streaming)
    features = datasets.Features(rows.features)
    assert features["image"]["flux"] == datasets.Array3D((None, SIDE, SIDE), "float32")
    assert isinstance(features["rgb"], datasets.Image)
    assert list(features) == ["_healpix_29", *RELEASE.schema.names]
    mine = {row["object_id"]: row for row in built.rows.to_pylist()}
    for theirs in rows.take(5):
        ours = mine[theirs["object_id"]]
        assert np.shape(theirs["image"]["flux"]) == (len(ours["image"]["band"]), SIDE, SIDE)
        assert theirs["rgb"].size == (SIDE, SIDE)
        for name in ("object_id", "TARGETID", "ZWARN", "redshift", "catalog", "spectrum", "coeff", "TYPE", "ra"):
            assert theirs[name] == ours[name], name
    assert sum(1 for _ in rows) == ROWS


@pytest.mark.parametrize("streaming", [False, True])
def test_decode_takes_arrow_batches_of_datasets(built: Built, datasets: Any, streaming: bool) -> None:
    rows = datasets.load_dataset(str(built.root), "dr1_south", split="train", streaming=streaming)
    batch = decode(next(iter(rows.with_format("arrow").iter(7))))
    assert batch["spectrum"]["flux"].shape == (7, WAVES)
    dataset = mmu.open(built.root)
    for index, name in enumerate(batch["object_id"]):
        mine = dataset.record(name)
        assert np.array_equal(batch["image"]["ivar"][index], mine["image"]["ivar"])
        assert np.array_equal(batch["spectrum"]["mask"][index], mine["spectrum"]["mask"])


def test_the_second_release_is_a_configuration(built: Built, datasets: Any) -> None:
    assert datasets.load_dataset(str(built.root), "dr2_north", split="train").num_rows == 30


def test_lsdb_opens_the_collection_with_its_margin(built: Built, lsdb: Any) -> None:
    catalogue = lsdb.open_catalog(built.root / "dr1_south_collection")
    assert catalogue.margin is not None
    assert list(catalogue.columns) == RELEASE.schema.scalars
    frame = catalogue.compute(progress_bar=False)
    assert len(catalogue) == len(frame) == ROWS
    assert sorted(frame["object_id"]) == sorted(built.rows["object_id"].to_pylist())


def test_lsdb_opens_the_catalogue_with_every_column(built: Built, lsdb: Any) -> None:
    frame = lsdb.open_catalog(built.root / "dr1_south", columns="all").compute(progress_bar=False)
    assert list(frame.columns) == RELEASE.schema.names
    assert len(frame) == ROWS


def test_lsdb_crossmatch_finds_every_pair_across_borders(built: Built, lsdb: Any) -> None:
    radius = 9.9
    ra, dec = built.rows["ra"].to_numpy(), built.rows["dec"].to_numpy()
    close = separation_deg(ra[:, None], dec[:, None], ra[None], dec[None]) * 3600 <= radius
    most = int(close.sum(axis=1).max())
    catalogue = lsdb.open_catalog(built.root / "dr1_south_collection")
    pairs = catalogue.crossmatch(
        catalogue, radius_arcsec=radius, n_neighbors=most, suffixes=("_a", "_b"), suffix_method="all_columns"
    ).compute(progress_bar=False)
    assert len(pairs) == np.count_nonzero(close)
    assert len(pairs) > 2 * ROWS


def test_hats_finds_the_collection_valid(built: Built, lsdb: Any) -> None:
    from hats.io.validation import is_valid_catalog

    assert is_valid_catalog(built.root / "dr1_south_collection", strict=True, verbose=False)


def test_an_empty_selection_has_no_rows_anywhere(tmp_path: Path, lsdb: Any) -> None:
    write_catalogue(tmp_path, SURVEY, RELEASE, [], np.empty(0, dtype=np.int64))
    for name in ("dr1_south", "dr1_south_collection"):
        catalogue = lsdb.open_catalog(tmp_path / name)
        assert len(catalogue) == len(catalogue.compute(progress_bar=False)) == 0
    dataset = mmu.open(tmp_path)
    assert len(dataset) == len(dataset.table()) == len(list(dataset.batches())) == 0
    assert not list(tmp_path.rglob("Npix=*"))


def test_writing_again_gives_the_same_bytes_and_drops_what_is_gone(built: Built, tmp_path: Path) -> None:
    write(tmp_path, ROWS, rows_each=60)
    stale = tmp_path / "dr1_south_margin" / "dataset" / "Norder=9" / "Dir=0" / "Npix=77.parquet"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    write(tmp_path, ROWS, rows_each=60)
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path]
    assert not stale.exists()
    assert not [path for path in files if path.suffix == ".tmp"]
    for path in files:
        assert (tmp_path / path).read_bytes() == (built.root / path).read_bytes(), path


def test_the_skymap_counts_objects(built: Built) -> None:
    from astropy.io import fits

    for name in ("skymap.fits", "point_map.fits"):
        with fits.open(built.root / "dr1_south" / name) as maps:
            assert maps[1].data["VALUE"].sum() == ROWS
            assert not {"DATE", "CHECKSUM"} & set(maps[1].header)


def test_margin_holds_every_neighbour_and_scalars_only(built: Built) -> None:
    dataset = mmu.open(built.root)
    ra, dec = built.rows["ra"].to_numpy(), built.rows["dec"].to_numpy()
    keys, ids = built.rows["_healpix_29"].to_numpy(), np.array(built.rows["object_id"].to_pylist())
    close = separation_deg(ra[:, None], dec[:, None], ra[None], dec[None]) * 3600 <= 10
    assert len({leaf.order for leaf in dataset.partitions}) > 1
    for leaf in dataset.partitions:
        inside = (keys >= leaf.span[0]) & (keys < leaf.span[1])
        wanted = set(ids[~inside & close[inside].any(axis=0)])
        path = built.root / "dr1_south_margin" / "dataset" / leaf.path
        table = pq.read_table(path, partitioning=None) if path.exists() else built.rows.slice(0, 0)
        found = set(table["object_id"].to_pylist())
        assert wanted <= found
        assert not found & set(ids[inside])
        assert not path.exists() or table.column_names == ["_healpix_29", *RELEASE.schema.scalars]
