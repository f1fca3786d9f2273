"""The spectrum codec: any wavelengths, what is masked, what is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from tests.training.codecs.redraw import redraw
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
