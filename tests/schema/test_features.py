"""The features in the card are those `datasets` itself would write, and the documentation names every column."""

from __future__ import annotations

import datasets
import pytest
import yaml

from mmu.schema import Column, Schema
from mmu.schema.document import column_table
from mmu.schema.features import features_yaml
from tests.shards.sample import SCHEMA, SIDE

CUBE = Schema(
    (
        Column(
            "cube", "struct", members=(Column("flux", shape=(9, 5, 5)), Column("lsf", "float64", shape=(None, 2, 3, 4)))
        ),
        Column("map", "int16", shape=(3, 4)),
        Column("tags", "string", shape=(None,)),
    )
)


@pytest.mark.parametrize("schema", [SCHEMA, CUBE])
def test_features_are_what_datasets_writes(schema: Schema) -> None:
    text = yaml.safe_dump(features_yaml(schema), sort_keys=False)
    features = datasets.Features._from_yaml_list(yaml.safe_load(text))
    assert features._to_yaml_list() == features_yaml(schema)
    assert list(features) == ["_healpix_29", *schema.names]


def test_each_kind_of_column_has_its_feature() -> None:
    features = datasets.Features._from_yaml_list(features_yaml(SCHEMA))
    assert features["image"]["flux"] == datasets.Array3D((None, SIDE, SIDE), "float32")
    assert features["image"]["band"] == datasets.List(datasets.Value("string"))
    assert features["spectrum"]["flux"] == datasets.List(datasets.Value("float32"))
    assert isinstance(features["rgb"], datasets.Image)
    assert features["ZWARN"] == datasets.Value("int64")
    cube = datasets.Features._from_yaml_list(features_yaml(CUBE))
    assert cube["cube"]["lsf"] == datasets.Array4D((None, 2, 3, 4), "float64")
    assert cube["map"] == datasets.Array2D((3, 4), "int16")


def test_the_table_names_every_column_with_unit_shape_and_polarity() -> None:
    table = column_table(SCHEMA)
    lines = table.splitlines()
    assert len(lines) == 2 + len(SCHEMA) + sum(len(column.members) for column in SCHEMA)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    flux = next(line for line in lines if "`image.flux`" in line)
    assert f"* × {SIDE} × {SIDE}" in flux
    assert "AB zero point 22.5" in flux
    assert "True = good" in next(line for line in lines if "`image.mask`" in line)
    assert "may be missing" in next(line for line in lines if "`redshift`" in line)
