# shellcheck shell=bash
# Sourced by every job script here: its settings, its environment, and workers inside the job.
#
# Settings are environment variables (sbatch hands them on); everything else is an option of `mmu`, given to the script.
#   MMU_DATA       folder of datasets                                     ./data
#   MMU_CACHE      folder of raw files; `mmu fetch` may have filled it    MMU_DATA/.cache
#   MMU_SOURCE     archive's mirror, a folder, or simulated               the public archive
#   MMU_VENV       virtual environment to activate                        what is active
#   MMU_MODULES    environment modules to load, separated by spaces       none
#   MMU_WORKERS    processes, outside Slurm; in a job: one a task         2
#   MMU_INTERFACE  network interface of the scheduler and workers: ib0    Dask's choice
set -euo pipefail

say_no() {
  echo "${0##*/}: $1" >&2
  exit 2
}

MMU_DATA=${MMU_DATA:-$PWD/data}
MMU_CACHE=${MMU_CACHE:-$MMU_DATA/.cache}
MMU_WORKERS=${MMU_WORKERS:-2}

[[ $MMU_WORKERS =~ ^[0-9]+$ ]] || say_no "MMU_WORKERS=$MMU_WORKERS: give a number of processes, 0 or more."
mkdir -p "$MMU_DATA" "$MMU_CACHE" 2> /dev/null ||
  say_no "MMU_DATA=$MMU_DATA, MMU_CACHE=$MMU_CACHE: cannot be made; give folders that every node sees and you can write."

set +u # modules and environments use variables that are not set
if [[ -n $MMU_MODULES ]]; then
  # shellcheck disable=SC2086 # each word is a module
  module load $MMU_MODULES 2> /dev/null || say_no "MMU_MODULES=$MMU_MODULES: cannot be loaded; \`module avail\` lists what there is."
fi
if [[ -n $MMU_VENV ]]; then
  [[ -r $MMU_VENV/bin/activate ]] || say_no "MMU_VENV=$MMU_VENV: has no bin/activate; make it with \`python -m venv\`."
  # shellcheck source=/dev/null
  source "$MMU_VENV/bin/activate"
fi
set -u
python -c 'import mmu.cli' 2> /dev/null || say_no "this python has no mmu; set MMU_VENV, or activate where it is installed."

# Processes are the parallelism: libraries with threads of their own would take cores that other workers have.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
export DASK_LOGGING__DISTRIBUTED=${DASK_LOGGING__DISTRIBUTED:-error}

# What every build is told; a job has nobody to ask whether more than 100 GB are meant.
# shellcheck disable=SC2034 # the scripts use it
build_options=(--out "$MMU_DATA" --cache "$MMU_CACHE" ${MMU_SOURCE:+--source "$MMU_SOURCE"} --yes)

# Sets `workers` to the options that name them: in a Slurm job a Dask scheduler here and a worker for each task of the
# job, found through a scheduler file and gone when the script ends; elsewhere MMU_WORKERS processes of this machine.
# shellcheck disable=SC2034
start_workers() {
  workers=(--workers "$MMU_WORKERS")
  [[ -n ${SLURM_JOB_ID:-} ]] || return 0
  folder=$(mktemp -d "$MMU_DATA/.dask-$SLURM_JOB_ID-XXXXXX")
  trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
  local dask=(--scheduler-file "$folder/scheduler.json" --no-dashboard ${MMU_INTERFACE:+--interface "$MMU_INTERFACE"})
  python -m dask scheduler "${dask[@]}" --port 0 &
  # --mem-per-cpu is what a worker may use: one task is one process on one core.
  srun python -m dask worker "${dask[@]}" --nthreads 1 --memory-limit "${SLURM_MEM_PER_CPU:-4096}MiB" \
    --local-directory "${TMPDIR:-/tmp}" --death-timeout 300 &
  workers=(--scheduler "file:$folder/scheduler.json")
}
