"""A run of training on the page: its losses, what it knows, its pictures; and a log that is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmu.errors import UsageError
from mmu.report import write_report
from mmu.report.chart import lines
from mmu.report.find import RUN, find

HELD = {"target": "tok_redshift", "given": ["tok_ebv", "tok_flux_g"], "objects": 1200, "tokens": 1, "unigram": 3.5,
        "model": 3.25, "shuffled": 4.125, "gain": [0.1, 0.3], "use": [0.5, 0.9], "passes": True}  # fmt: skip


def entry(step: int, **losses: float) -> str:
    told = {"step": step, "loss": 5 / step, "losses": losses, "tokens_per_second": 1000.0 * step, "data_wait": 0.01}
    return json.dumps(told) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    log = entry(20, tok_ebv=4.0) + entry(40, tok_ebv=3.0, tok_redshift=3.5) + entry(60, tok_ebv=2.0, tok_redshift=3.1)
    (folder / "log.jsonl").write_text(log)
    return folder


def page(folder: Path) -> str:
    return write_report([folder], folder.parent / "page.html").read_text()


def test_losses_and_what_is_known_are_shown(run: Path) -> None:
    (run / "heldout.json").write_text(json.dumps([HELD, {**HELD, "passes": False}]))
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(run / "image-of_something.png")
    words = page(run)
    assert "Loss of each modality" in words
    assert "tok_ebv 4 to 2, tok_redshift 3.5 to 3.1." in words
    assert "40,000" in words
    assert "<td><code>tok_ebv, tok_flux_g</code></td>" in words
    assert all(f'<td class="num">{one}</td>' in words for one in ("1,200", "3.250", "3.500", "4.125"))
    assert words.count(">yes<") == words.count(">not surely<") == 1
    assert 'alt="image of something"' in words


def test_a_codec_has_its_chi_square_and_perplexity(tmp_path: Path) -> None:
    folder = tmp_path / "image.run"
    folder.mkdir()
    several = [{"step": step, "loss": 1.0, "chi_square": 2.0, "perplexity": 30.0 * step} for step in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in several))
    words = page(folder)
    assert [title in words for title in ("Loss", "Chi-square", "Perplexity", "Loss of each")] == [
        True,
        True,
        True,
        False,
    ]
    assert ">image <small>training" in words


def test_a_run_that_goes_on_or_has_only_begun_is_shown(run: Path) -> None:
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 80, "lo')
    assert "60" in page(run)
    (run / "log.jsonl").write_text("")
    assert "none yet" in page(run)


def test_what_cannot_be_read_is_said(run: Path) -> None:
    (run / "heldout.json").write_text("[{}]")
    assert "could not all be read" in page(run)
    (run / "heldout.json").unlink()
    (run / "log.jsonl").write_text("no JSON\n")
    assert "could not all be read" in page(run)


def test_runs_are_found_in_a_folder_and_below_it(run: Path) -> None:
    assert [one.kind for one in find([run])] == [one.kind for one in find([run.parent])] == [RUN]
    (run / "empty").mkdir()
    with pytest.raises(UsageError, match="no run"):
        find([run / "empty"])


def test_many_modalities_have_several_charts(run: Path) -> None:
    names = {f"tok_{number}": 1.0 for number in range(11)}
    (run / "log.jsonl").write_text(entry(1, **names) + entry(2, **names))
    words = page(run)
    assert "Loss of each modality (1)" in words
    assert "Loss of each modality (2)" in words


def test_lines_leave_out_what_is_not_known() -> None:
    none = np.array([])
    drawn = lines("Loss", "steps", "nats", {"a": (np.arange(3.0), np.ones(3)), "b": (none, none)})
    assert (drawn.legend, drawn.caption) == ((), "a 1 to 1.")
    assert lines("Loss", "steps", "nats", {"b": (none, none)}).caption == ""
