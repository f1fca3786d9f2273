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
from mmu.dataset import Dataset
from mmu.decoding import decode
from mmu.report import write_report
from mmu.schema import HEALPIX, Column, arrow_schema
from mmu.sky import healpix
from mmu.survey import Hdf5Column, Release, Survey
from mmu.v1 import V1Dataset

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

    def test_hdf5_opens_as_what_it_was_made_of(self, built: tuple[Release, Path]) -> None:
        release, out = built
        if not (release.hdf5 or release.hdf5_groups):
            pytest.skip("no column of it has a name in v1's layout")
        ours = mmu.open(out / self.survey.name / release.name)
        old = mmu.open(out / self.survey.name / "hdf5" / release.name)
        assert isinstance(old, V1Dataset)
        assert old.left_out == {}
        assert len(old) == len(ours)
        if release.hdf5_groups:
            assert set(old.array("object_id")) == set(ours.array("object_id"))
            return
        entries, compared = {entry.name: entry for entry in release.hdf5}, 0
        for path, source in old.layout.sources.items():
            if source[0] in entries:
                _same(path, entries[source[0]], old.array(path), ours)
                compared += 1
        assert compared >= len(release.hdf5) - 3  # object_id, ra and dec may go by other names besides

    def test_a_page_and_a_picture_tell_of_it(self, built: tuple[Release, Path], tmp_path: Path) -> None:
        release, out = built
        pictures = tmp_path / "pictures"
        page = write_report([out / self.survey.name / release.name], tmp_path / "page.html", pictures).read_text()
        assert "could not all be read" not in page
        assert [path.name for path in pictures.iterdir()] == [f"{self.survey.name}.png"]


def _same(path: str, entry: Hdf5Column, found: Any, ours: Dataset) -> None:
    """The rows of a column of v1, in the order of ours, are those that it was made of."""
    columns = [decode(ours.table([name]), pictures=True) for name in (entry.source, *entry.stack)]
    wanted = [_at(values, name) for values, name in zip(columns, (entry.source, *entry.stack), strict=True)]
    expected = np.stack(wanted, axis=1) if entry.stack else wanted[0]
    if isinstance(expected, np.ma.MaskedArray):
        expected = expected.filled(entry.fill)
    for one, other in zip(found, expected, strict=True):
        if path == "object_id":
            assert one == str(other)
        elif entry.index is not None:
            assert all(np.array_equal(plane, other[entry.index]) for plane in one)
        elif entry.length is not None and not path.startswith(("image.", "spectrum.")):
            assert np.array_equal(one[: len(other)], np.asarray(other, one.dtype), equal_nan=one.dtype.kind == "f")
        else:
            here = np.asarray(one)
            assert np.array_equal(here, np.asarray(other, here.dtype), equal_nan=here.dtype.kind == "f"), path


def _at(values: dict[str, Any], path: str) -> Any:
    top, _, member = path.partition(".")
    return values[top][member] if member else values[top]


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
