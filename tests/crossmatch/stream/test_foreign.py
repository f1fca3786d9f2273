"""Catalogues written by others, as they were published: names, ids and places of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu


def rows(folder: Path) -> pa.Table:
    """All rows of a catalogue, in the order of the sky."""
    files = sorted((folder / "dataset").rglob("Npix=*"))
    return pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]).sort_by("_healpix_29")


@pytest.mark.parametrize("name", ["lsdb_small_sky_source", "lsdb_small_sky_order1_collection/small_sky_order1"])
@pytest.mark.parametrize("shuffle", [None, 1])
def test_a_published_catalogue(real_data: Path, name: str, shuffle: int | None) -> None:
    folder = real_data / "hats" / name
    whole = rows(folder)
    stream = mmu.stream(folder, batch_size=10, tail="exact", shuffle=shuffle)
    (side,) = stream.samples.sides
    batches = [batch[side.name] for batch in stream]
    columns = [column for column in whole.column_names if column in batches[0]]
    assert len(columns) > 3
    for column in columns:
        found = np.concatenate([batch[column] for batch in batches])
        expected = whole[column].fill_null(0).to_numpy() if whole[column].null_count else whole[column].to_numpy()
        assert np.array_equal(np.sort(found), np.sort(expected))
    assert len([one for batch in stream for one in batch.ids[side.name]]) == len(whole)


def test_a_region_of_one_whose_positions_are_called_otherwise(real_data: Path) -> None:
    folder = real_data / "hats" / "lsdb_small_sky_source"
    whole = rows(folder)
    ra, dec = whole["source_ra"].to_numpy(), whole["source_dec"].to_numpy()
    middle = float(np.median(ra))
    stream = mmu.stream(folder, region=f"box:{middle},{middle + 20},-90,90", batch_size=10, tail="exact")
    assert len(stream.samples) == int(((ra >= middle) & (ra <= middle + 20) & (abs(dec) <= 90)).sum()) > 0
