"""croissant.json: valid Croissant 1.1, true to the columns, and its records are the dataset's."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmu
from mmu.schema.column import HEALPIX, Column
from tests.shards.sample import RELEASE, SCHEMA, SURVEY, write

NAME = RELEASE.name


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("croissant")
    write(root, 30)
    write(root, 10, SURVEY.releases[1])
    return root


@pytest.fixture(scope="module")
def croissant(built: Path) -> Any:
    """What mlcroissant makes of it; it raises where the file is not valid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rdflib's own deprecations
        import mlcroissant

        return mlcroissant.Dataset(jsonld=str(built / "croissant.json"))


def test_it_is_valid_and_lacks_only_a_date(croissant: Any) -> None:
    """The card holds no time, so a publication date is left to whoever publishes."""
    assert not croissant.metadata.issues.errors
    assert {words for words in croissant.metadata.issues.warnings if "datePublished" not in words} == set()
    assert croissant.metadata.name == "sample"
    assert croissant.metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert "@article{sample" in croissant.metadata.cite_as
    assert "@inproceedings{mmu2024" in croissant.metadata.cite_as
    assert croissant.metadata.creators[0].name == SURVEY.title


def test_every_column_is_a_field_with_type_shape_and_unit(built: Path, croissant: Any) -> None:
    assert [record_set.id for record_set in croissant.metadata.record_sets] == ["dr1_south", "dr2_north"]
    fields = {field.id: field for field in croissant.metadata.record_sets[0].fields}
    assert [name.split("/")[1] for name in fields] == [HEALPIX.name, *SCHEMA.names]
    for column in SCHEMA:
        found = fields[f"{NAME}/{column.name}"]
        assert [part.name for part in found.sub_fields or []] == [member.name for member in column.members]
        for part, member in [*zip(found.sub_fields or [], column.members, strict=True), (found, column)]:
            _like(part, member)
    flux = next(part for part in fields[f"{NAME}/image"].sub_fields if part.name == "flux")
    assert flux.array_shape == "-1,6,6"
    assert "unit: nanomaggy" in flux.description
    assert "AB zero point 22.5" in flux.description
    mask = next(part for part in fields[f"{NAME}/image"].sub_fields if part.name == "mask")
    assert "True = good" in mask.description


def _like(field: Any, column: Column) -> None:
    shaped = bool(column.shape) and column.dtype not in ("picture", "struct")
    assert bool(field.is_array) == shaped, field.id
    if shaped:
        assert [int(length) for length in field.array_shape.split(",")] == [length or -1 for length in column.shape]


def test_its_records_are_the_datasets(built: Path, croissant: Any) -> None:
    data = mmu.open(built, NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = {record[f"{NAME}/object_id"].decode(): record for record in croissant.records(NAME)}
    assert set(records) == set(data.table(["object_id"])["object_id"].to_pylist())
    for name in list(records)[:3]:
        ours, theirs = data.record(name), records[name]
        assert theirs[f"{NAME}/ra"] == ours["ra"]
        assert theirs[f"{NAME}/TARGETID"] == ours["TARGETID"]
        np.testing.assert_array_equal(theirs[f"{NAME}/coeff"], ours["coeff"])
        np.testing.assert_array_equal(theirs[f"{NAME}/spectrum"][f"{NAME}/spectrum/flux"], ours["spectrum"]["flux"])
        np.testing.assert_array_equal(theirs[f"{NAME}/image"][f"{NAME}/image/mask"], ours["image"]["mask"])
        assert [band.decode() for band in theirs[f"{NAME}/image"][f"{NAME}/image/band"]] == list(ours["image"]["band"])
        np.testing.assert_array_equal(np.asarray(theirs[f"{NAME}/rgb"]), ours["rgb"])


def test_files_are_named_with_what_pins_them(built: Path) -> None:
    parts = {part["@id"]: part for part in json.loads((built / "croissant.json").read_text())["distribution"]}
    ledger = (built / NAME / "_mmu" / "shards.parquet").read_bytes()
    assert parts[f"{NAME}-checksums"]["sha256"] == hashlib.sha256(ledger).hexdigest()
    assert parts[f"{NAME}-checksums"]["contentSize"] == f"{len(ledger)} B"
    assert list(built.glob(parts[f"{NAME}-shards"]["includes"]))


def test_simulated_data_say_so(built: Path) -> None:
    """The sample's source is the simulated sky."""
    described = json.loads((built / "croissant.json").read_text())["description"]
    assert (
        described == "**Simulated: the objects of dr1_south, dr2_north were never observed.** Words about the sample."
    )
