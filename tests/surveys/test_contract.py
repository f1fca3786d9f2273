"""What every survey owes: inherited by each new folder in `surveys/` without a line of test code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from mmu.build.run import build
from mmu.build.spec import BuildSpec
from mmu.build.verify import verify
from mmu.schema import HEALPIX, Column, arrow_schema
from mmu.sky import healpix
from mmu.survey import Release, Survey, get_survey, survey_names

EVERY = [(name, release.name) for name in survey_names() for release in get_survey(name).releases]
OBJECTS = 12


@pytest.fixture(scope="module", params=EVERY, ids=["/".join(pair) for pair in EVERY])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Survey, Release, Path]:
    """A dozen objects of each release, from the simulated sky."""
    name, release = request.param
    out = tmp_path_factory.mktemp(f"{name}-{release}")
    spec = BuildSpec(
        name,
        out,
        release,
        source="simulated",
        max_objects=OBJECTS,
        workers=0,
        formats=("parquet", "hdf5"),
        keep_raw=True,
    )
    report = build(spec)
    assert report.counts["written"] + sum(report.counts["excluded"].values()) == OBJECTS, report.counts
    return spec.survey, spec.release, out


def _leaves(column: Column, prefix: str = "") -> Iterator[tuple[str, Column]]:
    if column.members:
        for member in column.members:
            yield from _leaves(member, f"{prefix}{column.name}.")
    else:
        yield prefix + column.name, column


@pytest.mark.parametrize(("name", "release"), EVERY)
def test_declaration_is_complete(name: str, release: str) -> None:
    survey = get_survey(name)
    kind = survey.release(release)
    assert survey.licence
    assert survey.licence_id
    assert survey.root.startswith("https://")
    assert "@" in survey.text("cite.bib")
    assert len(survey.text("card.md")) > 200
    assert kind.selection
    assert survey.differences
    assert kind.objects > 0
    assert kind.coverage
    assert kind.schema.names[:3] == ["object_id", "ra", "dec"]
    for path, column in (leaf for top in kind.schema for leaf in _leaves(top)):
        if path.endswith((".flux", ".ivar", ".lsf_sigma", ".lambda", ".psf_fwhm", ".scale")):
            assert column.unit, f"{path} has no unit"
        if path.endswith(".mask"):
            assert column.polarity, f"{path} does not say what True means"


def _member(top: Column, path: str) -> bool:
    return path in {leaf for leaf, _ in _leaves(top)} or path == top.name


@pytest.mark.parametrize(("name", "release"), EVERY)
def test_hdf5_map_names_what_exists(name: str, release: str) -> None:
    kind = get_survey(name).release(release)
    for column in kind.hdf5:
        top = column.source.split(".")[0]
        assert top in kind.schema, column
        assert _member(kind.schema[top], column.source), column


def test_ledger_and_files_agree(built: tuple[Survey, Release, Path]) -> None:
    survey, _, out = built
    assert [problem for verdict in verify(out / survey.name) for problem in verdict.problems] == []


def test_schema_is_the_declared_one(built: tuple[Survey, Release, Path]) -> None:
    survey, release, out = built
    for path in (out / survey.name / release.name / "dataset").rglob("Npix=*.parquet"):
        assert pq.read_schema(path).equals(arrow_schema(release.schema), check_metadata=True)


def test_ids_are_unique_text_and_pixels_agree(built: tuple[Survey, Release, Path]) -> None:
    survey, _, out = built
    table = mmu.open(out / survey.name).table(["object_id", "ra", "dec", HEALPIX.name])
    ids = table["object_id"].to_pylist()
    assert all(isinstance(name, str) and name == name.strip() for name in ids)
    assert len(set(ids)) == len(ids)
    keys = np.asarray(table[HEALPIX.name])
    assert (keys == healpix.pixel(np.asarray(table["ra"]), np.asarray(table["dec"]))).all()
    assert (np.diff(keys) >= 0).all()
    assert table.schema.field("ra").type == pa.float64()


def test_inverse_variance_and_masks_make_sense(built: tuple[Survey, Release, Path]) -> None:
    survey, release, out = built
    modalities = ("image", "spectrum", "cube")
    wanted = [
        column.name
        for column in release.schema
        if column.modality in modalities and {"ivar", "mask"} <= {member.name for member in column.members}
    ]
    if not wanted:
        pytest.skip("no image, spectrum or cube")
    for batch in mmu.open(out / survey.name).batches(wanted, 4):
        for name in wanted:
            for ivar, flux, mask in zip(batch[name]["ivar"], batch[name]["flux"], batch[name]["mask"], strict=True):
                _sane(release.schema[name].modality, np.asarray(ivar), np.asarray(flux), np.asarray(mask))


def _sane(modality: str, ivar: Any, flux: Any, mask: Any) -> None:
    assert np.isfinite(ivar).all()
    assert (ivar >= 0).all()
    assert np.isfinite(flux).all()
    usable = mask if modality == "image" else mask == 0
    assert (ivar[usable] > 0).all(), "a pixel called usable has no information"
    assert usable.mean() > 0.3, "most pixels are unusable: is the polarity right?"


def test_rebuilt_from_kept_raw_files_gives_the_same_bytes(built: tuple[Survey, Release, Path], tmp_path: Path) -> None:
    survey, release, out = built
    spec = BuildSpec(
        survey.name,
        tmp_path,
        release.name,
        source="simulated",
        max_objects=OBJECTS,
        workers=0,
        cache=out / ".cache",
        keep_raw=True,
    )
    build(spec)
    for path in sorted((out / survey.name / release.name).rglob("Npix=*.parquet")):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_hdf5_has_the_v1_layout(built: tuple[Survey, Release, Path]) -> None:
    import h5py

    survey, release, out = built
    rows = 0
    for path in sorted((out / survey.name / "hdf5" / release.name).glob("healpix=*/*.hdf5")):
        with h5py.File(path) as file:
            pixel = int(path.parent.name.removeprefix("healpix="))
            if release.hdf5_groups:
                assert {int(group["healpix"][()]) for group in file.values()} == {pixel}
                assert {group["object_id"].asstr()[()] for group in file.values()} == set(file)
                rows += len(file)
                continue
            assert {column.name for column in release.hdf5} <= set(file)
            assert set(file["healpix"][:].tolist()) == {pixel}
            for column in release.hdf5:
                assert file[column.name].dtype == np.dtype(column.dtype), column.name
            rows += len(file["healpix"])
    assert rows == len(mmu.open(out / survey.name))
