"""Torch tensors of the same batches, without a copy on the CPU; and how little a stream of pairs imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmu
from crossmatch.materialize import materialize

torch = pytest.importorskip("torch", reason="tensors are torch's")
Paths = dict[str, Path]


def opened(sky: Paths, **how: Any) -> Any:
    return mmu.stream([sky["ls"], sky["sdss"]], batch_size=16, how="left", shuffle=2, **how)


@pytest.mark.parametrize("pad", [None, 0.0])
def test_tensors_are_the_arrays(sky: Paths, pad: float | None) -> None:
    for plain, made in zip(opened(sky, pad=pad), opened(sky, pad=pad, device="cpu"), strict=True):
        assert plain.ids == made.ids
        for name in plain:
            assert list(plain[name]) == list(made[name])
            assert np.array_equal(plain.present[name], made.present[name].numpy())
            for column, array in plain[name].items():
                tensors = made[name][column]
                for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (array, tensors)), strict=True):
                    assert isinstance(other, torch.Tensor)
                    assert np.array_equal(one, other.numpy(), equal_nan=True)


def test_tensors_share_the_arrays_memory_and_are_kept(sky: Paths) -> None:
    kept = [(batch["ls"]["image.flux"], batch["ls"]["image.flux"].clone()) for batch in opened(sky, device="cpu")]
    assert all(torch.equal(tensor, copy) for tensor, copy in kept)
    assert len({tensor.data_ptr() for tensor, _ in kept}) == len(kept)


def test_bfloat16_holds_what_float16_cannot(sky: Paths) -> None:
    batch = next(
        iter(opened(sky, dtype="bfloat16", device="cpu", columns=["ls.image", "ls.mag", "sdss.spectrum.flux"]))
    )
    plain = next(iter(opened(sky, columns=["ls.image", "ls.mag", "sdss.spectrum.flux"])))
    assert batch["ls"]["image.flux"].dtype == torch.bfloat16
    assert batch["sdss"]["spectrum.flux"][0].dtype == torch.bfloat16
    assert batch["ls"]["mag"].dtype == torch.float32
    assert torch.equal(batch["ls"]["image.flux"], torch.from_numpy(plain["ls"]["image.flux"]).to(torch.bfloat16))


def test_it_is_an_iterable_dataset(sky: Paths) -> None:
    stream = opened(sky)
    assert isinstance(stream, torch.utils.data.IterableDataset)
    assert len(torch.utils.data.DataLoader(stream, batch_size=None)) == len(stream)


def test_the_rank_is_torchruns(sky: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    delivery = opened(sky).delivery
    assert (delivery.rank, delivery.world_size) == (1, 3)
    assert opened(sky, rank=0, world_size=1).delivery.world_size == 1


@pytest.mark.slow
def test_workers_hand_over_what_threads_do(sky: Paths) -> None:
    threads = {batch.index: batch for batch in opened(sky, device="cpu")}
    for batch in opened(sky, device="cpu", workers=2, transform=None):
        other = threads.pop(batch.index)
        assert batch.ids == other.ids
        assert torch.equal(batch["ls"]["image.flux"], other["ls"]["image.flux"])
    assert not threads


LIGHT = """
import json, sys
import mmu
sizes = [batch.size for batch in mmu.stream(sys.argv[1], batch_size=8, shuffle=1, tail="exact")]
print(json.dumps([sum(sizes), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_pairs_are_streamed_with_little_imported(sky: Paths, tmp_path: Path) -> None:
    association = mmu.crossmatch(sky["ls"], sky["desi"], out=tmp_path / "out")
    materialize(association)
    words = [sys.executable, "-c", LIGHT, str(tmp_path / "out" / "pairs")]
    count, modules = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert count == len(association)
    # pandas is pyarrow's to import, where there is one
    heavy = "astropy dask datasets fsspec h5py healpy lsdb matplotlib requests rich scipy typer xxhash yaml torch"
    assert not set(heavy.split()) & set(modules)
