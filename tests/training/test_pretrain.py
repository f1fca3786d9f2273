"""The command that trains: from token shards to a model, told beforehand, taken up again; what it cannot do it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.engine.runs import ROOT, losses, trainer
from tests.training.engine.shards import KEYS, token_folder
from training.engine.log import LOG
from training.engine.profile import TRACE
from training.engine.signals import Stop
from training.modalities import MODALITIES
from training.model import files
from training.pretrain import main
from training.ragged import Cells, batch


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two folders; the second has one more modality."""
    root = tmp_path_factory.mktemp("tokens")
    return [
        str(token_folder(root / "first", 40, KEYS[:3])),
        str(token_folder(root / "second", 20, KEYS)),
    ]


@pytest.fixture(scope="module")
def trained(tokens: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    assert main(asked(tokens, out)) == 0
    return out


def asked(tokens: list[str], out: Path, *more: str) -> list[str]:
    given = ["--recipe", "test", "--data", *tokens, "--out", str(out), "--device", "cpu", "--log-every", "1"]
    return [*given, "--save-every", "5", *more]


def test_a_model_comes_of_token_shards(trained: Path) -> None:
    found = losses(trained)
    assert list(found) == list(range(1, 21))
    assert found[20] < 0.85 * found[1]
    entries = [json.loads(line) for line in (trained / LOG).read_text().splitlines()]
    assert {*entries[0]} >= {"learning_rate", "gradient", "tokens_per_second", "mfu", "data_wait", "losses"}
    assert set().union(*(entry["losses"] for entry in entries)) == set(KEYS)
    assert all(entry["objects_left_out"] == 0 for entry in entries)
    model = files.load(trained)
    assert model.config.modalities == tuple(key for key in MODALITIES if key in KEYS)
    facts = json.loads((trained / files.CONFIG).read_text())["trained"]
    assert facts["data"]["objects"] == {"first": 40, "second": 20}
    assert facts["data"]["codecs"]["segmentation_map"] == "0" * 64


def test_it_stops_when_asked_and_goes_on(
    tokens: list[str], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "training.pretrain", *asked(tokens, tmp_path, "--steps", "20", "--threads", "1")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.startswith("step       3"):
                process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert max(losses(tmp_path)) < 20
    assert not (tmp_path / files.WEIGHTS).exists()
    assert main(asked(tokens, tmp_path)) == 0
    assert "resumed at step" in capsys.readouterr().out
    assert losses(tmp_path) == losses(trained)
    assert (tmp_path / files.WEIGHTS).read_bytes() == (trained / files.WEIGHTS).read_bytes()


def test_a_run_that_is_done_is_done(tokens: list[str], trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = losses(trained)
    assert main(asked(tokens, trained)) == 0
    assert "resumed at step 20 of 20" in capsys.readouterr().out
    assert losses(trained) == before


def test_parts_of_a_step_make_the_same_step(tokens: list[str], trained: Path, tmp_path: Path) -> None:
    assert main(asked(tokens, tmp_path, "--accumulate", "4")) == 0
    assert list(losses(tmp_path).values()) == pytest.approx(list(losses(trained).values()), rel=1e-6)


def test_it_goes_on_from_other_weights(tokens: list[str], trained: Path, tmp_path: Path) -> None:
    given = asked(tokens[:1], tmp_path / "more", "--init", str(trained), "--steps", "1")
    assert main(given) == 0
    assert losses(tmp_path / "more")[1] < 0.9 * losses(trained)[1]
    assert files.load(tmp_path / "more").config == files.load(trained).config


def test_a_dry_run_says_what_it_would_be(
    tokens: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert main(asked(tokens, out, "--dry-run", "--batch-size", "8")) == 0
    told = capsys.readouterr().out
    for words in (
        "40 of first, 20 of second",
        "first 67%, second 33%",
        "4: tok_ebv, tok_segmap, tok_xp_bp, tok_z",
        "with gradients and optimiser",
        " asked for of an object, ",
        "GFLOP an object",
        "GB a process, 8 objects at a time",
        "20 steps, about 0.00 hours on 1 x cpu",
        "a step of 4 objects took",
    ):
        assert words in told
    assert not out.exists()
    monkeypatch.setattr("training.engine.forecast.free", lambda device: 0)
    assert main(asked(tokens, out, "--dry-run")) == 0
    assert "assumed: a step does not fit here" in capsys.readouterr().out


def test_a_trace_is_written(tokens: list[str], tmp_path: Path) -> None:
    assert main(asked(tokens, tmp_path, "--profile", "--steps", "8", "--batch-size", "2")) == 0
    assert json.loads((tmp_path / TRACE).read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--recipe", "bse"], "Unknown recipe 'bse'"),
        (["--recipe", "bse"], "Did you mean 'base'"),
        (["--data", "nowhere"], "holds no token shards"),
        (["--batch-size", "0"], "--batch-size 0: give 1 or more"),
        (["--accumulate", "3"], "multiple of 1 ranks x 3 slices"),
        (["--device", "gpu"], "Unknown device 'gpu'"),
        (["--dtype", "float8"], "Unknown dtype 'float8'"),
        (["--split", "trian"], "Unknown split 'trian'"),
        (["--splits", "train=0.5,test=0.5"], "--splits without --split"),
        (["--init", "nowhere"], "holds no model"),
    ],
)
def test_what_it_cannot_do_it_says(
    tokens: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main([*asked(tokens, tmp_path), *more]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_codecs_weights_and_runs_are_told(
    tokens: list[str], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(token_folder(tmp_path / "other", 10, KEYS, codec="1" * 64))
    assert main(asked([*tokens, other], tmp_path / "out")) == 2
    assert "different codecs" in capsys.readouterr().err
    assert main([*asked(tokens, tmp_path / "out", "--init", str(trained)), "--recipe", "demo"]) == 2
    assert "another size than the recipe (dim is 32, not 96" in capsys.readouterr().err
    assert main(asked(tokens, trained, "--batch-size", "4")) == 2
    assert "recipe.batch_size was 8, now 4" in capsys.readouterr().err
    assert main(asked([other], trained)) == 2
    assert "data.objects.other was None, now 10" in capsys.readouterr().err


def test_parts_without_objects_take_their_turn(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    whole = made.batches(0)
    made.advance(Stop())
    again = trainer(tmp_path)
    nothing = np.zeros(0, np.int64)
    empty = batch(0, Cells(*[nothing] * 4), Cells(*[nothing] * 4), nothing)
    again.batches = lambda step: [*whole, empty]  # type: ignore[assignment]
    again.advance(Stop())
    for name, values in made.model.state_dict().items():
        assert torch.allclose(values, again.model.state_dict()[name], rtol=1e-6, atol=1e-9), name


def test_datasets_are_encoded_as_they_are_asked_for(
    sky: dict[str, Path], codecs_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = asked([str(sky["desi"])], tmp_path, "--steps", "2", "--batch-size", "4")
    assert main(given) == 2
    assert "holds no token shards; `mmu tokenize` makes them, or give codecs" in capsys.readouterr().err
    assert main([*given, "--codecs", str(codecs_folder)]) == 0
    assert files.load(tmp_path).config.modalities == ("tok_spectrum_desi", "tok_z", "tok_redshift")
    assert list(losses(tmp_path)) == [1, 2]


def test_tokens_of_other_codecs_than_asked_for_are_told(
    codecs_folder: Path, tokens: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(tokens, tmp_path, "--codecs", str(codecs_folder))) == 2
    assert "made by another codec" in capsys.readouterr().err
