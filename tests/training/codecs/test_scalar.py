"""Codecs of numbers: quantiles of a stream, whatever its batches; decoded without bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from training.codecs import PUBLISHED
from training.codecs.scalar import AsinhScalarCodec, GridScalarCodec, LogScalarCodec, MultiScalarCodec, ScalarCodec


def numbers(count: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).lognormal(1, 1, count)


def test_how_a_stream_is_cut_into_batches_does_not_matter() -> None:
    values = numbers(5000)
    tables = []
    for cuts in ([], [3, 700, 701, 1500, 4000], list(range(50, 5000, 50))):
        codec = ScalarCodec("a", 64, 1000)
        for part in np.split(values, cuts):
            codec.fit(part)
        codec.finish()
        tables.append(codec.quantizer.table.clone())
    assert torch.equal(tables[0], tables[1])
    assert torch.equal(tables[0], tables[2])


def test_every_number_of_a_stream_is_kept_as_often() -> None:
    kept = np.zeros(400)
    for seed in range(300):
        codec = ScalarCodec("a", 8, 40)
        codec.quantizer.random.manual_seed(seed)
        codec.fit(np.arange(400.0))
        kept[codec.quantizer.reservoir.long().numpy()] += 1
    expected = 300 * 40 / 400
    chi_square = ((kept - expected) ** 2 / (expected * (1 - 40 / 400))).sum()
    assert 300 < chi_square < 510, "400 degrees of freedom: 3.5 standard deviations"


def test_bins_are_equally_full_and_decoded_without_bias() -> None:
    codec = LogScalarCodec("flux", 128, 20_000)
    codec.fit(numbers(20_000))
    codec.finish()
    fresh = numbers(50_000, seed=1)
    ids = codec.encode(fresh)[:, 0]
    counts = torch.bincount(ids, minlength=128)[1:]
    assert int(counts.min()) > 0.6 * 50_000 / 128
    inner = ((ids > 1) & (ids < 126)).numpy()
    error = (codec.decode(ids[:, None]).numpy() - fresh)[inner]
    assert abs(error.mean()) < 0.05 * error.std()
    codec.compat = PUBLISHED
    right = (codec.decode(ids[:, None]).numpy() - fresh)[inner]
    assert right.mean() > 0.5 * error.std()


def test_signs_and_faint_values_survive_arcsinh_but_not_logarithms() -> None:
    values = np.random.default_rng(2).normal(0, 5, 20_000)
    signed, floored = AsinhScalarCodec("parallax", 0.1, 256, 20_000), LogScalarCodec("parallax", 256, 20_000)
    for codec in (signed, floored):
        codec.fit(values)
        codec.finish()
    negative = values[values < -0.1]
    assert len(set(signed.encode(negative)[:, 0].tolist())) > 100
    assert len(set(floored.encode(negative)[:, 0].tolist())) == 1
    assert np.corrcoef(signed.decode(signed.encode(values)).numpy(), values)[0, 1] > 0.999


def test_few_numbers_give_a_table_of_those_alone() -> None:
    codec = ScalarCodec("a", 64, 1000)
    codec.fit(np.array([5.0, np.nan, 7.0]))
    codec.finish()
    assert float(codec.quantizer.table.min()) == 5.0
    assert float(codec.quantizer.table.max()) == 7.0
    assert int(codec.quantizer.count) == 2
    assert codec.decode(codec.encode(np.array([5.0, 7.0]))).tolist() == [5.0, 7.0]


def test_nothing_to_count_is_said() -> None:
    codec = ScalarCodec("a", 64, 1000)
    codec.fit(np.array([np.nan, np.inf]))
    with pytest.raises(UsageError, match="No finite number"):
        codec.finish()
    with pytest.raises(UsageError, match="softening=0"):
        AsinhScalarCodec("a", softening=0)


def test_redshifts_on_the_grid() -> None:
    codec = GridScalarCodec("Z")
    values = np.linspace(0, 1, 5001)
    error = codec.decode(codec.encode(values)).numpy() - values
    assert abs(error).max() <= 0.5 / 1023 + 1e-6
    assert abs(error.mean()) < 2e-5
    assert codec.encode(np.array([-1.0, 3.0]))[:, 0].tolist() == [0, 1023]


def test_coefficients_have_tables_of_their_own() -> None:
    random = np.random.default_rng(3)
    values = random.normal(0, 1, (3000, 4)) * np.array([1e3, 10, 1, 0.01])
    codec = MultiScalarCodec("bp_coefficients", codebook_size=128, reservoir_size=3000, num_quantizers=4)
    codec.fit(values)
    codec.finish()
    back = codec.decode(codec.encode(values)).numpy()
    for column in range(4):
        assert np.corrcoef(back[:, column], values[:, column])[0, 1] > 0.99
