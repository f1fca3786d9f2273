"""Streams of what is not on this machine: few bytes, however slow the way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch.stream.stream import Stream
from mmu.errors import MmuError
from mmu.remote import ranges
from tests.archive.server import ANY, Archive, Handler, serving
from tests.crossmatch.stream.skies import ARCSEC, images, spectra
from tests.crossmatch.stream.test_stream import check
from tests.crossmatch.test_remote import span
from tests.remote.hub import HubHandler

LATENCY_S = 0.02
SCALARS = {"_healpix_29", "object_id", "ra", "dec"}


class Slow(Handler):
    """A server some way off."""

    def do_GET(self) -> None:
        time.sleep(LATENCY_S)
        super().do_GET()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Images of 2000 objects, and spectra of those 300 of them that are in one corner."""
    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.0)
    random = np.random.default_rng(2)
    ra, dec = 44 + 2 * random.random(2000), 2 * random.random(2000) - 1
    corner = (ra < 44.8) & (dec < -0.2)
    number = np.arange(2000) * 10.0
    images(tmp_path / "ls", number, ra, dec, side=24, group=50, order=2, noise=1.0)
    spectra(tmp_path / "desi", number[corner], ra[corner] + 0.1 * ARCSEC, dec[corner], group=100, order=1, length=200)
    with serving(tmp_path, Slow) as archive:
        yield archive


def test_only_what_holds_matches_is_fetched(served: Archive) -> None:
    addresses = [f"{served.url}ls", f"{served.url}desi"]
    columns = ["ls.image.flux", "desi.spectrum.flux"]
    local = mmu.stream([served.folder / "ls", served.folder / "desi"], columns=columns, batch_size=32, tail="exact")
    expected = {batch.index: batch for batch in local}
    stream = mmu.stream(addresses, columns=columns, batch_size=32, tail="exact", shuffle=None)
    found = {batch.index: batch for batch in stream}
    assert found.keys() == expected.keys()
    for index, batch in found.items():
        assert batch.ids == expected[index].ids
        assert np.array_equal(batch["ls"]["image.flux"], expected[index]["ls"]["image.flux"])
        assert np.array_equal(batch["desi"]["spectrum.flux"], expected[index]["desi"]["spectrum.flux"])
    shards = [one for one in served.asked if one.path.endswith(".parquet") and one.method == "GET"]
    fetched = sum(span(one.range) for one in shards if one.range)
    assert fetched <= 1.2 * needed(served.folder, stream)
    assert stream.stats.fetched == fetched


def needed(folder: Path, stream: Stream) -> int:
    """Bytes of footers, of the columns that are matched, and of what is asked for of row groups with matches."""
    total = 0
    for number, side in enumerate(stream.samples.sides):
        wanted = {"ls": {"image.flux", "image.band"}, "desi": {"spectrum.flux"}}[side.name] | {"object_id"}
        for leaf, places in enumerate(side.files):
            facts = pq.read_metadata(folder / str(places[0]).split("/", 3)[3])
            total += facts.serialized_size + 8
            rows = stream.samples.row[number, stream.samples.leaf[number] == leaf]
            ends = np.cumsum([facts.row_group(n).num_rows for n in range(facts.num_row_groups)])
            hit = set(np.searchsorted(ends, rows, side="right").tolist())
            for group in range(facts.num_row_groups):
                for column in range(facts.num_columns):
                    chunk = facts.row_group(group).column(column)
                    path = chunk.path_in_schema.replace(".list.element", "")
                    total += chunk.total_compressed_size * (path in SCALARS)
                    total += chunk.total_compressed_size * (group in hit and path in wanted)
    return total


def test_a_server_that_goes_away_is_told(served: Archive) -> None:
    stream = mmu.stream([f"{served.url}ls", f"{served.url}desi"], batch_size=32)
    first = iter(stream)
    next(first)
    served.fail(ANY, lambda handler, data: handler.reply(503, b""), lasting=True)
    with pytest.raises(MmuError, match=r"127\.0\.0\.1"):
        list(chain(first, stream))


def test_fetching_ends_where_it_is_bounded(served: Archive) -> None:
    given = [f"{served.url}ls", f"{served.url}desi"]
    stream = mmu.stream(given, batch_size=32, pool_bytes=1, most_fetched=2_500_000)
    with pytest.raises(MmuError, match=r"bytes were fetched, more than the 2,500,000 allowed"):
        list(stream)
    assert 0 < stream.stats.batches < len(stream)


def test_the_cache_spares_the_network(served: Archive, tmp_path: Path) -> None:
    given = [f"{served.url}ls", f"{served.url}desi"]
    how = {"columns": ["ls.mag", "desi.TARGETID"], "batch_size": 32, "cache": tmp_path / "cache"}
    list(mmu.stream(given, **how))
    stream = mmu.stream(given, **how)
    served.asked.clear()
    list(stream)
    assert not [one for one in served.asked if one.path.endswith(".parquet")]


def test_over_the_hub(sky: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("ls", "desi"):
        shutil.copytree(sky[name], tmp_path / "ORG" / name)
    with serving(tmp_path, HubHandler) as archive:
        monkeypatch.setenv("HF_ENDPOINT", archive.url.rstrip("/"))
        found = list(mmu.stream(["ORG/ls", "hf://datasets/ORG/desi"], batch_size=16, tail="exact"))
    assert sum(batch.size for batch in found) == 120
    for batch in found:
        check(batch)


def test_one_dataset_under_a_name_of_ones_own(served: Archive) -> None:
    local = mmu.stream(served.folder / "desi", batch_size=50)
    for batch, other in zip(mmu.stream(f"mine={served.url}desi", batch_size=50), local, strict=True):
        assert batch.ids["mine"] == other.ids["desi"]
        assert np.array_equal(batch["mine"]["spectrum.flux"], other["desi"]["spectrum.flux"])
