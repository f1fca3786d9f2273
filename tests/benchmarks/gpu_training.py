"""How much of a GPU's arithmetic training uses, and how far the published package gets with the same step.

Run as `python tests/benchmarks/gpu_training.py [RESULTS.json]` where there is a GPU (`--cpu` tries the script out
without one). Under nine minutes, no network; the file is written after every figure, the most valuable first:

attention   stretches as they are in bfloat16 beside rectangles in float32: the same logits
base        steps of the Base model, blocks compiled, all budgets full, tokens on the device, AdamW included
ragged      objects of five surveys as they are, from token shards through the loader: tokens that count, wait for data
large       as base
published   the package's own model, eager under autocast, the same optimiser; where it is installed

Share of the peak: products of linear layers, attention and heads, by the data sheet's dense bfloat16 rate and by a
product of 8192 x 8192 matrices that is timed first.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from tests.benchmarks.bench_training import as_published, tokens, write
from training.engine import flops, parallel
from training.masking import Masking
from training.model.agreement import KEYS
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.ragged import Batch
from training.recipes import MODELS

CPU = "--cpu" in sys.argv
DEVICE = torch.device("cpu" if CPU else "cuda")
DTYPE = torch.float32 if CPU else torch.bfloat16
SIZES = {"base": 2 if CPU else 320, "large": 1 if CPU else 160}
STEPS, WARM = (1, 1) if CPU else (50, 20)
RESULTS: dict[str, Any] = {}
OUT = next((Path(word) for word in sys.argv[1:] if word.endswith(".json")), Path("gpu_training.json"))


def told(name: str, **facts: Any) -> None:
    """Keep a figure, and write all so far."""
    RESULTS[name] = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in facts.items()}
    OUT.write_text(json.dumps(RESULTS, indent=2))
    print(name, json.dumps(RESULTS[name]), flush=True)  # noqa: T201


def settle() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def full(count: int) -> Batch:
    """Objects with all tokens that the budgets allow."""
    return Masking(256, 128).masked(tokens(count, "legacysurvey"), np.arange(count), 0).batch


def config(name: str) -> ModelConfig:
    sizes = dict(MODELS[name].model)
    return ModelConfig(tuple(KEYS), **{**sizes, "encoder_depth": 1, "decoder_depth": 1} if CPU else sizes)


def trained(model: Any) -> Callable[[Batch], None]:
    """A step: forward and backward in DTYPE, AdamW in float32."""
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step(batch: Batch) -> None:
        optimiser.zero_grad(set_to_none=True)
        with parallel.computing(parallel.World(0, 1, DEVICE), DTYPE):
            loss = model(batch).sum() / sum(batch.targets.counts.values())
        loss.backward()
        optimiser.step()

    return step


def median(step: Callable[[], None]) -> float:
    """Seconds of a step, after some."""
    taken = []
    for number in range(WARM + STEPS):
        settle()
        started = time.perf_counter()
        step()
        settle()
        if number >= WARM:
            taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def attention() -> None:
    """Both ways of attending, of equal weights."""
    torch.manual_seed(0)
    model = AnyToAny(ModelConfig(tuple(KEYS), dim=256, encoder_depth=2, decoder_depth=2, heads=4)).to(DEVICE)
    made = Masking(256, 128).masked(tokens(16), np.arange(16), 0).batch.to(DEVICE)
    with torch.no_grad():
        exact = model(made)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            near = model(made)
    there = exact > 0
    told("attention", worst_relative=float(((near - exact).abs() / exact)[there].max()))


def ours(name: str, floor: float) -> None:
    """Steps of one size, budgets full."""
    count = SIZES[name]
    made = full(count)
    torch.manual_seed(0)
    model = parallel.lay(AnyToAny(config(name)), parallel.World(0, 1, DEVICE), DTYPE, compiled=not CPU)
    work = flops.of_batch(config(name), made)
    step, there = trained(model), made.to(DEVICE)
    seconds = median(lambda: step(there))
    rate = work / seconds
    peak, source = flops.peak(DEVICE, DTYPE)
    told(name, objects_s=count / seconds, tflop_s=rate / 1e12, mfu=rate / peak, of_product=rate / floor, peak=source,
         tflop_object=work / count / 1e12, seconds=seconds, **memory())  # fmt: skip


def memory() -> dict[str, float]:
    return {} if CPU else {"gigabytes": torch.cuda.max_memory_allocated() / 1e9}


def as_they_are(floor: float) -> None:
    """The loader and objects of all kinds."""
    from training.loader import Loader
    from training.sources import Shards

    count = SIZES["base"] * 2
    with tempfile.TemporaryDirectory() as folder:
        write(tokens(4096), Path(folder) / "tokens", 8)
        shards = Shards(Path(folder) / "tokens")
        made = Loader([shards], Masking(256, 128), batch_size=count, seed=0, device=str(DEVICE))
        model = parallel.lay(AnyToAny(config("base")), parallel.World(0, 1, DEVICE), DTYPE, compiled=not CPU)
        step, batches = trained(model), iter(made)
        for number in range(WARM + STEPS):
            if number == WARM:
                settle()
                started, waited, useful, work = time.perf_counter(), made.wait(), 0, 0.0
            batch = next(batches).batches[0]
            step(batch)
            if number >= WARM:
                useful += batch.tokens
                work += flops.of_batch(config("base"), batch.to("cpu")) if number % 10 == 0 or CPU else 0.0
        settle()
        seconds = time.perf_counter() - started
        rate = work * (1 if CPU else 10) / seconds
        told("ragged", tokens_s=useful / seconds, objects_s=STEPS * count / seconds, tflop_s=rate / 1e12,
             of_product=rate / floor, data_wait=(made.wait() - waited) / seconds)  # fmt: skip
        batches.close()  # type: ignore[attr-defined]


def published() -> None:
    """Theirs, where it is."""
    try:
        from aion.fourm.fm import FourM
        from aion.model import AION
    except ImportError as problem:
        told("published", left_out=str(problem))
        return
    count = max(1, SIZES["base"] // 4)
    mods = {k: {n: t.to(DEVICE) for n, t in d.items()} for k, d in as_published(full(count)).items()}
    model = AION(config("base").as_published()).to(DEVICE)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=not CPU):
            loss, _ = FourM.forward(model, mods, 256, 128)
        loss.backward()
        optimiser.step()

    seconds = median(step)
    told("published", objects_s=count / seconds, seconds=seconds, ratio=RESULTS["base"]["objects_s"] * seconds / count)


def main() -> None:
    if not CPU and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here; --cpu tries the script out.")
    floor = flops.measured(DEVICE, DTYPE, 512 if CPU else 8192)
    told("machine", device="CPU" if CPU else torch.cuda.get_device_name(), torch=str(torch.__version__),
         product_tflop_s=floor / 1e12)  # fmt: skip
    attention()
    ours("base", floor)
    as_they_are(floor)
    ours("large", floor)
    published()


if __name__ == "__main__":
    main()
