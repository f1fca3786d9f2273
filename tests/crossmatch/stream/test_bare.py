"""A release or pairs on this machine stream where only NumPy and pyarrow are, as on a GPU's bare machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mmu
from crossmatch.materialize import materialize

ROOT = Path(__file__).resolve().parents[3]
ABSENT = (
    "astropy dask datasets distributed filelock fsspec h5py healpy huggingface_hub mocpy pandas PIL requests rich "
    "scipy stamina typer xxhash yaml"
)
CODE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT.split()}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import mmu
stream = mmu.stream(sys.argv[1], batch_size=8, shuffle=1, tail="exact")
print(sum(batch.size for batch in stream), sorted(stream.state_dict()["identity"]["datasets"]))
"""


def streamed(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_with_numpy_and_pyarrow_only(sky: dict[str, Path], tmp_path: Path) -> None:
    release = mmu.open(sky["desi"]).path
    assert streamed(release) == f"{len(mmu.open(release))} ['desi']"
    found = mmu.crossmatch(sky["ls"], sky["desi"], out=tmp_path / "pairs")
    materialize(found, ["ls.image", "desi.spectrum"])
    assert streamed(tmp_path / "pairs" / "pairs") == f"{len(found)} ['desi', 'ls']"
