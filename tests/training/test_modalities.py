"""The table of modalities: dense, append-only, and that of the published checkpoints at its head."""

from __future__ import annotations

import itertools

import pytest

from mmu.schema import MODALITIES as SCHEMA
from mmu.survey import get_survey
from training.modalities import MODALITIES, PUBLISHED, VERSION, VOCABULARY, version


def test_ids_are_row_numbers_and_bases_leave_no_gap() -> None:
    rows = list(MODALITIES.values())
    assert [row.id for row in rows] == list(range(len(rows)))
    assert rows[0].base == 0
    assert all(after.base == row.base + row.vocabulary for row, after in itertools.pairwise(rows))
    assert rows[-1].base + rows[-1].vocabulary == VOCABULARY


def test_published_rows_sum_to_the_published_vocabulary_in_order_of_key() -> None:
    published = [row for row in MODALITIES.values() if row.published]
    assert len(published) == PUBLISHED == 40
    assert sum(row.vocabulary for row in published) == 50_083
    assert [row.key for row in published] == sorted(row.key for row in published)


def test_published_rows_are_those_of_the_published_package() -> None:
    info = pytest.importorskip("aion.fourm.modality_info").MODALITY_INFO
    published = {key: row for key, row in MODALITIES.items() if row.published}
    assert set(published) == set(info)
    for key, row in published.items():
        theirs = info[key]
        grid = theirs["encoder_embedding"].keywords
        assert row.vocabulary == theirs["vocab_size"]
        assert row.offset == theirs.get("vocab_offset", 0)
        assert row.kind == {"img": "grid", "seq_token": "sequence"}[theirs["type"]]
        if row.kind == "grid":
            patch = grid["patch_size"]
            assert row.shape == tuple(side // patch for side in grid["image_size"])
        else:
            assert row.tokens == grid["max_length"] == theirs["max_tokens"]


def test_sources_are_columns_of_the_surveys() -> None:
    for row in MODALITIES.values():
        assert row.sources, row.key
        for source in row.sources:
            if source.survey == "*":  # for surveys of others
                assert source.column in SCHEMA
                continue
            releases = get_survey(source.survey).releases
            assert any(source.column in release.schema for release in releases), (row.key, source)
            assert row.source(source.survey) == source


def test_rows_say_with_which_version_they_came() -> None:
    since = [row.since for row in MODALITIES.values()]
    assert since == sorted(since)
    assert set(since) == set(range(1, VERSION + 1))
    assert sum(number == 1 for number in since) == 51
    assert version(["tok_image", "tok_z"]) == version([]) == 1
    assert version(["tok_image", "tok_light_curve"]) == 2
