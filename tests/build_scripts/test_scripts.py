"""The job scripts: sound shell, one for every survey, and each does what it says, outside Slurm and in a job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmu.build.progress import human_bytes
from mmu.kept import VARIABLE
from mmu.survey import Survey, get_survey, survey_names
from tests.slurm import install

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build_scripts"
JOBS = sorted(FOLDER.glob("*.sbatch"))
SURVEYS = [survey for survey in map(get_survey, survey_names()) if survey.module.startswith("surveys.")]
PYTHON = Path(sys.executable).parent
SHELLCHECK = shutil.which("shellcheck", path=f"{PYTHON}:{os.environ['PATH']}")


def run(script: str, *options: str, **settings: str | Path) -> subprocess.CompletedProcess[str]:
    """A script as a person would start it: on the simulated sky, with nothing else set but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MMU_", "SLURM_"))}
    clean = {**kept, VARIABLE: os.environ[VARIABLE]}
    given = {"PATH": f"{PYTHON}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "MMU_SOURCE": "simulated", "MMU_WORKERS": "0"}
    environment = {**clean, **given, **{name: str(value) for name, value in settings.items()}}
    command = ["bash", f"build_scripts/{script}", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def test_every_survey_has_one() -> None:
    assert {path.stem for path in JOBS} == {f"build_{survey.name}" for survey in SURVEYS} | {"crossmatch"}


@pytest.mark.parametrize("path", [*JOBS, FOLDER / "common.sh"], ids=lambda path: path.name)
def test_shell_is_sound(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    if SHELLCHECK is None:
        pytest.skip("no shellcheck; the test extra brings it")
    done = subprocess.run([SHELLCHECK, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_is_a_header_the_template_and_one_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert 'source "${MMU_SCRIPTS:-build_scripts}/common.sh" || exit 2' in text
    assert all(f"\n# {word}" in text for word in ("How much", "Credentials: "))
    assert "\n#SBATCH " in text
    assert text.count("python -m mmu ") == 1
    assert not any(site in text for site in ("/home", "/scratch", "--account", "--partition"))


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey.name)
def test_a_header_says_the_sizes_and_the_login(survey: Survey) -> None:
    text = (FOLDER / f"build_{survey.name}.sbatch").read_text(encoding="utf-8")
    releases = [survey.release(name) for name in survey.to_build(None)]
    assert f"fetches {human_bytes(sum(one.raw_bytes for one in releases))} " in text
    assert f"writes {human_bytes(sum(one.objects * one.object_bytes for one in releases))} " in text
    assert survey.login is None or survey.login.password in text


@pytest.mark.slow
@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey.name)
def test_a_dry_run_says_what_it_would_do(survey: Survey, tmp_path: Path) -> None:
    release = survey.to_build(None)[0]
    done = run(f"build_{survey.name}.sbatch", "-r", release, "--max-objects", "2", "--dry-run", MMU_DATA=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{survey.release(release).title}: 2 objects in" in done.stdout
    assert not (tmp_path / survey.name).exists()


@pytest.mark.slow
def test_in_a_job_its_tasks_do_the_work(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_MEM_PER_CPU": "900"}
    path = install(tmp_path / "bin")
    done = run("build_hsc.sbatch", "--max-objects", "2", "--dry-run", MMU_DATA=tmp_path / "data", PATH=path, **job)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 objects in" in done.stdout
    assert (tmp_path / "bin/log").read_text().startswith("srun python -m dask worker --scheduler-file")
    assert not list((tmp_path / "data").glob(".dask-*"))


def test_a_command_that_fails_fails_the_job(tmp_path: Path) -> None:
    done = run("build_gaia.sbatch", "--release", "dr9", MMU_DATA=tmp_path)
    assert done.returncode == 2
    assert "Unknown release of gaia 'dr9'" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MMU_WORKERS": "many"}, "MMU_WORKERS=many: give a number of processes, 0 or more."),
        ({"MMU_DATA": "/dev/null/data"}, "cannot be made; give folders that every node sees and you can write."),
        ({"MMU_VENV": "/nowhere"}, "MMU_VENV=/nowhere: has no bin/activate; make it with `python -m venv`."),
        ({"MMU_MODULES": "cray"}, "MMU_MODULES=cray: cannot be loaded; `module avail` lists what there is."),
        ({"PYTHONPATH": "", "PATH": "/usr/bin:/bin"}, "this python has no mmu; set MMU_VENV, or activate where it is"),
        ({"MMU_SCRIPTS": "elsewhere"}, "elsewhere/common.sh: No such file or directory"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_told_in_a_sentence(settings: dict[str, str], words: str, tmp_path: Path) -> None:
    done = run("build_desi.sbatch", "--dry-run", **{"MMU_DATA": str(tmp_path / "data"), **settings})
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_a_crossmatch_says_what_it_would_do_and_does_it(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("object_id,ra,dec\none,150.0,2.0\ntwo,150.1,2.0\n")
    settings: dict[str, str | Path] = {
        "MMU_DATA": tmp_path / "data",
        "MMU_DATASETS": f"{tmp_path}/a.csv {tmp_path}/b.csv",
    }
    done = run("crossmatch.sbatch", "--radius", "1.0", "--dry-run", **settings)
    assert done.returncode == 0, done.stderr
    assert "a 2, b 2 objects" in done.stdout
    assert not (tmp_path / "data/a.csv_x_b.csv").exists()
    done = run("crossmatch.sbatch", "--radius", "1.0", **settings)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/a.csv_x_b.csv/association").is_dir()
