"""Publishing to a Hub: all that belongs and nothing else, only what changed, and on from where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch import Where, crossmatch
from crossmatch.api import describe, materialize
from mmu.cli import app
from mmu.errors import MmuError, UsageError
from mmu.hub import limits
from mmu.hub import publish as publishing
from mmu.hub.contents import contents_of
from mmu.hub.limits import check_limits
from mmu.hub.publish import publish
from mmu.remote import ranges
from tests.archive.server import Archive, serving
from tests.build.toy import Toy, installed
from tests.remote.hub import LARGE, TOKEN, HubHandler

REPO = "ORG/toy"

# huggingface_hub's own: how it hands a file to its HTTP client
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Weary(HubHandler):
    """A Hub that stops taking large files after some."""

    most: int | None = None
    one_at_a_time = threading.Lock()

    def do_PUT(self) -> None:
        with self.one_at_a_time:
            if self.most is None or puts(self.server.archive) < self.most:
                super().do_PUT()
                return
        self.rfile.read(int(self.headers["Content-Length"]))
        self.refuse(400, "", "that is enough")


class Xet(Weary):
    """A Hub that takes large files as chunks, into a store on this machine; what is in them, a test says."""

    source = Path()

    def api(self, repo: list[str], rest: list[str], recursive: bool) -> None:
        if rest[:1] != ["xet-write-token"]:
            super().api(repo, rest, recursive)
            return
        store = self.server.archive.folder / ".xet"
        self.answer({"accessToken": "one", "exp": 1 << 40, "casUrl": f"local://{store}"})

    def change(self, folder: Path, line: dict[str, Any]) -> None:
        if line["key"] == "lfsFile":
            data = (self.source / line["value"]["path"]).read_bytes()
            self.server.archive.add(f".lfs/{hashlib.sha256(data).hexdigest()}", data)
        super().change(folder, line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished dataset with several shards, HDF5 files, and litter that is none of it."""
    folder = tmp_path_factory.mktemp("toy")
    with installed(tmp_path_factory.mktemp("plugin")):
        toy = Toy(folder / "archive")
        assert toy.build(folder / "out", formats=("parquet", "hdf5")).code == 0
        root = folder / "out" / "toy"
        assert len(mmu.open(root).partitions) > 3
        (root / ".cache").mkdir()
        (root / ".cache" / "raw.fits").write_bytes(b"raw")
        (root / "notes.txt").write_text("mine")
        (root / "README.md.tmp").write_text("half")
        (root / "pictures").mkdir()
        (root / "pictures" / "coverage.png").write_bytes(b"\x89PNG")
        yield root


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "toy"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(Weary, "most", None)
    monkeypatch.setattr(publishing, "dress", lambda root: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("MMU_DATA", raising=False)
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", Weary) as archive:
        monkeypatch.setenv("HF_ENDPOINT", archive.url.rstrip("/"))
        yield archive


def puts(hub: Archive) -> int:
    return sum(one.method == "PUT" for one in hub.asked)


def commits(hub: Archive) -> int:
    return sum(one.method == "POST" and "/commit/" in one.path for one in hub.asked)


def writes(hub: Archive) -> list[str]:
    return [one.path for one in hub.asked if one.method in ("POST", "PUT")]


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".private")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def published(hub: Archive, repo: str = REPO) -> dict[str, bytes]:
    return files_in(hub.folder / repo)


def environment(hub: Archive, home: Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "MMU_DATA")}
    return env | {
        "HF_ENDPOINT": hub.url.rstrip("/"),
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }


def test_what_belongs_is_published_and_nothing_else(hub: Archive, dataset: Path) -> None:
    plan = publish(dataset, REPO)
    there, here = published(hub), files_in(dataset)
    assert there.keys() == {name for name in here if name.split("/")[0] in {
        "README.md", "croissant.json", "pictures", "v1", "v1_margin", "v1_collection", "hdf5"}}  # fmt: skip
    assert all(there[name] == here[name] for name in there if name != "README.md")
    assert b'mmu.open("ORG/toy"' in there["README.md"]
    assert b"path/to" not in there["README.md"]
    assert plan.skipped["notes.txt"] == "not of the dataset"
    assert plan.skipped[".cache"] == "raw files"
    assert plan.skipped["README.md.tmp"] == "a temporary file"
    assert (hub.folder / REPO / ".private").exists()
    assert commits(hub) == 2  # the shards, and what says that they are there


def test_it_is_dressed_before_it_is_looked_at(hub: Archive, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pictures/coverage.png"
    monkeypatch.setattr(publishing, "dress", lambda root: (root / name).write_text("dressed"))
    assert publish(dataset, REPO, dry_run=True).send
    assert (dataset / name).read_bytes() == b"\x89PNG"
    publish(dataset, REPO)
    assert published(hub)[name] == b"dressed"


def test_a_stranger_opens_it_by_name(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO, public=True)
    assert not (hub.folder / REPO / ".private").exists()
    own = mmu.open(dataset)
    for name in (REPO, f"{REPO}:v1", f"hf://datasets/{REPO}", f"hf://datasets/{REPO}@main/v1"):
        data = mmu.open(name)
        assert (data.release, len(data), data.bytes) == ("v1", len(own), own.bytes)
    data = mmu.open(REPO)
    assert data.table("all").equals(own.table("all"))
    assert data.describe() == own.describe()
    assert data.releases == ["v1"]
    key = own.array("object_id")[3]
    assert data.record(key)["value"] == own.record(key)["value"]
    assert (data.array("spectrum.flux") == own.array("spectrum.flux")).all()
    batches = list(data.batches(["object_id", "spectrum.flux"], batch_rows=8))
    assert [len(one["object_id"]) for one in batches][:-1] == [8] * (len(batches) - 1)
    with pytest.raises(UsageError, match="Unknown release"):
        mmu.open(f"{REPO}:v2")


def test_verify_reads_what_is_published(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO)
    shards = sorted((hub.folder / REPO / "v1" / "dataset").rglob("Npix=*.parquet"))
    assert [one.problems for deep in (False, True) for one in mmu.verify(REPO, deep)] == [(), ()]
    before = len(hub.asked)
    mmu.verify(f"{REPO}:v1")
    assert not [one for one in hub.asked[before:] if "Npix=" in one.path and one.method == "GET"]
    data = bytearray(shards[0].read_bytes())
    data[len(data) // 2] ^= 1
    shards[0].write_bytes(data)
    assert mmu.verify(REPO)[0].problems == ()
    assert "was altered" in mmu.verify(REPO, deep=True)[0].problems[0]
    shards[0].write_bytes(data[:-1])
    (hub.folder / REPO / "v1" / "hats.properties").write_text("hats_nrows=1\n")
    (hub.folder / REPO / "v1" / "dataset" / "more.parquet").write_bytes(b"more")
    shards[1].unlink()
    said = "\n".join(mmu.verify(REPO)[0].problems)
    assert f"{len(data) - 1} bytes, the ledger {len(data)}" in said
    for words in ("hats.properties was changed", "more.parquet is not in the ledger", f"{shards[1].name} is missing"):
        assert words in said
    assert f"hf://datasets/{REPO}/v1/" in said or f"{REPO}/v1/" in said


def test_a_second_time_nothing_goes(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO)
    sent, made = puts(hub), commits(hub)
    plan = publish(dataset, REPO)
    assert (plan.nothing, puts(hub), commits(hub)) == (True, sent, made)
    assert len(plan.same) == len(published(hub))


def test_only_what_changed_goes(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO)
    before = published(hub)
    (dataset / "pictures" / "coverage.png").write_bytes(b"\x89PNG another")
    (dataset / "pictures" / "more.png").write_bytes(b"\x89PNG more")
    hub.asked.clear()
    plan = publish(dataset, REPO)
    assert [item.name for item in plan.send] == ["pictures/coverage.png", "pictures/more.png"]
    assert (puts(hub), commits(hub)) == (2, 1)
    changed = {name for name, data in published(hub).items() if before.get(name) != data}
    assert changed == {"pictures/coverage.png", "pictures/more.png"}


def test_shards_of_an_earlier_state_go_away(hub: Archive, dataset: Path, tmp_path: Path) -> None:
    """Partitions cut otherwise: the same objects in other files, so the old ones would be rows twice."""
    publish(dataset, REPO)
    toy = Toy(tmp_path / "archive")
    assert toy.build(tmp_path / "again", partition_bytes=1 << 20).code == 0
    (hub.folder / REPO / "NOTES.md").write_text("from the Hub's own pages")
    hub.asked.clear()
    plan = publish(tmp_path / "again" / "toy", REPO, message="Larger partitions")
    assert plan.gone
    assert published(hub).keys() == {item.name for item in contents_of(tmp_path / "again" / "toy").items} | {
        "NOTES.md", "pictures/coverage.png"}  # fmt: skip
    assert mmu.open(REPO).table("all").equals(mmu.open(dataset).table("all"))
    assert commits(hub) == 2


def test_a_release_that_is_only_there_stays_and_is_told(hub: Archive, dataset: Path) -> None:
    assert publish(dataset, REPO).notes == ()
    hub.add(f"{REPO}/old/_mmu/build.json", b"{}")
    assert publish(dataset, REPO).notes == ("old is there and not here: it stays, and the card no longer names it.",)
    assert "old/_mmu/build.json" in published(hub)


def test_interrupted_it_goes_on_and_sends_nothing_twice(
    hub: Archive, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weary, "most", 3)
    with pytest.raises(MmuError, match=r"refused \(HTTP 400.*that is enough"):
        publish(dataset, REPO)
    assert len(list((hub.folder / ".lfs").iterdir())) == 3
    assert "README.md" not in published(hub)
    monkeypatch.setattr(Weary, "most", None)
    publish(dataset, REPO)
    taken = [one.path for one in hub.asked if one.method == "PUT"]
    large = {name for name in published(hub) if name.endswith(LARGE)}
    assert len(set(taken)) == len({published(hub)[name] for name in large})
    assert all(taken.count(path) == 1 for path in set(taken[:3]))
    assert mmu.verify(REPO, deep=True)[0].problems == ()


def test_the_way_of_chunks(dataset: Path, hub: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Hub takes files by default: streamed, in several commits."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(Xet, "source", dataset)
    with serving(hub.folder, Xet) as archive:
        monkeypatch.setenv("HF_ENDPOINT", archive.url.rstrip("/"))
        publish(dataset, REPO)
        assert puts(archive) == 0
        assert any(path.is_file() for path in (hub.folder / ".xet").rglob("*"))
        assert mmu.verify(REPO, deep=True)[0].problems == ()
        assert publish(dataset, REPO).nothing


def test_a_server_that_goes_away_is_told(dataset: Path, hub: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MmuError, match=r"the Hub \(127\.0\.0\.1\) failed .*run the same command to go on"):
        publish(dataset, REPO)


def test_a_dry_run_writes_nothing(hub: Archive, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_in(dataset)
    said = publish(dataset, REPO, dry_run=True).describe()
    assert f"{REPO} (a new private dataset)" in said
    assert "  v1: " in said
    assert "left out: .cache (raw files)" in said
    assert "there already: 0 files" in said
    assert (writes(hub), files_in(dataset)) == ([], before)
    assert not (hub.folder / "ORG").exists()
    publish(dataset, REPO)
    hub.asked.clear()
    assert "to send: 0 files" in publish(dataset, REPO, dry_run=True).describe()
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "there already: 0 files" in publish(dataset, REPO, dry_run=True).describe()
    assert writes(hub) == []


@pytest.mark.parametrize(
    ("token", "said"), [("hf_wrongwrongwrong", r"does not take the token \(HTTP 401\)"), ("", "needs a token")]
)
def test_tokens_are_told_in_words(
    hub: Archive, dataset: Path, token: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=said) as caught:
        publish(dataset, REPO)
    assert "hf auth login" in str(caught.value)
    assert "wrongwrong" not in str(caught.value)
    assert writes(hub) == []


def test_a_public_repository_is_not_written_to_by_accident(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO, public=True)
    (dataset / "pictures" / "coverage.png").write_bytes(b"else")
    with pytest.raises(UsageError, match="ORG/toy is public: give --public"):
        publish(dataset, REPO)
    assert [item.name for item in publish(dataset, REPO, public=True).send] == ["pictures/coverage.png"]


def test_a_branch(hub: Archive, dataset: Path) -> None:
    publish(dataset, REPO)
    (dataset / "pictures" / "coverage.png").write_bytes(b"else")
    publish(dataset, REPO, revision="next")
    assert published(hub)["pictures/coverage.png"] == b"\x89PNG"
    assert published(hub, f"{REPO}@next")["pictures/coverage.png"] == b"else"
    assert len(mmu.open(f"hf://datasets/{REPO}@next")) == len(mmu.open(dataset))


def remove_ledger(root: Path) -> None:
    shutil.rmtree(root / "v1" / "_mmu")


def unbalance(root: Path) -> None:
    path = root / "v1" / "_mmu" / "units.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def shorten(root: Path) -> None:
    path = next((root / "v1" / "dataset").rglob("Npix=*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_ledger, "holds no finished dataset"),
        (lambda root: (root / ".building-v1").mkdir(), "a build that extends it is unfinished"),
        (lambda root: (root / ".building-v2").mkdir(), "the build is unfinished"),
        (unbalance, "units.parquet was changed"),
        (shorten, "bytes, the ledger"),
        (lambda root: (root / "v1" / "stray.txt").touch(), "stray.txt is not in the ledger"),
        (lambda root: (root / "README.md").unlink(), "the dataset card"),
        (lambda root: shutil.rmtree(root), "There is no folder"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_is_not_whole_is_refused(hub: Archive, dataset: Path, damage: object, said: str, check: bool) -> None:
    damage(dataset)  # type: ignore[operator]
    with pytest.raises(UsageError, match=said):
        publish(dataset, REPO, check=check)
    assert hub.asked == []


def test_a_card_that_was_edited_is_not_written_anew(
    hub: Archive, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "dress", lambda root: pytest.fail("dressed"))
    (dataset / "README.md").write_text((dataset / "README.md").read_text().replace("A toy.", "My toy."))
    with pytest.raises(UsageError, match=r"the dataset card\) was changed since"):
        publish(dataset, REPO)


def test_one_release_alone_or_a_strange_name_is_refused(hub: Archive, dataset: Path) -> None:
    with pytest.raises(UsageError, match=f"give the whole dataset, {dataset}"):
        publish(dataset / "v1", REPO)
    for name in ("toy", "ORG/toy/v1", "ORG/toy:v1", "https://huggingface.co/datasets/ORG/toy"):
        with pytest.raises(UsageError, match="give it as ORG/NAME"):
            publish(dataset, name)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [("MOST_FILES", 5, "would have .* files"), ("MOST_ENTRIES", 2, "entries"), ("MOST_BYTES", 999, "999 a file")],
)
def test_limits_are_told_before_anything_is_sent(
    hub: Archive, dataset: Path, limit: str, most: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, limit, most)
    with pytest.raises(UsageError, match=said):
        publish(dataset, REPO)
    assert hub.asked == []


def test_limits_count_what_is_there_already(dataset: Path) -> None:
    items = contents_of(dataset).items
    check_limits(items, (f"other/{n % 50}/{n}" for n in range(99_000)))
    with pytest.raises(UsageError, match="the Hub takes 100,000"):
        check_limits(items, (f"other/{n % 50}/{n}" for n in range(100_000)))
    with pytest.raises(UsageError, match="other would have 10,001 entries"):
        check_limits(items, (f"other/{n}" for n in range(10_001)))


def test_a_match_is_published_with_its_pairs(hub: Archive, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "match"
    given = {"one": str(dataset), "two": str(shutil.copytree(dataset, tmp_path / "other"))}
    found = crossmatch(given, out=out, where=Where(0), radius_arcsec=1.0)
    materialize(found, ["one.value", "two.spectrum"], where=Where(0))
    describe(out)
    plan = publish(out, "ORG/match")
    assert {name.split("/")[0] for name in published(hub, "ORG/match")} >= {"README.md", "association", "pairs"}
    assert plan.skipped.get(".matching.lock") == "a lock"
    pairs = mmu.open("ORG/match", "pairs")
    assert pairs.table("all").equals(mmu.open(out, "pairs").table("all"))
    assert [one.problems for deep in (False, True) for one in mmu.verify("ORG/match", deep)] == [()] * 4
    assert publish(out, "ORG/match").nothing


LOAD = """
import sys, datasets, lsdb, pyarrow.parquet as pq
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
name, rows = sys.argv[1], int(sys.argv[2])
table = datasets.load_dataset(name, "v1", split="train")
assert len(table) == rows and len(table[0]["spectrum"]["flux"]) == 500
stream = datasets.load_dataset(name, "v1", split="train", streaming=True)
assert [row["object_id"] for row in stream] == table["object_id"][:]
catalogue = lsdb.open_catalog(f"hf://datasets/{name}/v1_collection")
assert len(catalogue.compute()) == rows
print("loaded", rows)
"""


@pytest.mark.slow
def test_datasets_and_lsdb_load_it_by_name(hub: Archive, dataset: Path, tmp_path: Path) -> None:
    """On the command line, and without any code on the Hub."""
    env, rows = environment(hub, tmp_path / "home"), len(mmu.open(dataset))
    command = [sys.executable, "-m", "mmu", "publish", str(dataset), "--repo", REPO]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert 'load_dataset("ORG/toy", streaming=True)' in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert not [name for name in published(hub) if name.endswith(".py")]
    command = [sys.executable, "-c", LOAD, REPO, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert f"loaded {rows}" in done.stdout, done.stderr


def test_the_command_line_tells(hub: Archive, dataset: Path) -> None:
    from typer.testing import CliRunner

    publish(dataset, REPO)
    info = CliRunner().invoke(app, ["info", REPO, "--columns"])
    counts = json.loads((dataset / "v1" / "_mmu" / "build.json").read_text())["counts"]
    assert f"written {counts['written']}" in info.output
    assert "spectrum.flux" in info.output
    verified = CliRunner().invoke(app, ["verify", REPO])
    assert (verified.exit_code, "v1: ok" in verified.output) == (0, True)
    (hub.folder / REPO / "v1" / "_mmu" / "build.json").write_text("{}")
    assert CliRunner().invoke(app, ["verify", REPO]).exit_code == 1
    dry = CliRunner().invoke(app, ["publish", str(dataset), "--repo", REPO, "--dry-run"])
    assert "to send: 1 files" in dry.output
