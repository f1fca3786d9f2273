"""Token shards: the ids that codecs give, where they belong; resumed, refused, read back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mmu
from crossmatch.api import crossmatch
from crossmatch.materialize import materialize
from crossmatch.work import Where
from mmu.cli import app
from mmu.errors import FormatError, MmuError, UsageError
from training import codecs
from training.codecs import ABSENT
from training.modalities import CATALOGUE_RESERVED, MODALITIES
from training.token_shards import Tokens, about, padded
from training.tokens import plan, tokenise

LEGACY = ["catalog", "tok_ebv", "tok_flux_g", "tok_segmap", "tok_image12_legacysurvey"]
"""Keys of what the small legacysurvey has, in the order of the table."""


@pytest.fixture(scope="module")
def tokens(sky: dict[str, Path], codecs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokens")
    tokenise(plan(str(sky["legacysurvey"]), codecs_folder), out, batch=3)
    return out / "legacysurvey"


def whole(folder: Path) -> dict[str, Any]:
    read = Tokens(folder)
    parts = list(read.batches(5))
    return {key: np.concatenate([np.asarray(part[key]) for part in parts]) for key in parts[0]}


def test_every_object_is_there_with_what_it_has(sky: dict[str, Path], tokens: Path) -> None:
    source = mmu.open(sky["legacysurvey"]).table(["object_id", "ra", "dec", "_healpix_29", "EBV"])
    written = mmu.open(tokens).table(["object_id", "ra", "dec", "_healpix_29"])
    assert written.equals(source.select(["object_id", "ra", "dec", "_healpix_29"]).cast(written.schema))
    read = whole(tokens)
    assert list(read) == ["object_id", *LEGACY]
    assert read["object_id"].tolist() == source["object_id"].to_pylist()
    missing = np.isnan(source["EBV"].to_numpy())
    assert missing.any()
    assert (read["tok_ebv"][missing] == ABSENT).all()
    assert (read["tok_ebv"][~missing] >= 0).all()
    for key in LEGACY:
        assert read[key].shape[1] == MODALITIES[key].tokens
        assert read[key].max() < MODALITIES[key].vocabulary


def test_ids_are_those_of_the_codecs(sky: dict[str, Path], codecs_folder: Path, tokens: Path) -> None:
    dataset, read = mmu.open(sky["legacysurvey"]), whole(tokens)
    codec = codecs.load(codecs_folder / "FLUX_G")
    assert np.array_equal(read["tok_flux_g"], codec.encode(dataset.array("FLUX_G")).numpy())
    image = codecs.load(codecs_folder / "image_universal")
    for index in (0, 7, 23):
        record = dataset.record(read["object_id"][index])["image"]
        given = {name: record[name][None] for name in ("flux", "ivar", "mask", "psf_fwhm", "scale")}
        ids = image.encode(**given, bands=list(record["band"])).numpy()[0]
        assert np.array_equal(read["tok_image12_legacysurvey"][index], ids)


def test_lists_have_the_reserved_ids_below_them(sky: dict[str, Path], tokens: Path) -> None:
    read, column = whole(tokens)["catalog"], mmu.open(sky["legacysurvey"]).table(["catalog"])["catalog"].to_pylist()
    for ids, row in zip(read, column, strict=True):
        inside = sum(32 <= round(x) < 128 and 32 <= round(y) < 128 for x, y in zip(row["X"], row["Y"], strict=True))
        assert (ids != ABSENT).sum() == 5 * min(inside, 10)
        assert ids[ids != ABSENT].min(initial=CATALOGUE_RESERVED) >= CATALOGUE_RESERVED


def test_absent_is_null_and_metadata_say_of_what(codecs_folder: Path, tokens: Path) -> None:
    path = sorted(tokens.rglob("Npix=*.parquet"))[0]
    told = about(path)
    assert told["modalities"] == 1
    assert told["codecs"]["EBV"] == codecs.digest(codecs_folder / "EBV")
    assert told["of"]["tok_segmap"] == "segmentation_map"
    schema = pq.read_schema(path)
    assert str(schema.field("tok_segmap").type) == "fixed_size_list<element: int16 not null>[144]"
    nulls = sum(pq.read_table(each)["tok_ebv"].null_count for each in tokens.rglob("Npix=*.parquet"))
    assert nulls == sum(number % 7 == 0 for number in range(24))


def test_a_killed_run_goes_on_to_the_same_bytes(
    sky: dict[str, Path], codecs_folder: Path, tokens: Path, tmp_path: Path
) -> None:
    out = tmp_path / "legacysurvey"
    shutil.copytree(tokens, out)
    paths = sorted(out.rglob("Npix=*.parquet"))
    paths[0].unlink()
    (out / "hats.properties").unlink()
    kept = paths[1].stat().st_mtime_ns
    tokenise(plan(str(sky["legacysurvey"]), codecs_folder), tmp_path, threads=2)
    assert paths[1].stat().st_mtime_ns == kept
    for path in tokens.rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(tokens)).read_bytes() == path.read_bytes()


def test_tokens_of_other_codecs_are_not_mixed(
    sky: dict[str, Path], codecs_folder: Path, tokens: Path, tmp_path: Path
) -> None:
    other = tmp_path / "codecs"
    shutil.copytree(codecs_folder, other)
    changed: Any = codecs.load(other / "EBV")
    changed.quantizer.table.add_(0.01)
    changed.save(other / "EBV")
    with pytest.raises(UsageError, match=r"codecs differ\); give another --out"):
        tokenise(plan(str(sky["legacysurvey"]), other), tokens.parent)
    with pytest.raises(UsageError, match="another codec 'EBV'"):
        Tokens(tokens, other)
    assert len(Tokens(tokens, codecs_folder)) == 24
    with pytest.raises(UsageError, match="another codec 'EBV'"):
        Tokens(tokens, {"EBV": "0" * 64})


def test_a_codec_of_another_modality_is_refused(sky: dict[str, Path], codecs_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "codecs"
    shutil.copytree(codecs_folder / "EBV", other / "segmentation_map")
    made = plan(str(sky["legacysurvey"]), other, ["tok_segmap"])
    with pytest.raises((MmuError, TypeError)):
        tokenise(made, tmp_path / "out")


def test_matched_datasets_have_the_ids_of_both(sky: dict[str, Path], codecs_folder: Path, tmp_path: Path) -> None:
    crossmatch(str(sky["legacysurvey"]), str(sky["desi"]), out=tmp_path / "match", how="left")
    made = plan(str(tmp_path / "match"), codecs_folder, ["tok_flux_g", "tok_z", "tok_spectrum_desi"])
    tokenise(made, tmp_path / "out")
    table = mmu.open(tmp_path / "out" / "match").table("all")
    assert len(table) == 24
    found = np.array([name is not None for name in table["desi_id"].to_pylist()])
    assert found.sum() == 12
    read = Tokens(tmp_path / "out" / "match")
    batches = list(read.batches())
    z = np.concatenate([batch["tok_z"] for batch in batches])
    assert ((z[:, 0] != ABSENT) == found).all()
    spectra = np.concatenate([batch["tok_spectrum_desi"] for batch in batches])
    assert spectra.shape == (24, 273)
    assert ((spectra != ABSENT).all(1) == found).all()
    values = dict(zip(*(mmu.open(sky["desi"]).array(name) for name in ("object_id", "Z")), strict=True))
    codec = codecs.load(codecs_folder / "Z")
    wanted = [int(codec.encode(np.array([values[name]]))) for name in table["desi_id"].to_pylist() if name]
    assert z[found, 0].tolist() == wanted


def test_pairs_that_are_written_out_have_the_ids_of_their_match(
    sky: dict[str, Path], codecs_folder: Path, tmp_path: Path
) -> None:
    materialize(crossmatch(str(sky["legacysurvey"]), str(sky["desi"]), out=tmp_path / "ls_x_desi"))
    tables = []
    for path, out in (("ls_x_desi", "one"), ("ls_x_desi/pairs", "other")):
        tokenise(plan(str(tmp_path / path), codecs_folder), tmp_path / out)
        tables.append(mmu.open(tmp_path / out / Path(path).name).table("all"))
    assert len(tables[0]) == 12
    assert {"catalog", "tok_segmap", "tok_image12_legacysurvey", "tok_spectrum_desi"} < set(tables[0].schema.names)
    assert tables[0].schema.names == tables[1].schema.names
    for name in tables[0].schema.names:
        if name not in ("ra", "dec"):
            assert tables[0][name].to_pylist() == tables[1][name].to_pylist(), name


@pytest.mark.slow
def test_processes_write_the_same_bytes(
    sky: dict[str, Path], codecs_folder: Path, tokens: Path, tmp_path: Path
) -> None:
    tokenise(plan(str(sky["legacysurvey"]), codecs_folder), tmp_path, batch=3, where=Where(workers=1))
    for path in tokens.rglob("*"):
        if path.is_file():
            assert (tmp_path / "legacysurvey" / path.relative_to(tokens)).read_bytes() == path.read_bytes()


def test_views_are_what_codecs_see_of_turned_images(
    sky: dict[str, Path], codecs_folder: Path, tokens: Path, tmp_path: Path
) -> None:
    tokenise(plan(str(sky["legacysurvey"]), codecs_folder, views=8), tmp_path)
    table = mmu.open(tmp_path / "legacysurvey").table("all")
    assert table["view"].to_pylist() == [*range(8)] * 24
    assert table["object_id"].to_pylist()[::8] == table["object_id"].to_pylist()[7::8]
    plain, first = whole(tokens), whole(tmp_path / "legacysurvey")
    assert len(Tokens(tmp_path / "legacysurvey")) == 24
    assert all(np.array_equal(plain[key], first[key]) for key in plain)
    for key in ("tok_flux_g", "tok_ebv"):
        assert table[key].to_pylist()[3::8] == table[key].to_pylist()[::8]
    codec, dataset = codecs.load(codecs_folder / "image_universal"), mmu.open(sky["legacysurvey"])
    record = dataset.record(table["object_id"][0].as_py())["image"]
    for view in (1, 6):
        given = {name: np.rot90(record[name], view % 4, (1, 2)) for name in ("flux", "ivar", "mask")}
        given = {name: np.ascontiguousarray(of[..., ::-1] if view > 3 else of)[None] for name, of in given.items()}
        own = {name: record[name][None] for name in ("psf_fwhm", "scale")}
        ids = codec.encode(**given, **own, bands=list(record["band"]))
        assert table["tok_image12_legacysurvey"][view].as_py() == ids[0].tolist()
    with pytest.raises(UsageError, match="give 1, or 8"):
        plan(str(sky["legacysurvey"]), codecs_folder, views=4)


def test_the_command_line(sky: dict[str, Path], codecs_folder: Path, tmp_path: Path) -> None:
    run, given = CliRunner(), [str(sky["desi"]), "--codecs", str(codecs_folder), "--out", str(tmp_path)]
    done = run.invoke(app, ["tokenize", *given, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "desi: 12 objects, 3 modalities" in done.output
    assert not list(tmp_path.iterdir())
    done = run.invoke(app, ["tokenize", *given, "--only", "tok_z,tok_redshift"])
    assert done.exit_code == 0, done.output
    assert "12 objects" in done.output
    assert Tokens(tmp_path / "desi").keys == ["tok_z", "tok_redshift"]
    done = run.invoke(app, ["tokenize", *given, "--only", "tok_z,tok_redshift", "--workers", "0"])
    assert "12 objects" in done.output, done.output
    done = run.invoke(app, ["tokenize", *given, "--only", "tok_z,tok_redshift", "--views", "8"])
    assert "give another --out" in str(done.exception)
    done = run.invoke(app, ["tokenize", *given, "--only", "tok_zz"])
    assert isinstance(done.exception, UsageError)
    done = run.invoke(app, ["tokenize", str(sky["desi"]), "--codecs", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert "no codecs" in str(done.exception)


def test_what_holds_no_tokens_is_told(sky: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mmu tokenize"):
        Tokens(tmp_path)
    with pytest.raises(FormatError, match="no shard of tokens"):
        Tokens(sky["desi"])
    assert os.listdir(tmp_path) == []


def test_lsdb_opens_them(tokens: Path) -> None:
    hats = pytest.importorskip("hats")
    catalogue = hats.read_hats(tokens)
    assert catalogue.catalog_info.total_rows == 24


def test_padding_of_columns(tokens: Path) -> None:
    path = sorted(tokens.rglob("Npix=*.parquet"))[0]
    column = pq.read_table(path)["catalog"].combine_chunks()
    column = column.chunk(0) if hasattr(column, "chunk") else column
    sliced = padded("catalog", column[1:]) if len(column) > 1 else padded("catalog", column)
    assert sliced.shape[1] == 50


def test_tokens_of_an_older_table_are_read_and_completed(
    sky: dict[str, Path], codecs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder begun before light curves came is what it would be now, and one of a newer table is refused."""
    from training import token_shards

    written = tokenise(plan(str(sky["desi"]), codecs_folder, ["tok_z"]), tmp_path)
    monkeypatch.setattr(token_shards, "VERSION", 3)
    assert Tokens(tmp_path / "desi", codecs_folder).about["modalities"] == 1
    (tmp_path / "desi" / "dataset" / written[0].partition.path).unlink()
    again = tokenise(plan(str(sky["desi"]), codecs_folder, ["tok_z"]), tmp_path)
    assert [shard.xxh3 for shard in again] == [shard.xxh3 for shard in written]
    monkeypatch.setattr(token_shards, "VERSION", 0)
    with pytest.raises(UsageError, match="version 1 of the modalities"):
        Tokens(tmp_path / "desi")
