"""Codecs and reading tokens import where only torch, NumPy, pyarrow and safetensors are; training needs xxhash too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BARE = "ragged model.anytoany model.files modalities recipes checkpoint token_shards inputs codecs train_codec".split()
BARE += (
    "views draws spans columns masking shuffle share sources loader command pretrain evaluate scores baselines".split()
)
ENGINE = "checkpoints feed flops forecast log loop meter optimiser parallel profile signals".split()
CODECS = "agreement bands catalogue curves image light_curve passbands points quantize scalar segmap spectrum".split()
CODECS += "sections whitened".split()
TRAINING = "batches maps fit quantiles tokens on_the_fly score_codecs score_curves score_kinds score_samples".split()
CODE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import importlib
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
ABSENT = "astropy healpy datasets dask distributed h5py requests aion PIL mocpy stamina rich huggingface_hub filelock"


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        (f"{ABSENT} xxhash", [*BARE, *(f"codecs.{name}" for name in CODECS), *(f"engine.{name}" for name in ENGINE)]),
        (ABSENT, TRAINING),
    ],
)
def test_training_imports_on_a_bare_machine(absent: str, names: list[str]) -> None:
    command = [sys.executable, "-c", CODE, absent, *(f"training.{name}" for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
