"""The spectrum codec: any wavelengths, what is masked, what is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from tests.training.codecs.redraw import redraw
from training.codecs import convnext
from training.codecs.convnext import Block, FastBlock
from training.codecs.spectrum import SpectrumCodec

SMALL: dict[str, Any] = {
    "encoder_depths": [1, 1, 1, 1], "encoder_dims": [8, 8, 8, 16], "decoder_depths": [1, 1, 1, 1],
    "decoder_dims": [8, 8, 8, 2], "latent_channels": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> SpectrumCodec:
    made = SpectrumCodec(**SMALL).eval()
    redraw(made, 1)
    return made


def spectra(pixels: int = 700, count: int = 2) -> dict[str, Any]:
    random = np.random.default_rng(1)
    wavelength = np.tile(np.geomspace(3650, 9200, pixels).astype(np.float32), (count, 1))
    flux = random.normal(4, 1, (count, pixels)).astype(np.float32)
    return {"flux": flux, "wavelength": wavelength, "ivar": np.ones_like(flux), "mask": np.zeros(flux.shape, bool)}


@pytest.mark.parametrize("pad", [-1.0, 0.0, np.nan, 99_999_999.0])
def test_padding_does_not_matter_whatever_its_wavelength(codec: SpectrumCodec, pad: float) -> None:
    given = spectra()
    padded = {name: np.pad(values, ((0, 0), (0, 31))) for name, values in given.items()}
    padded["wavelength"][:, -31:] = pad
    assert torch.equal(codec.encode(**padded), codec.encode(**given))


@pytest.mark.parametrize("how", ["mask", "ivar", "nan"])
def test_bad_pixels_tell_nothing_of_their_flux(codec: SpectrumCodec, how: str) -> None:
    ids = []
    for value in (50.0, -10.0):
        given = spectra()
        given["flux"][:, 300:330] = np.nan if how == "nan" else value
        if how == "mask":
            given["mask"][:, 300:330] = True
        if how == "ivar":
            given["ivar"][:, 300:330] = 0
        ids.append(codec.encode(**given))
    assert torch.equal(*ids)
    assert not torch.equal(ids[0], codec.encode(**spectra()))


def test_inverse_variance_matters(codec: SpectrumCodec) -> None:
    given = spectra()
    noisy = {**given, "ivar": np.full_like(given["ivar"], 0.01)}
    assert not torch.equal(codec.encode(**given)[:, 1:], codec.encode(**noisy)[:, 1:])
    assert torch.equal(codec.encode(**given)[:, 0], codec.encode(**noisy)[:, 0])


def test_wavelengths_of_all_spectra_may_be_given_once(codec: SpectrumCodec) -> None:
    given = spectra()
    assert torch.equal(codec.encode(**{**given, "wavelength": given["wavelength"][0]}), codec.encode(**given))


def test_brightness_is_decoded(codec: SpectrumCodec) -> None:
    given = spectra()
    ids = [codec.encode(**{**given, "flux": given["flux"] * scale})[:, 0] for scale in (1, 10, 100)]
    level = [float(codec._level(one)[0]) for one in ids]
    assert level[1] / level[0] == pytest.approx(10, rel=0.05)
    assert level[2] / level[1] == pytest.approx(10, rel=0.05)


def test_decoded_at_wavelengths_and_outside_of_the_grid(codec: SpectrumCodec) -> None:
    ids = codec.encode(**spectra())
    whole, at = codec.decode(ids), codec.decode(ids, np.array([2000.0, 3500.0, 3500.4, 3500.8, 11_000.0]))
    assert whole.flux.shape == whole.mask.shape == whole.wavelength.shape == (2, 8704)
    level = codec._level(ids[:, 0])
    assert torch.equal(at.flux[:, 0], level)
    assert torch.allclose(at.flux[:, 1], whole.flux[:, 0])
    assert torch.allclose(at.flux[:, 2], (whole.flux[:, 0] + whole.flux[:, 1]) / 2, rtol=1e-3)
    assert torch.equal(at.flux[:, 4], level)


def test_rows_one_by_one_are_the_batch(codec: SpectrumCodec) -> None:
    seen = torch.randn(3, 2, 8704, generator=torch.Generator().manual_seed(1))
    whole = codec._latents(seen)
    with torch.no_grad():
        rows = codec._latents(seen)
        assert torch.equal(rows, torch.cat([codec._latents(row[None]) for row in seen]))
        assert codec._latents(seen[:0]).shape == (0, 10, 272)
        assert codec._decoded(rows[:0]).shape == (0, 2, 8704)
        assert torch.equal(codec._decoded(rows), torch.cat([codec._decoded(row[None]) for row in rows]))
    assert whole.requires_grad
    assert torch.allclose(rows, whole, atol=1e-4)


@pytest.mark.parametrize("quick", [True, False])
def test_fast_blocks_are_the_same_but_for_rounding(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, which has next to none; where a channel is silent too."""
    monkeypatch.setattr(convnext, "_quick", lambda x: quick)
    given = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(1)).double()
    made = []
    for kind in (Block, FastBlock):
        block, x = kind(4).double(), given.clone().requires_grad_()
        redraw(block, 1)
        with torch.no_grad():
            block.pwconv1.weight[3], block.pwconv1.bias[3] = 0, 0
        y = block(x)
        y.square().sum().backward()
        made.append([y, x.grad, *(values.grad for values in block.parameters())])
    assert all(torch.allclose(one, other, rtol=1e-10, atol=1e-10) for one, other in zip(*made, strict=True))


def test_the_loss_has_gradients_and_ignores_bad_pixels() -> None:
    torch.manual_seed(1)
    codec, given = SpectrumCodec(**SMALL).train(), spectra()
    given["mask"][:, 100:150] = True
    first = float(codec.loss(**given).value.detach())
    given["flux"][:, 100:150] = np.nan
    given["wavelength"][:, -3:] = np.nan
    given["ivar"][:, -3:] = 0
    loss = codec.loss(**given)
    assert float(loss.value.detach()) == pytest.approx(first, rel=0.05)
    loss.value.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(values.grad).all() for values in codec.parameters() if values.grad is not None)


def test_what_cannot_be_encoded_is_refused(codec: SpectrumCodec) -> None:
    given = spectra()
    with pytest.raises(UsageError, match="ivar is"):
        codec.encode(**{**given, "ivar": given["ivar"][:, :5]})
    with pytest.raises(UsageError, match=r"give \(spectra, pixels\)"):
        codec.encode(given["flux"][0], given["wavelength"][0], ivar=given["ivar"][0])
    with pytest.raises(UsageError, match="must be equal"):
        SpectrumCodec(codebook_size=512)
    with pytest.raises(UsageError, match="make 8 codes"):
        SpectrumCodec(network="sections", levels=(2, 4))


def small() -> SpectrumCodec:
    torch.manual_seed(3)
    return SpectrumCodec(network="sections", hidden=32, units=2)


def with_lines(count: int, seed: int) -> tuple[dict[str, Any], Any, Any]:
    """Flat spectra with one emission line each; the truth without noise, and where the lines are."""
    random = np.random.default_rng(seed)
    wavelength = np.tile(np.linspace(4000, 6500, 3125, dtype=np.float32), (count, 1))
    centre = random.uniform(4100, 6400, (count, 1))
    level, height = random.uniform(1, 3, (count, 1)), random.uniform(10, 30, (count, 1))
    truth = level + height * np.exp(-0.5 * ((wavelength - centre) / 3.2) ** 2)
    flux = (truth + random.normal(0, 1, truth.shape)).astype(np.float32)
    return {"flux": flux, "wavelength": wavelength, "ivar": np.ones_like(flux)}, truth, centre[:, 0]


def test_the_small_network_finds_lines_and_where_they_are() -> None:
    codec = small().train()
    optimiser = torch.optim.Adam(codec.parameters(), 5e-3)
    for step in range(80):
        optimiser.zero_grad()
        codec.loss(**with_lines(4, step)[0]).value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimiser.step()
    given, truth, centre = with_lines(40, 1000)
    decoded = codec.eval().decode(codec.encode(**given), given["wavelength"]).flux.numpy()
    level = given["flux"].mean(1, keepdims=True)
    assert np.mean((decoded - truth) ** 2) < 0.5 * np.mean((level - truth) ** 2)
    peak = given["wavelength"][0][decoded.argmax(1)]
    assert np.median(np.abs(peak - centre)) < 4.0


def test_a_section_sees_half_of_its_neighbours_and_draws_into_them() -> None:
    from training.codecs.sections import Sections

    torch.manual_seed(1)
    net = Sections(3, 8, 16, 1, 3).eval()
    latents = net.latents(torch.randn(2, 3, 80))
    assert latents.shape == (2, 3, 10)
    assert torch.equal(net.decode(latents), torch.zeros(2, 2, 80))
    with torch.no_grad():
        net.peak.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    assert net.decode(latents)[:, 0].amin() > 0
    x = torch.zeros(1, 3, 80)
    x[0, 2, 42] = 3.0
    height, place, _, _ = net.peaks(x)[0].T
    assert int(height.argmax()) == 5
    assert float(place[5]) == pytest.approx(2 * (2.5 * 2 / 8 - 1), abs=0.05)


def test_moments_settle_and_are_weighed() -> None:
    from training.codecs.whitened import Whitened

    random = torch.Generator().manual_seed(0)
    mixed = torch.tensor([[1.0, 0.9], [0.0, 0.3]])
    vectors = torch.einsum("dc,bcn->bdn", mixed, torch.randn(8, 2, 500, generator=random)) + 4
    whitened = Whitened(2).train()
    flat = whitened(vectors, torch.ones(8, 500)).movedim(1, -1).flatten(0, 1)
    assert torch.allclose(flat.T @ flat / len(flat), torch.eye(2), atol=0.1)
    before = whitened.mean.clone()
    whitened(torch.full_like(vectors, torch.nan), torch.ones(8, 500))
    whitened(vectors, torch.zeros(8, 500))
    assert torch.equal(whitened.mean, before)
    whitened.seen.fill_(10**6)
    whitened(vectors + 100, torch.ones(8, 500))
    assert float((whitened.mean - before).abs().max()) == pytest.approx(0.1, rel=0.01)


def test_spectra_are_shifted_each_by_its_own() -> None:
    import random

    from training.batches import shifted

    given = spectra()
    kept = given["wavelength"].copy()
    ratio = shifted(given, 0.02, random.Random(0))["wavelength"] / kept
    assert np.array_equal(given["wavelength"], kept)
    assert np.ptp(ratio, axis=1).max() < 1e-5
    assert 0 < np.abs(ratio - 1).max() <= 0.0201
    assert len(np.unique(ratio[:, 0])) == len(ratio)
