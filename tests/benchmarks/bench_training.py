"""Training and encoding beside the published package: equal sizes, one machine, one run, float32 unless it is said.

Run as `python tests/benchmarks/bench_training.py [steps] [useful] [codecs] [loader]`; all of them if none is named.

steps     a step of the Base model (forward, backward, AdamW), budgets full: 256 tokens given, 128 asked of each object
useful    the same of objects of five surveys as they are: tokens that count a second; theirs pads to the budgets. Once
          with all the targets that a budget lets be, once with as many as AION-1's runs may have had (Beta(0.1, 1))
codecs    images and spectra a second, of equal weights, and whether the ids are the same; in bfloat16 besides
loader    objects masked a second, and a trainer's wait for token shards, against the Base step of one H100

The floor of a step is a product of matrices of the model's width, timed in the same process.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from training.codecs import ABSENT
from training.engine import flops
from training.masking import Masking
from training.modalities import MODALITIES
from training.model.agreement import KEYS
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Batch
from training.recipes import MODELS, Counts

warnings.simplefilter("ignore")

SURVEYS = {
    "legacysurvey": (0.4, ("tok_image", "tok_segmap", "tok_ebv", *(f"tok_flux_{b}" for b in "griz"))),
    "hsc": (0.2, ("tok_image_hsc", *(f"tok_mag_{b}" for b in "grizy"), *(f"tok_a_{b}" for b in "grizy"))),
    "desi": (0.1, ("tok_spectrum_desi", "tok_z")),
    "sdss": (0.1, ("tok_spectrum_sdss", "tok_z")),
    "gaia": (0.2, ("tok_xp_bp", "tok_xp_rp", "tok_parallax", "tok_ra", "tok_dec")),
}
"""Dataset -> its share of the objects, and what it has of them."""


def said(**facts: Any) -> None:
    short = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in facts.items()}
    print(json.dumps(short), flush=True)  # noqa: T201


def tokens(count: int, only: str | None = None) -> dict[str, Any]:
    """Random ids of objects of the surveys."""
    random = np.random.default_rng(1)
    shares = np.array([share for share, _ in SURVEYS.values()])
    of = random.choice(len(SURVEYS), count, p=shares) if only is None else np.full(count, list(SURVEYS).index(only))
    out: dict[str, Any] = {}
    for number, (_, keys) in enumerate(SURVEYS.values()):
        for key in keys:
            row = MODALITIES[key]
            ids = out.setdefault(key, np.full((count, row.tokens), ABSENT, np.int16))
            ids[of == number] = random.integers(0, row.vocabulary, (int((of == number).sum()), row.tokens))
    return out


def seconds(step: Callable[[], Any], times: int) -> float:
    """Median of some calls, after one to warm up."""
    return in_turn(times, step)[0]


def in_turn(times: int, *steps: Callable[[], Any]) -> list[float]:
    """The medians of each, called in turn: what else a machine does slows all of them alike."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(1 + times):
        for step, own in zip(steps, taken, strict=True):
            started = time.perf_counter()
            step()
            own.append(time.perf_counter() - started)
    return [float(np.median(own[1:])) for own in taken]


# -- both models -------------------------------------------------------------------------------------------------------


def config() -> ModelConfig:
    return ModelConfig(tuple(KEYS), **MODELS["base"].model)


def ours() -> Callable[[Batch], None]:
    """A step of ours."""
    torch.manual_seed(0)
    model = AnyToAny(config())
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step(batch: Batch) -> None:
        optimiser.zero_grad(set_to_none=True)
        (model(batch).sum() / sum(batch.targets.counts.values())).backward()
        optimiser.step()

    return step


def theirs() -> Callable[[Any], None]:
    """A step of theirs."""
    from aion.fourm.fm import FourM
    from aion.model import AION

    model = AION(config().as_published())
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step(mods: Any) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss, _ = FourM.forward(model, mods, 256, 128)
        loss.backward()
        optimiser.step()

    return step


def as_published(batch: Batch) -> dict[str, dict[str, torch.Tensor]]:
    """The same objects, tokens and masks as the published model takes them: rectangles of every modality."""
    count = batch.inputs.objects.count
    mods: dict[str, dict[str, torch.Tensor]] = {}
    for side, name in ((batch.inputs, "input_mask"), (batch.targets, "target_mask")):
        objects = torch.repeat_interleave(torch.arange(count), side.objects.offsets.long().diff())
        ids = side.ids if side is batch.inputs else batch.targets.labels
        for number in sorted(set(side.rows.tolist())):
            row = list(MODALITIES.values())[number]
            shape = (count, row.tokens)
            empty = {
                "tensor": torch.zeros(shape, dtype=torch.long),
                "decoder_attention_mask": torch.zeros(shape).long(),
            }
            masks = {mask: torch.ones(shape, dtype=torch.bool) for mask in ("input_mask", "target_mask")}
            mod = mods.setdefault(row.key, {**empty, **masks})
            own = side.rows == number
            mod["tensor"][objects[own], side.places[own]] = ids[own]
            mod[name][objects[own], side.places[own]] = False
            if name == "target_mask":
                first = (~mod[name]).int().argmax(1)
                mod["decoder_attention_mask"][torch.arange(count), first] = (~mod[name]).sum(1)
    return mods


def steps(only: str | None, count: int, times: int, target_counts: Counts = "full") -> None:
    """Both, of the same batches, in turn."""
    masking = Masking(256, 128, target_counts=target_counts)
    batch = masking.masked(tokens(count, only), np.arange(count), 0).batch
    useful, work = batch.tokens, flops.of_batch(config(), batch)
    name = "steps" if only else f"useful, targets {target_counts}"
    mine, others = in_turn(times, partial(ours(), batch), partial(theirs(), as_published(batch)))
    floor = flops.measured(torch.device("cpu"), torch.float32, 768 * 2)
    for whose, taken in (("ours", mine), ("theirs", others)):
        said(bench=name, of=whose, seconds=taken, objects_s=count / taken, tokens_s=useful / taken)
    said(bench=name, of="ours", gflop_s=work / mine / 1e9, of_floor=work / mine / floor)
    said(bench=name, ratio=others / mine, filled=useful / (count * 384), floor_gflop_s=floor / 1e9)


# -- codecs ------------------------------------------------------------------------------------------------------------


def encoders(times: int) -> None:
    """Images and spectra, with the published sizes.

    Of spectra an id in ten thousand may differ, where a latent is all but 0 and theirs is rounded across it.
    """
    from aion.modalities import DESISpectrum, LegacySurveyImage

    from tests.training.codecs.published import images, spectra
    from training.codecs.agreement import DES

    flux = images(DES, count=4, side=96).flux
    given = {key: values.repeat(3, 1)[:8] for key, values in spectra().items()}
    encoder("image", times, 4, lambda codec: codec.encode(flux, DES),
            lambda codec: codec.encode(LegacySurveyImage(flux=flux.clone(), bands=DES)))  # fmt: skip
    encoder("spectrum", times, 8, lambda codec: codec.encode(**given),
            lambda codec: codec.encode(DESISpectrum(**given)))  # fmt: skip


def encoder(name: str, times: int, count: int, ours_by: Callable[[Any], Any], theirs_by: Callable[[Any], Any]) -> None:
    """Both, of equal weights and the same objects; theirs has a copy of images, which it writes into."""
    from tests.training.codecs.published import SIZES, ours, peer

    reference = peer(name, **SIZES[name])
    with tempfile.TemporaryDirectory() as folder:
        own: Any = ours(name, reference, Path(folder), compat=None)
    mine, others = partial(ours_by, own), partial(theirs_by, reference)
    with torch.no_grad():
        exact = mine()
        same = float((exact == others()).float().mean())
        taken, their_time = in_turn(times, mine, others)
        with torch.autocast("cpu", torch.bfloat16):
            half, near = seconds(mine, times), mine()
    agree = float((near == exact).float().mean())
    facts = {"threads": torch.get_num_threads(), "objects": count, "different_ids": len(torch.unique(exact))}
    said(bench=f"encode {name}", ours_s=count / taken, theirs_s=count / their_time, ratio=their_time / taken,
         same_ids=same, **facts)  # fmt: skip
    said(bench=f"encode {name} in bfloat16", ours_s=count / half, ratio_to_float32=taken / half, same_ids=agree)


def loader() -> None:
    """Masking alone, and with reading; what a Base step of 384 objects takes at 40 % of an H100's peak."""
    from training.loader import Loader
    from training.sources import Shards

    known = tokens(4096)
    masking = Masking(256, 128)
    taken = seconds(lambda: masking.masked(known, np.arange(4096), 0), 5)
    said(bench="masking", objects_s=4096 / taken)
    with tempfile.TemporaryDirectory() as folder:
        write(known, Path(folder) / "tokens", 8)
        made = Loader([Shards(Path(folder) / "tokens")], masking, batch_size=384, seed=0)
        batches = iter(made)
        next(batches)
        started = time.perf_counter()
        for _ in range(40):
            next(batches)
        rate = 40 * 384 / (time.perf_counter() - started)
        batches.close()  # type: ignore[attr-defined]
        needed = 989e12 * 0.4 / 0.2435e12
        said(bench="loader", objects_s=rate, one_h100_takes=needed, ratio=rate / needed)


def write(known: dict[str, Any], folder: Path, copies: int) -> None:
    """Token shards of objects, as `mmu tokenize` lays them out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from training.modalities import VERSION
    from training.token_shards import ABOUT

    count = len(next(iter(known.values())))
    about = {"modalities": VERSION, "codecs": {}, "of": {key: MODALITIES[key].codec for key in known}, "rows": {}}
    columns: dict[str, Any] = {
        "object_id": pa.array([str(i) for i in range(count)]),
        "_healpix_29": pa.array(range(count)),
    }
    for key, ids in known.items():
        there = (ids != ABSENT).any(1)
        kind = pa.list_(pa.field("element", pa.int16(), nullable=False), MODALITIES[key].tokens)
        flat = pa.array(np.where(there[:, None], ids, 0).reshape(-1))
        columns[key] = pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(~there))
    table = pa.table(columns).replace_schema_metadata({ABOUT: json.dumps(about).encode()})
    for number in range(copies):
        path = folder / f"dataset/Norder=1/Dir=0/Npix={number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=4096, compression="zstd")


def main() -> None:
    wanted = sys.argv[1:] or ["steps", "useful", "codecs", "loader"]
    flags = Path("/proc/cpuinfo").read_text().split("flags")[1].split("\n")[0] if Path("/proc/cpuinfo").exists() else ""
    found = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    said(
        machine=platform.processor() or platform.machine(),
        flags=found,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    if "steps" in wanted:
        steps("legacysurvey", 2, 3)
    if "useful" in wanted:
        steps(None, 8, 2)
        steps(None, 8, 2, ("beta", 0.1, 1.0))
    if "codecs" in wanted:
        encoders(5)
    if "loader" in wanted:
        loader()


if __name__ == "__main__":
    main()
