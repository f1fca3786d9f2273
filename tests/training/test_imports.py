"""Codecs, training and reading tokens import where only torch, NumPy, pyarrow and safetensors are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BARE = "modalities recipes checkpoint token_shards fit batches train_codec inputs codecs".split()
CODECS = "bands catalogue image quantize scalar segmap spectrum".split()
CODE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"astropy", "healpy", "datasets", "dask", "distributed", "xxhash", "h5py", "requests",
                                  "aion", "PIL", "mocpy", "stamina", "rich", "huggingface_hub", "fsspec", "filelock"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_training_imports_on_a_bare_machine() -> None:
    names = [*(f"training.{name}" for name in BARE), *(f"training.codecs.{name}" for name in CODECS)]
    done = subprocess.run([sys.executable, "-c", CODE, *names], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
