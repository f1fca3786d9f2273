"""Catalogues that are not on this machine: matched as from a folder, with few bytes, and refused in a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from crossmatch import Association, Where, crossmatch
from crossmatch.api import materialize
from crossmatch.sources import named
from mmu.errors import DownloadError, FormatError, MmuError, UsageError
from mmu.remote import ranges
from mmu.remote.dataset import open_remote
from mmu.remote.ranges import RemoteFile, parquet, small
from tests.archive.server import Archive, Asked, Faults, Handler, serving
from tests.crossmatch.catalogues import scattered, table_of, write_hats
from tests.remote.hub import TOKEN, HubHandler

ROWS = 3000
COLUMNS = ["_healpix_29", "object_id", "ra", "dec"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries, and no network but this machine's."""
    from huggingface_hub import constants

    monkeypatch.setattr(ranges, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ORG/stars and ORG/galaxies, round the same places: `galaxies` has two releases and a card, `stars` has none."""
    folder, random = tmp_path_factory.mktemp("made"), np.random.default_rng(8)
    centres = 10 + 3 * random.random(ROWS), 3 * random.random(ROWS)
    for name in ("stars", "galaxies"):
        table = table_of(scattered(centres, 0.2, ROWS, random), name[0], z=random.random(ROWS))
        table = table.append_column("image", pa.array(random.random((ROWS, 200)).tolist()))
        write_hats(folder / "ORG" / name / ("dr2" if name == "galaxies" else ""), table, (3, 5), group=400)
    galaxies = folder / "ORG" / "galaxies"
    write_hats(galaxies / "dr1", table.slice(0, 9), (3,))
    (galaxies / "README.md").write_text(
        "---\nconfigs:\n- config_name: dr1\n- config_name: dr2\n  default: true\n---\n# Galaxies\n"
    )
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "served"))


@pytest.fixture
def web(copy: Path) -> Iterator[Archive]:
    with serving(copy) as archive:
        yield archive


@pytest.fixture
def hub(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    with serving(copy, HubHandler) as archive:
        monkeypatch.setenv("HF_ENDPOINT", archive.url.rstrip("/"))
        yield archive


@pytest.fixture
def memory(made: Path) -> Iterator[str]:
    """The same, in fsspec's memory."""
    system = fsspec.filesystem("memory")
    system.put(str(made / "ORG"), "/ORG", recursive=True)
    yield "memory://ORG"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def matched(*datasets: Any, **how: Any) -> Association:
    return crossmatch(*datasets, where=Where(0), radius_arcsec=1.0, **how)


@pytest.fixture(scope="module")
def wanted(made: Path) -> pa.Table:
    found = matched(str(made / "ORG" / "stars"), str(made / "ORG" / "galaxies")).table()
    assert len(found) > ROWS // 2
    return found


def test_over_http(web: Archive, wanted: pa.Table) -> None:
    assert matched(f"{web.url}ORG/stars", f"{web.url}ORG/galaxies").table().equals(wanted)
    assert matched(f"{web.url}ORG/stars/", f"galaxies={web.url}ORG/galaxies/dr2").table().equals(wanted)


def test_over_the_hub(hub: Archive, wanted: pa.Table) -> None:
    assert matched("ORG/stars", "ORG/galaxies:dr2").table().equals(wanted)
    found = matched("hf://datasets/ORG/stars", "ORG/galaxies")
    assert found.table().equals(wanted)
    assert [member.address for member in found.members] == [
        "hf://datasets/ORG/stars",
        "hf://datasets/ORG/galaxies/dr2",
    ]


def test_in_memory_and_of_both_kinds(memory: str, made: Path, wanted: pa.Table) -> None:
    assert matched(f"{memory}/stars", str(made / "ORG" / "galaxies")).table().equals(wanted)
    assert matched(str(made / "ORG" / "stars"), f"{memory}/galaxies").table().equals(wanted)


@pytest.mark.slow
def test_in_other_processes(web: Archive, wanted: pa.Table) -> None:
    where = Where(1, tile_rows=1000)
    found = crossmatch(f"{web.url}ORG/stars", f"{web.url}ORG/galaxies", where=where, radius_arcsec=1.0)
    assert found.table().equals(wanted)


def needed(folder: Path) -> int:
    """Bytes of the footers and of the column chunks that a match reads."""
    total = 0
    for path in folder.rglob("Npix=*.parquet"):
        facts = pq.read_metadata(path)
        total += facts.serialized_size + 8
        for group in range(facts.num_row_groups):
            chunks = [facts.row_group(group).column(number) for number in range(facts.num_columns)]
            total += sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in COLUMNS)
    return total


@pytest.mark.parametrize("way", ["web", "hub"])
def test_only_the_columns_needed_are_fetched(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random, rows = np.random.default_rng(3), 60_000
    for name in ("one", "two"):
        table = table_of((10 + random.random(rows), random.random(rows)), name)
        fat = pa.FixedSizeListArray.from_arrays(pa.array(random.random(rows * 20)), 20)
        columns = {"_healpix_29": table[0], "object_id": table[1], "x": fat, "ra": table[2], "y": fat, "dec": table[3]}
        write_hats(tmp_path / "ORG" / name, pa.table(columns), (3,), group=20_000)
    with serving(tmp_path, HubHandler if way == "hub" else Handler) as archive:
        monkeypatch.setenv("HF_ENDPOINT", archive.url.rstrip("/"))
        addresses = ["ORG/one", "ORG/two"] if way == "hub" else [f"{archive.url}ORG/one", f"{archive.url}ORG/two"]
        matched(*addresses, mode="mutual")
        shards = [one for one in archive.asked if one.path.endswith(".parquet") and one.method == "GET"]
        fetched = sum(span(one.range) for one in shards if one.range)
    whole = sum(path.stat().st_size for path in tmp_path.rglob("Npix=*.parquet"))
    assert fetched <= 1.2 * needed(tmp_path)
    assert fetched < whole / 5
    assert archive.sent < fetched + 60_000


def test_a_footer_is_fetched_once_for_many_parts(web: Archive, wanted: pa.Table) -> None:
    where = Where(0, tile_rows=500)
    found = crossmatch(f"{web.url}ORG/stars", f"{web.url}ORG/galaxies", where=where, radius_arcsec=1.0)
    assert found.table().equals(wanted)
    tails = [(one.path, one.range) for one in web.asked if one.range and "Npix=" in one.path and is_tail(web, one)]
    assert (
        len(tails)
        == len(set(tails))
        == len(list((web.folder / "ORG").rglob("dr2/**/Npix=*")))
        + len(list((web.folder / "ORG" / "stars").rglob("Npix=*")))
    )


def is_tail(archive: Archive, asked: Asked) -> bool:
    return str(asked.range).endswith(f"-{(archive.folder / asked.path).stat().st_size - 1}")


def span(asked: str) -> int:
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1


def test_pairs_are_written_out_of_remote_records(web: Archive, made: Path, tmp_path: Path) -> None:
    columns = ["stars.z", "galaxies.image"]
    ours = matched(str(made / "ORG" / "stars"), str(made / "ORG" / "galaxies"), out=tmp_path / "ours", how="left")
    theirs = matched(f"{web.url}ORG/stars", f"{web.url}ORG/galaxies", out=tmp_path / "theirs", how="left")
    tables = [materialize(one, columns, where=Where(0)).table("all") for one in (ours, theirs)]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == ROWS


def test_a_changed_catalogue_is_noticed(web: Archive, hub: Archive, memory: str, tmp_path: Path) -> None:
    shard = next((web.folder / "ORG" / "stars").rglob("Npix=*.parquet"))
    system, inside = fsspec.filesystem("memory"), shard.relative_to(web.folder).as_posix()
    tops = (f"{web.url}ORG", "hf://datasets/ORG", memory)
    found = [matched(f"a={at}/stars", f"b={at}/galaxies", out=tmp_path / str(n)) for n, at in enumerate(tops)]
    for association in found:
        association.check()
    table = pq.read_table(shard, partitioning=None)
    pq.write_table(table.slice(1), shard)
    system.pipe(f"/{inside}", shard.read_bytes())
    for association in found:
        with pytest.raises(UsageError, match=r"^a \(.*changed since it was matched.*--renew$"):
            association.check()


def test_our_own_are_known_by_their_checksums(hub: Archive, tmp_path: Path) -> None:
    folder = hub.folder / "ORG" / "stars"
    rows = [
        {"Norder": leaf.order, "Npix": leaf.pixel, "rows": count, "objects": count, "bytes": path.stat().st_size,
         "xxh3": f"{leaf}"}
        for leaf in mmu.open(folder).partitions
        for path in [mmu.open(folder).shard(leaf)]
        for count in [pq.read_metadata(path).num_rows]
    ]  # fmt: skip
    (folder / "_mmu").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "_mmu" / "shards.parquet")
    found = matched("ORG/stars", "ORG/galaxies", out=tmp_path)
    assert found.members[0].rows == ROWS
    (folder / "NOTES.txt").write_text("another commit, the same records")
    found.check()


V15 = pa.struct({"band": pa.list_(pa.string()), "flux": pa.list_(pa.list_(pa.list_(pa.float32()))),
                 "psf_fwhm": pa.list_(pa.float32())})  # fmt: skip


@pytest.mark.parametrize("metadata", [True, False])
def test_a_published_catalogue_with_images(hub: Archive, made: Path, tmp_path: Path, metadata: bool) -> None:
    """As v1.5 has them: a collection, older names of files, ids as numbers, pictures as lists in a struct."""
    stars = mmu.open(made / "ORG" / "stars").table(["_healpix_29", "ra", "dec"])
    fluxes = [[[[1.0, 2.0], [3.0, float(n)]]] * 2 for n in range(len(stars))]
    images = [{"band": ["g", "r"], "flux": flux, "psf_fwhm": [1.0, 1.5]} for flux in fluxes]
    table = stars.append_column("object_id", pa.array(np.arange(len(stars))))
    table = table.append_column("image", pa.array(images, V15))
    repo = hub.folder / "ORG" / "mmu_survey"
    folder = write_hats(repo / "survey", table, (2,), group=1000)
    (folder / "hats.properties").rename(folder / "properties")
    old = [line.split(",") for line in (folder / "partition_info.csv").read_text().split()[1:]]
    lines = ["Norder,Dir,Npix,num_rows", *(f"{order},0,{pixel},1" for order, pixel in old)]
    (folder / "partition_info.csv").write_text("\n".join(lines) + "\n")
    (repo / "collection.properties").write_text("obs_collection=mmu_survey\nhats_primary_table_url=survey\n")
    if not metadata:
        (folder / "dataset" / "_common_metadata").unlink()
    found = matched("ORG/mmu_survey", f"galaxies={made}/ORG/galaxies", out=tmp_path)
    own = matched(f"mmu_survey={made}/ORG/stars", f"galaxies={made}/ORG/galaxies")
    assert found.table()["galaxies_id"].to_pylist() == own.table()["galaxies_id"].to_pylist()
    pairs = materialize(found, ["mmu_survey.image"], where=Where(0)).table("all")
    at = found.table()["mmu_survey_id"].cast(pa.int64()).to_numpy()
    assert pairs["mmu_survey_image"].to_pylist()[:9] == [images[n] for n in at[:9]]


def test_what_may_pass_is_tried_again(web: Archive, wanted: pa.Table) -> None:
    for path in [path for path in web.folder.rglob("*") if path.suffix in (".parquet", ".csv")]:
        name = path.relative_to(web.folder).as_posix()
        web.fail(name, Faults.status(503), Faults.hangup(), Faults.cut(10))
    assert matched(f"{web.url}ORG/stars", f"{web.url}ORG/galaxies").table().equals(wanted)


@pytest.mark.parametrize("way", ["web", "hub"])
def test_what_does_not_pass_ends(way: str, request: pytest.FixtureRequest) -> None:
    archive: Archive = request.getfixturevalue(way)
    at = f"{archive.url}ORG" if way == "web" else "hf://datasets/ORG"
    shard = next((archive.folder / "ORG" / "stars").rglob("Npix=*.parquet"))
    data = shard.read_bytes()

    def told() -> str:
        with pytest.raises(MmuError) as caught:
            matched(f"{at}/stars", f"{at}/galaxies")
        assert "Signature" not in str(caught.value)
        return str(caught.value)

    shard.write_bytes(data[: len(data) // 2])
    assert "is no Parquet file, or not the whole of one" in told()
    shard.write_bytes(b"PAR1 this is something else PAR1")
    assert "is no Parquet file" in told()
    shard.unlink()
    assert "is missing" in told()
    shard.write_bytes(data)
    name = shard.relative_to(archive.folder).as_posix()
    paths = [name] if way == "web" else [f"datasets/ORG/stars/resolve/{commit(archive)}/{name.partition('stars/')[2]}"]
    archive.fail(paths[0], Faults.status(403, b"https://elsewhere/?Signature=abc"), lasting=True)
    assert "may not be read (HTTP 403)" in told()
    if way == "web":  # the Hub's client takes its time over these
        archive.heal()
        archive.fail(name, Faults.status(500), lasting=True)
        assert "could not be read in 4 tries (HTTP 500)" in told()
        archive.heal()


def commit(hub: Archive) -> str:
    return open_remote("hf://datasets/ORG/stars").at.commit


def test_a_file_that_shrank_is_not_taken(web: Archive) -> None:
    data = web.add("some.parquet", b"PAR1" + bytes(200_000))
    with (
        pytest.raises(DownloadError, match=r"ends early, 0 of 65536 bytes"),
        parquet(RemoteFile(f"{web.url}some.parquet", len(data) + 200_000)),
    ):
        raise AssertionError
    with pytest.raises(FormatError, match="larger than 100 bytes"):
        small(f"{web.url}some.parquet", 100)
    web.fail("some.parquet", Faults.whole(), lasting=True)
    with (
        pytest.raises(DownloadError, match="cannot be read in parts"),
        parquet(RemoteFile(f"{web.url}some.parquet", len(data))),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://me:secret@host/a", "with a user or a password"),
        ("s3://key@bucket/a", "with a user or a password"),
        ("https://host/a?token=secret", "a query or a fragment, which may hold a secret"),
        ("http://example.org/a", "over https, not http"),
        ("ftp://host/a", "not 'ftp'"),
        ("hf://ORG/stars", "hf://datasets/ORG/NAME"),
        ("hf://buckets/ORG/stars", "hf://datasets/ORG/NAME"),
        ("hf://datasets/ORG/stars/../../other", "leads to|no HATS|hf://datasets"),
        ("ORG/nothing", "it is no folder, and MMU_DATA is not set; on the Hub .* there is no dataset ORG/nothing"),
        ("ORG/galaxies:dr3", r"Unknown release of hf://datasets/ORG/galaxies 'dr3'; .*Did you mean"),
        ("ORG/stars:dr3", "has no release 'dr3'"),
        ("ORG/private", "log in with `hf auth login`"),
        ("ORG/empty", "holds no HATS catalogue"),
        ("ORG/margin", "a catalogue of 'margin'"),
        ("ORG/lists", "is no list of partitions"),
        ("ORG/elsewhere", "only a path within the same place"),
        ("hf://datasets/ORG/stars@v9", "has no revision 'v9'"),
    ],
)
def test_what_is_refused(hub: Archive, address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMU_DATA", raising=False)
    hub.add("ORG/private/.private", b"")
    hub.add("ORG/empty/notes.txt", b"")
    hub.add("ORG/margin/hats.properties", b"dataproduct_type=margin\n")
    hub.add("ORG/lists/hats.properties", b"dataproduct_type=object\nhats_nrows=3\n")
    hub.add("ORG/lists/partition_info.csv", b"Norder,Npix\nx,y\n")
    hub.add("ORG/elsewhere/collection.properties", b"hats_primary_table_url=https://example.org/x\n")
    with pytest.raises((UsageError, FormatError), match=said) as caught:
        matched({"a": address, "b": "ORG/stars"})
    assert "secret" not in str(caught.value).replace("may hold a secret", "")


def test_a_folder_here_comes_before_the_hub(hub: Archive, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    matched("ORG/stars", "ORG/galaxies")
    monkeypatch.chdir("/")
    monkeypatch.setenv("MMU_DATA", str(made))
    matched("ORG/stars", "ORG/galaxies:dr2")
    assert hub.asked == []


def test_offline_nothing_is_asked(hub: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="it was not looked for, as HF_HUB_OFFLINE is set"):
        matched("ORG/stars", "ORG/galaxies")
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"on the Hub \(127.0.0.1\) ORG/stars could not be looked up"):
        matched("ORG/stars", "ORG/galaxies")


def test_names_come_from_addresses() -> None:
    given = ["hf://datasets/O/stars@main/dr1", "O/gaia:dr3", "https://host/data/sdss%20x/desi/", "z=s3://b/c"]
    assert list(named(given)) == ["stars", "gaia", "desi", "z"]


def test_a_private_one_and_its_token_on_the_command_line(hub: Archive, tmp_path: Path) -> None:
    (hub.folder / "ORG" / "stars" / ".private").write_bytes(b"")
    env = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "MMU_DATA")}
    env |= {"HF_ENDPOINT": hub.url.rstrip("/"), "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "mmu", "crossmatch", "ORG/stars", "ORG/galaxies", "--out", "out", "-j", "0",
               "--materialize", "--columns", "stars.z,galaxies.z"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "out/pairs: " in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in written)


def test_importing_is_light() -> None:
    code = (
        "import sys, crossmatch.api; print([m for m in ('fsspec', 'huggingface_hub', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
