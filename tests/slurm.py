"""A Slurm of three commands: jobs and steps are processes of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

# A job is a process group of its own, and its id that of its leader.
SBATCH = """#!/bin/bash
echo "$*" >> "{log}"
if [[ $1 == --test-only ]]; then
  if grep -q 'SBATCH -A nobody' -; then echo 'allocation failure: Invalid account' >&2; exit 1; fi
  exit 0
fi
cp "$1" "{folder}/job.sh"
setsid bash "{folder}/job.sh" > "{folder}/job.out" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""
# As many copies of the command as the job has tasks.
SRUN = """#!/bin/bash
echo "srun $*" >> "{log}"
while [[ $1 == -* ]]; do shift; done
for ((task = 0; task < SLURM_NTASKS; task++)); do "$@" & done
trap 'kill $(jobs -p)' TERM
wait
"""


def install(folder: Path) -> str:
    """Put them into a folder; gives the PATH that finds them, and this Python, first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL), ("srun", SRUN)):
        path = folder / name
        path.write_text(script.replace("{folder}", str(folder)).replace("{log}", str(folder / "log")))
        path.chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
