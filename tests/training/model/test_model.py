"""`Model`: arrays or ids in, probabilities, samples, values and vectors out; mistakes told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmu.decoding import decode
from mmu.errors import UsageError
from training.codecs import ABSENT
from training.model import Model, files
from training.model.anytoany import AnyToAny
from training.model.config import ModelConfig
from training.model.generate import Decoding

KEYS = ("tok_image12_legacysurvey", "tok_ebv", "tok_flux_g", "catalog", "tok_segmap", "tok_spectrum_desi", "tok_z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("model")
    files.save(AnyToAny(ModelConfig(KEYS, dim=32, encoder_depth=1, decoder_depth=1, heads=4)), out)
    return out


@pytest.fixture(scope="module")
def model(folder: Path, codecs_folder: Path) -> Model:
    return Model.from_pretrained(folder, codecs_folder)


@pytest.fixture(scope="module")
def columns(sky: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Decoded rows of one partition of each dataset."""
    found = {}
    for name, path in sky.items():
        shard = sorted((path / "dataset").rglob("Npix=*.parquet"))[0]
        found[name] = decode(pq.read_table(shard), pictures=True)
    return found


def test_arrays_of_a_survey_are_given(model: Model, columns: dict[str, dict[str, Any]]) -> None:
    tokens = model.tokens("legacysurvey", columns["legacysurvey"])
    assert set(tokens) == {"tok_image12_legacysurvey", "tok_ebv", "tok_flux_g", "catalog", "tok_segmap"}
    count = len(columns["legacysurvey"]["object_id"])
    assert {len(ids) for ids in tokens.values()} == {count}
    one = model.predict("tok_z", {"legacysurvey": columns["legacysurvey"]})
    other = model.predict("tok_z", tokens)
    np.testing.assert_array_equal(one.log_probabilities, other.log_probabilities)
    assert one.log_probabilities.shape == (count, 1, 1025)


def test_probabilities_add_up(model: Model, columns: dict[str, dict[str, Any]]) -> None:
    found = model.predict("tok_z", {"legacysurvey": columns["legacysurvey"]})
    np.testing.assert_allclose(np.exp(found.log_probabilities).sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.probabilities().sum(1), 1, rtol=1e-5)
    assert (np.diff(found.values) > 0).all()
    mean = found.mean()
    assert ((mean >= 0) & (mean <= 1)).all()
    assert (found.quantile(0.1) <= found.quantile(0.9)).all()
    assert ((found.pit(mean) > 0) & (found.pit(mean) < 1)).all()
    ids = found.sample(5, seed=1)
    assert ids.shape == (5, len(mean), 1)
    assert found.log_likelihood(found.best).shape == mean.shape
    assert (found.log_likelihood(found.best) >= found.log_likelihood(ids[0])).all()


def test_batches_do_not_matter(model: Model, columns: dict[str, dict[str, Any]]) -> None:
    tokens = model.tokens("legacysurvey", columns["legacysurvey"])
    one, other = (model.predict("tok_z", tokens, batch_size=size).log_probabilities for size in (2, 64))
    np.testing.assert_allclose(one, other, atol=1e-5)
    one, other = (model.embed(tokens, batch_size=size) for size in (2, 64))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_objects_may_have_less(model: Model) -> None:
    tokens = {"tok_ebv": np.array([[5], [-1], [7]]), "tok_flux_g": np.array([[1], [2], [3]])}
    alone = model.predict("tok_z", {"tok_flux_g": np.array([[2]])}).log_probabilities
    np.testing.assert_allclose(model.predict("tok_z", tokens).log_probabilities[1], alone[0], atol=1e-5)


def test_generated_spectra_decode(model: Model) -> None:
    given = {"tok_ebv": np.array([1, 2]), "tok_z": np.array([30, 40])}
    drawn = model.generate("tok_spectrum_desi", given, Decoding(steps=3), samples=2)
    assert drawn.ids.shape == (2, 2, 273)
    assert drawn.log_likelihood.shape == (2, 2)
    spectra = model.decode("tok_spectrum_desi", drawn.ids[0], wavelength=np.linspace(3700, 9500, 100))
    assert spectra.flux.shape == (2, 100)
    assert torch.isfinite(spectra.flux).all()
    told = model.log_likelihood("tok_spectrum_desi", drawn.ids[0], given, steps=4)
    assert told.shape == (2,)
    assert (told < 0).all()


def test_a_list_is_generated_and_decodes(model: Model) -> None:
    drawn = model.generate("catalog", {"tok_ebv": np.array([1, 2, 3])})
    assert drawn.ids.shape == (1, 3, 50)
    ids = drawn.ids[0]
    assert ((ids == ABSENT) | (ids >= 204)).all()
    given = model.predict("tok_z", {"catalog": ids, "tok_ebv": np.array([1, 2, 3])})
    assert np.isfinite(given.log_probabilities).all()


def test_embeddings(model: Model) -> None:
    tokens = {"tok_ebv": np.array([[5], [-1]]), "tok_segmap": np.zeros((2, 144), int)}
    vectors = model.embed(tokens, pool="none")
    assert vectors.shape == (2, 145, 32)
    assert np.isnan(vectors[1, 144]).all()
    np.testing.assert_allclose(model.embed(tokens), np.nanmean(vectors, 1), atol=1e-6)
    ebv_first = vectors[0]
    by_modality = (ebv_first[:1].mean(0) + ebv_first[1:].mean(0)) / 2
    np.testing.assert_allclose(model.embed(tokens, pool="modality")[0], by_modality, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tok_zz": np.zeros(1, int)}, "tok_zz"),
        ({"tok_ebv": np.zeros(1, int), "tok_flux_g": np.zeros(2, int)}, "tok_ebv 1, tok_flux_g 2"),
        ({"tok_ebv": np.full(1, 1024)}, "ids 0 to 1023"),
        ({"tok_ebv": np.zeros(1)}, "integers"),
        ({"tok_segmap": np.zeros((1, 100), int)}, "has 144 integers"),
        ({}, "nothing"),
        ({"tok_z": np.zeros(1, int)}, "given and asked for"),
        ({"hsc": {"FLUX_G": np.zeros(3)}}, "nothing can be given"),
    ],
)
def test_mistakes_are_told(model: Model, given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        model.predict("tok_z", given)


def test_a_codec_that_is_not_there_is_told(folder: Path) -> None:
    model = Model.from_pretrained(folder)
    given = {"tok_ebv": np.array([3])}
    found = model.predict("tok_z", given)
    assert found.best.shape == (1, 1)
    with pytest.raises(UsageError, match="folder of codecs"):
        found.mean()
    with pytest.raises(UsageError, match="folder of codecs"):
        model.decode("tok_z", found.best)
    with pytest.raises(UsageError, match=r"use generate\(\)"):
        model.predict("catalog", given)
