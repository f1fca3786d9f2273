"""The training part of `mmu demo`: the commands that anybody would run, on what it has built; minutes on two cores.

Codecs of images, spectra and numbers, tokens of the objects that have both, an any-to-any model of them, and what it
knows of a part of the sky that neither it nor the codecs have seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

SKY = ("--splits", "test=0.2,train=0.8")
"""The demo's field lies in the training share of the usual splits."""
SEEN = ("--split", "train", *SKY)
IMAGE, SPECTRUM, REDSHIFT = "tok_image12_legacysurvey", "tok_spectrum_desi", "tok_redshift"
FLUXES = ("tok_flux_g", "tok_flux_r", "tok_flux_z")
MODALITIES = (IMAGE, SPECTRUM, REDSHIFT, *FLUXES, "tok_shape_r", "tok_ebv")
QUESTIONS = (
    f"{REDSHIFT}={IMAGE}",
    f"{SPECTRUM}={IMAGE}",
    f"{REDSHIFT}={SPECTRUM}",
    f"{REDSHIFT}={','.join(FLUXES)}",
    f"{IMAGE}={SPECTRUM}",
)
CODES = "32"
"""Of each number: there are hundreds of objects, not millions."""
THREADS = str(max(1, (os.cpu_count() or 1) // 2))
"""Of each command: two run beside each other, and threads that wait for a core hold up all others."""
GLANCE_S = 0.5

Command = tuple[str, ...]


class Failed(Exception):
    """A command did not end well; in words."""


def train(out: Path, pairs: Path, console: Console, steps: int | None = None) -> list[str]:
    """Train on the datasets and their match in a demo's folder; returns problems.

    Writes OUT/codecs, OUT/tokens and OUT/model, which a report takes.

    Args:
        steps: of each network, instead of its recipe's.
    """
    started = time.monotonic()
    few = () if steps is None else ("--steps", str(steps))
    codecs, tokens, model = out / "codecs", out / "tokens", out / "model"
    try:
        _together(_codecs(out, codecs, few), codecs, console)
        _together(_model(out, codecs, tokens, model, pairs, few), model, console)
    except Failed as problem:
        return [str(problem)]
    for one in json.loads((model / "heldout.json").read_text()):
        console.print(_told(one), markup=False)
    console.print(f"training: {time.monotonic() - started:.0f} s", markup=False)
    return []


def _codecs(out: Path, codecs: Path, few: Command) -> list[list[Command]]:
    """Two chains of commands, as `_model` gives."""
    to, threads = (*SEEN, "--out", str(codecs)), ("--threads", THREADS)
    images, spectra = str(out / "legacysurvey"), str(out / "desi")
    return [
        [("training.train_codec", "image", "--recipe", "image-demo", "--data", images, *to, *threads, *few)],
        [
            ("training.train_codec", "spectrum", "--data", spectra, *to, *threads, *few),
            ("training.train_codec", "scalars", "--data", images, spectra, "--codes", CODES, *to),
        ],
    ]


def _model(out: Path, codecs: Path, tokens: Path, model: Path, pairs: Path, few: Command) -> list[list[Command]]:
    """The model, and beside it what the codecs are worth."""
    of, data, threads = ("--codecs", str(codecs)), ("--data", str(tokens / pairs.name)), ("--threads", THREADS)
    unseen, pictures = ("--split", "test", *SKY), ("--pictures", str(model))
    datasets = (str(out / "legacysurvey"), str(out / "desi"))
    turned, held = ("--views", "8", "--batch-size", "16"), ("--out", str(model / "heldout.json"))
    asked = ("--ask", *QUESTIONS, *unseen, *held, *pictures)
    return [
        [
            ("mmu", "tokenize", str(pairs), *of, "--out", str(tokens), "--only", ",".join(MODALITIES), *turned),
            ("training.pretrain", "--recipe", "demo", *data, *of, *SEEN, "--out", str(model), *threads, *few),
            ("training.evaluate", "heldout", "--model", str(model), *of, *data, *asked, *threads),
        ],
        [("training.evaluate", "codecs", *of, "--data", *datasets, *unseen, "--most", "64", *pictures, *threads)],
    ]


def _together(chains: Sequence[Sequence[Command]], folder: Path, console: Console) -> None:
    """Run chains of commands beside each other; what they say goes to logs in a folder.

    Raises:
        Failed: one did not end well; the others are stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = [list(chain) for chain in chains]
    running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
    try:
        with console.status("") as status:
            while any(left) or running:
                for number, chain in enumerate(left):
                    if chain and number not in running:
                        running[number] = _begun(chain.pop(0), folder, console)
                time.sleep(GLANCE_S)
                status.update(" | ".join(_last(log) for _, log in running.values()))
                for number, (process, log) in list(running.items()):
                    if process.poll() is not None:
                        del running[number]
                        _judged(process.returncode, log)
    finally:
        _stop(process for process, _ in running.values())


def _begun(command: Command, folder: Path, console: Console) -> tuple[subprocess.Popen[bytes], Path]:
    name, *words = command
    console.print(" ".join([name] if name == "mmu" else ["python -m", name]), *words, markup=False)
    log = folder / f"{'-'.join([name.rpartition('.')[2], *words[: not words[0].startswith('-')]])}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", name, *words], stdout=file, stderr=subprocess.STDOUT, env=environment
        ), log


def _last(log: Path) -> str:
    """The last line that a command has said."""
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""


def _judged(code: int, log: Path) -> None:
    if code:
        raise Failed(f"training ended with {code}: {_last(log) or 'it said nothing'}; {log} has all that it said.")


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
        process.wait()


def _told(one: dict[str, Any]) -> str:
    """What the model knows of a modality of objects it has not seen."""
    return (
        f"{one['target']} given {', '.join(one['given'])}: {one['model']:.3f} nats a token of {one['objects']:,} "
        f"unseen objects; given nothing {one['unigram']:.3f}, given another's {one['shuffled']:.3f}: "
        f"{'below both' if one['passes'] else 'not surely below both'}"
    )
