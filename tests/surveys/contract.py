"""What every survey keeps to: its own folder has a `TestContract(Contract)` that names it, and inherits all of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

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
from mmu.survey import Release, Survey

REACH_DEG = 0.02
"""Rows of an object that has several lie this near to it."""


class Contract:
    """The tests of one survey, for each of its releases; some objects are built from the simulated sky."""

    survey: ClassVar[Survey]
    objects: ClassVar[int] = 12

    @classmethod
    def spec(cls, out: Path, release: Release, **options: Any) -> BuildSpec:
        """A small build."""
        given = {"source": "simulated", "max_objects": cls.objects, "workers": 0, "keep_raw": True, **options}
        return BuildSpec(cls.survey.name, out, release.name, **given)

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, release: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Path]:
        """A release and where it is."""
        out = tmp_path_factory.mktemp(f"{cls.survey.name}-{release.name}")
        report = build(cls.spec(out, release, formats=("parquet", "hdf5")))
        assert report.counts["written"] + sum(report.counts["excluded"].values()) == cls.objects, report.counts
        return release, out

    def test_declaration_is_complete(self, release: Release) -> None:
        assert self.survey.licence
        assert self.survey.licence_id
        assert self.survey.root.startswith("https://")
        assert "@" in self.survey.text("cite.bib")
        assert len(self.survey.text("card.md")) > 200
        assert release.selection
        assert self.survey.differences
        assert release.objects > 0
        assert release.coverage
        assert release.schema.names[:3] == ["object_id", "ra", "dec"]
        for path, column in (leaf for top in release.schema for leaf in _leaves(top)):
            if path.endswith((".flux", ".ivar", ".lsf_sigma", ".lambda", ".psf_fwhm", ".scale")):
                assert column.unit, f"{path} has no unit"
            if path.endswith(".mask"):
                assert column.polarity, f"{path} does not say what True means"

    def test_hdf5_map_names_what_exists(self, release: Release) -> None:
        for column in release.hdf5:
            top = column.source.split(".")[0]
            assert top in release.schema, column
            assert _member(release.schema[top], column.source), column

    def test_ledger_and_files_agree(self, built: tuple[Release, Path]) -> None:
        _, out = built
        assert [problem for verdict in verify(out / self.survey.name) for problem in verdict.problems] == []

    def test_schema_is_the_declared_one(self, built: tuple[Release, Path]) -> None:
        release, out = built
        for path in (out / self.survey.name / release.name / "dataset").rglob("Npix=*.parquet"):
            assert pq.read_schema(path).equals(arrow_schema(release.schema), check_metadata=True)

    def test_ids_are_text_and_pixels_agree(self, built: tuple[Release, Path]) -> None:
        release, out = built
        table = mmu.open(out / self.survey.name / release.name).table(["object_id", "ra", "dec", HEALPIX.name])
        ids = table["object_id"].to_pylist()
        assert all(isinstance(name, str) and name == name.strip() for name in ids)
        objects = [name for name, _ in groupby(ids)] if release.many else ids
        assert len(set(objects)) == len(objects)
        keys, ra, dec = np.asarray(table[HEALPIX.name]), np.asarray(table["ra"]), np.asarray(table["dec"])
        assert (np.diff(keys) >= 0).all()
        if release.many:
            assert len(set(zip(ids, keys.tolist(), strict=True))) == len(objects)
            assert healpix.separation_deg(ra, dec, *healpix.centres(healpix.MAX_ORDER, keys)).max() < REACH_DEG
        else:
            assert (keys == healpix.pixel(ra, dec)).all()
        assert table.schema.field("ra").type == pa.float64()

    def test_inverse_variance_and_masks_make_sense(self, built: tuple[Release, Path]) -> None:
        release, out = built
        modalities = ("image", "spectrum", "cube")
        wanted = [
            column.name
            for column in release.schema
            if column.modality in modalities and {"ivar", "mask"} <= {member.name for member in column.members}
        ]
        if not wanted:
            pytest.skip("no image, spectrum or cube")
        usable: dict[str, list[float]] = {name: [] for name in wanted}
        for batch in mmu.open(out / self.survey.name).batches(wanted, 4):
            for name in wanted:
                kind, values = release.schema[name].modality, batch[name]
                for ivar, flux, mask in zip(values["ivar"], values["flux"], values["mask"], strict=True):
                    usable[name].append(_usable(kind, np.asarray(ivar), np.asarray(flux), np.asarray(mask)))
        for name, shares in usable.items():
            assert np.mean(shares) > 0.3, f"most pixels of {name} are unusable: is the polarity right?"

    def test_rebuilt_from_kept_raw_files_gives_the_same_bytes(
        self, built: tuple[Release, Path], tmp_path: Path
    ) -> None:
        release, out = built
        build(self.spec(tmp_path, release, cache=out / ".cache"))
        for path in sorted((out / self.survey.name / release.name).rglob("Npix=*.parquet")):
            assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes()

    def test_hdf5_has_the_v1_layout(self, built: tuple[Release, Path]) -> None:
        import h5py

        release, out = built
        rows = 0
        for path in sorted((out / self.survey.name / "hdf5" / release.name).glob("healpix=*/*.hdf5")):
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
        assert rows == len(mmu.open(out / self.survey.name))


def _leaves(column: Column, prefix: str = "") -> Iterator[tuple[str, Column]]:
    if column.members:
        for member in column.members:
            yield from _leaves(member, f"{prefix}{column.name}.")
    else:
        yield prefix + column.name, column


def _member(top: Column, path: str) -> bool:
    return path in {leaf for leaf, _ in _leaves(top)} or path == top.name


def _usable(modality: str, ivar: Any, flux: Any, mask: Any) -> float:
    """The share of a record's pixels that may be used, each of which has information."""
    assert np.isfinite(ivar).all()
    assert (ivar >= 0).all()
    assert np.isfinite(flux).all()
    usable = mask if modality == "image" else mask == 0
    assert (ivar[usable] > 0).all(), "a pixel called usable has no information"
    return float(usable.mean())
