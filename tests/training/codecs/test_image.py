"""The image codec: bands, sizes, masks; what the universal one knows of a filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from training.codecs.bands import BANDS, NOISE, PUBLISHED, find
from training.codecs.image import ImageCodec
from training.codecs.projection import Weights

SMALL: dict[str, Any] = {"hidden_dims": 16, "multisurvey_projection_dims": 6, "num_consecutive": 1}


def universal(**more: Any) -> ImageCodec:
    torch.manual_seed(2)
    codec = ImageCodec(channels="universal", stem="patchify", patch=8, **{**SMALL, **more}).eval()
    with torch.no_grad():
        for values in codec.parameters():
            values.add_(0.1 * torch.randn_like(values))
    return codec


def flux(bands: int, side: int | tuple[int, int] = 96, count: int = 2) -> Any:
    shape = (side, side) if isinstance(side, int) else side
    return np.random.default_rng(1).normal(0, 0.3, (count, bands, *shape)).astype(np.float32)


def test_the_published_bands_are_those_of_the_package() -> None:
    index = pytest.importorskip("aion.codecs.preprocessing.band_to_index")
    assert list(PUBLISHED) == [name.lower() for name in index.BAND_TO_INDEX]
    assert {name: BANDS[name.lower()].clamp for name in index.BAND_CENTER_MAX} == index.BAND_CENTER_MAX
    assert BANDS["hsc-g"].per_nanomaggy == pytest.approx(63.0957, rel=1e-5)


def test_bands_are_found_by_name_of_any_case_and_refused_in_words() -> None:
    assert [band.name for band in find(["DES-G", "des-z"])] == ["des-g", "des-z"]
    with pytest.raises(UsageError, match="Did you mean 'des-g'"):
        find(["des-gg"])
    with pytest.raises(UsageError, match="each once"):
        find(["des-g", "DES-G"])
    with pytest.raises(UsageError, match="Unknown band 'f444w'"):
        ImageCodec(**SMALL).encode(flux(1), ["f444w"])


def test_every_band_of_the_builders_surveys_is_known() -> None:
    from mmu.survey import get_survey

    assert {name for release in get_survey("jwst").releases for name in release.facts["bands"]} <= set(BANDS)
    legacy = {name for release in get_survey("legacysurvey").releases for name in release.facts["band_names"].values()}
    assert legacy <= set(BANDS)


@pytest.mark.parametrize("side", [32, 40, 96, 101, (48, 120)])
def test_the_universal_codec_takes_any_size(side: Any) -> None:
    codec, images = universal(), flux(2, side)
    grid = codec.tokens(images.shape)
    ids = codec.encode(images, ["des-g", "des-r"])
    assert ids.shape == (2, grid[0] * grid[1])
    assert codec.decode(ids, ["des-g"], grid=(grid[0], grid[1])).shape == (2, 1, grid[0] * 8, grid[1] * 8)


def test_what_pads_an_image_is_like_what_is_masked() -> None:
    codec, small = universal(), flux(1, 60)
    large = np.full((2, 1, 64, 64), 7.0, np.float32)
    large[:, :, :60, :60] = small
    mask = np.zeros(large.shape, bool)
    mask[:, :, :60, :60] = True
    assert torch.equal(codec.encode(small, ["des-g"]), codec.encode(large, ["des-g"], mask=mask))


@pytest.mark.parametrize("how", ["nan", "mask", "ivar"])
def test_bad_pixels_tell_nothing_of_their_flux(how: str) -> None:
    codec, bands = universal(), ["des-g", "des-r"]
    ids = []
    for value in (3.0, -5.0):
        images = flux(2)
        images[:, 1, 20:40, 20:40] = np.nan if how == "nan" else value
        bad = np.zeros(images.shape, bool)
        bad[:, 1, 20:40, 20:40] = True
        more = {"mask": {"mask": ~bad}, "ivar": {"ivar": (~bad).astype(np.float32)}, "nan": {}}[how]
        ids.append(codec.encode(images, bands, **more))
    assert torch.equal(*ids)
    assert int(ids[0].min()) >= 0
    assert not torch.equal(ids[0], codec.encode(flux(2), bands))


def test_the_facts_of_a_filter_matter() -> None:
    codec, images = universal(), flux(2)
    there = codec.encode(images, ["des-g", "des-r"])
    assert not torch.equal(there, codec.encode(images, ["des-z", "des-r"]))
    assert not torch.equal(there, codec.encode(images, ["des-g", "des-r"], psf_fwhm=np.full((2, 2), 3.0)))
    swapped = codec.encode(images[:, ::-1].copy(), ["des-r", "des-g"])
    assert torch.equal(there, swapped)


def test_the_noise_of_a_filter_means_nothing_before_training() -> None:
    band = find(["des-g"])[0]
    quiet, loud = (torch.tensor(replace(band, noise=noise).facts()) for noise in (0.002, 0.02))
    assert (quiet != loud).nonzero().flatten().tolist() == [NOISE]
    fresh = Weights(len(quiet), 8, 4)
    assert torch.equal(fresh(quiet), fresh(loud))
    fresh(loud).sum().backward()
    assert fresh.straight.weight.grad[:, NOISE].abs().sum() > 0  # type: ignore[index]


@pytest.mark.parametrize("name", ["scale", "psf_fwhm"])
def test_what_images_tell_of_themselves_goes_before_the_table(name: str) -> None:
    codec, images, bands = universal(), flux(2), ["f115w", "f444w"]
    typical = np.array([[getattr(band, name) for band in find(bands)]] * 2, np.float32)
    plain = codec.encode(images, bands)
    assert torch.equal(plain, codec.encode(images, bands, **{name: typical}))
    assert torch.equal(plain, codec.encode(images, bands, **{name: [[np.nan, 0.0], [np.inf, -1.0]]}))
    own: dict[str, Any] = {name: typical * [[2.0], [1.0]]}
    other = codec.encode(images, bands, **own)
    assert not torch.equal(plain[0], other[0])
    assert torch.equal(plain[1], other[1])
    decoded = codec.decode(plain, bands, **own)
    assert not torch.allclose(decoded[0], codec.decode(plain, bands)[0])
    assert torch.allclose(decoded[1], codec.decode(plain, bands)[1])
    with pytest.raises(UsageError, match=rf"{name} has the shape \(2, 1\)"):
        codec.decode(plain, bands, **{name: own[name][:, :1]})


def test_decoding_with_the_scale_of_what_was_encoded_gives_its_brightness_back() -> None:
    torch.manual_seed(0)
    codec = ImageCodec(channels="universal", stem="patchify", **SMALL).train()
    optimiser, random = torch.optim.Adam(codec.parameters()), np.random.default_rng(0)
    round_ = np.exp(-np.hypot(*(np.mgrid[:32, :32] - 15.5)) / 4).astype(np.float32)
    bright = 10 ** random.uniform(0, 1.5, (150, 16, 1, 1, 1)).astype(np.float32)
    fine = np.tile([[True], [False]], (8, 1))
    scales, levels = np.where(fine, 0.02, 0.04), np.where(fine, 1.0, 4.0)[..., None, None]
    for step, batch in enumerate(bright):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / len(bright))
        loss = codec.loss(batch * levels * round_, ["f200w"], ivar=np.full((16, 1, 32, 32), 2500.0), scale=scales)
        optimiser.zero_grad()
        loss.value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    given = bright[-1] * levels * round_
    ids = codec.eval().encode(given, ["f200w"], scale=scales)
    total = given.sum((1, 2, 3))
    back, without = (codec.decode(ids, ["f200w"], scale=s).sum((1, 2, 3)).numpy() / total for s in (scales, None))
    for of in (slice(0, None, 2), slice(1, None, 2)):
        assert np.median(back[of]) == pytest.approx(1, abs=0.15)
        assert np.abs(back[of] - 1).max() < 0.6
    assert back[::2] == pytest.approx(without[::2], rel=1e-5)
    assert not np.isclose(back[1::2], without[1::2], rtol=1e-3).any()


def test_a_band_that_an_image_lacks_is_as_if_it_had_not_been_given() -> None:
    for codec in (universal(), ImageCodec(**SMALL).eval()):
        images = flux(3)
        images[1, 2] = 0
        present = np.array([[True, True, True], [True, True, False]])
        together = codec.encode(images, ["des-g", "des-r", "des-z"], present=present)
        alone = codec.encode(images[1:, :2], ["des-g", "des-r"])
        assert torch.equal(together[1:], alone)


def test_what_is_decoded_stays_within_the_bounds() -> None:
    codec = universal()
    with torch.no_grad():
        list(codec.bands.outwards.bent.parameters())[-1].fill_(50.0)
    decoded = codec.decode(codec.encode(flux(1), ["hsc-g"]), ["hsc-g", "f444w"])
    assert torch.isfinite(decoded).all()
    assert float(decoded[:, 0].max()) == pytest.approx(80, rel=1e-3)
    assert float(decoded[:, 1].max()) == pytest.approx(5000, rel=1e-3)


def test_the_loss_has_gradients_and_ignores_bad_pixels() -> None:
    codec, images = universal().train(), flux(2)
    ivar = np.full(images.shape, 100.0, np.float32)
    ivar[:, :, :10] = 0
    first = codec.loss(images, ["des-g", "des-r"], ivar=ivar)
    images[:, :, :10] = np.nan
    again = codec.loss(images, ["des-g", "des-r"], ivar=ivar)
    assert float(first.value.detach()) == float(again.value.detach())
    again.value.backward()  # type: ignore[no-untyped-call]
    assert all(values.grad is not None and torch.isfinite(values.grad).all() for values in codec.parameters())


def test_shapes_that_do_not_agree_are_refused() -> None:
    codec = universal()
    with pytest.raises(UsageError, match=r"mask has the shape \(2, 2, 95, 96\)"):
        codec.encode(flux(2), ["des-g", "des-r"], mask=np.ones((2, 2, 95, 96), bool))
    with pytest.raises(UsageError, match="at least 32"):
        codec.encode(flux(1, 31), ["des-g"])
    with pytest.raises(UsageError, match="10 ids do not fill"):
        codec.decode(torch.zeros(1, 10, dtype=torch.int32), ["des-g"])
    with pytest.raises(UsageError, match="differs from"):
        ImageCodec(embedding_dim=4)


def test_every_second_of_a_batch_is_left_unrounded() -> None:
    from training.codecs.quantize import FSQ

    vectors = 3 * torch.randn(4, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    quantizer = FSQ([5, 4])
    found, smooth = quantizer(vectors)[0], quantizer.half_rounded(vectors)
    assert torch.equal(smooth[1::2], found[1::2])
    assert not torch.equal(smooth[::2], found[::2])
    assert float((smooth - found).abs().max()) < 0.3


def test_light_tells_where_in_its_patch_it_is() -> None:
    from training.codecs import light

    planes, valid = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    planes[0, 0, 3, 7] = planes[0, 0, 4, 15] = 5.0
    planes[0, 0, 8:, :8] = 1.0
    across, up = light.measured(planes, valid, find(["des-g"]), 8)[0, 2:]
    edge = light.FAR * 7 / 8
    assert across[0].tolist() == pytest.approx([edge, edge], rel=0.06)
    assert up[0].tolist() == pytest.approx([-edge / 7, edge / 7], rel=0.06)
    assert max(map(abs, [*across[1].tolist(), *up[1].tolist()])) < 1e-6


def test_light_tells_how_bright_and_how_red_a_patch_is() -> None:
    from training.codecs import light

    bands = find(["des-g", "des-r", "des-z"])
    planes = torch.zeros(1, 3, 16, 16)
    planes[:, :, :8, :8] = torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    planes[:, :, 8:, :8] = torch.tensor([0.4, 0.2, 0.1])[:, None, None]
    valid = torch.ones_like(planes, dtype=torch.bool)
    bright, colour, *_ = light.measured(planes, valid, bands, 8).unbind(1)
    assert float(bright[0, 0, 0]) > 3
    assert bright[0, :, 1].tolist() == [0.0, 0.0]
    assert float(colour[0, 0, 0] - colour[0, 1, 0]) > 1
    assert colour[0, :, 1].tolist() == [0.0, 0.0]
    dim = light.measured(planes * 1e-4, valid, bands, 8)[0, 1:]
    assert float(dim.abs().max()) < 1e-3  # too little light to tell a colour
    valid[:, :, :4] = False
    again = light.measured(planes, valid, bands, 8)
    assert float(again[0, 0, 0, 0]) == pytest.approx(float(bright[0, 0, 0]), rel=1e-5)


def test_patches_count_once_and_the_flux_of_a_patch_is_better_known_than_that_of_a_pixel() -> None:
    from training.codecs import light

    truth, valid = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    inverse = torch.full_like(truth, 4.0)
    off = torch.full_like(truth, 0.5)  # one deviation of a pixel, eight of a patch
    assert float(light.chi_square(off, truth, inverse, valid, 8)) == pytest.approx(64)
    valid[..., 8:] = False
    assert float(light.chi_square(off, truth, inverse, valid, 8)) == pytest.approx(64)
    bright = torch.full_like(truth, 10.0)
    assert float(light.chi_square(off, bright, inverse, valid, 8)) == pytest.approx(0.25 / (0.25 / 64 + 0.25))


def test_a_stretch_goes_back_and_a_secant_is_the_slope_between_two_points() -> None:
    from training.codecs.stretch import Stretch

    bands, flux = find(["des-g"]), torch.tensor([-1.0, 0.0, 1e-3, 5.0]).view(1, 1, 2, 2)
    for stretch in (Stretch(), Stretch(0.01, 10.0)):
        planes = stretch.compressed(flux, bands)
        assert torch.allclose(stretch.expanded(planes, bands), flux, rtol=1e-5, atol=1e-9)
        near, far = planes + 1e-5, planes + 0.5
        assert torch.allclose(stretch.secant(near, planes, flux, bands), stretch.slope(planes, bands))
        rise = (stretch.expanded(far, bands) - flux) / 0.5
        inside = far.abs() < stretch.largest(bands, far)
        assert torch.allclose(stretch.secant(far, planes, flux, bands)[inside], rise[inside], rtol=1e-4)


def test_turned_images_stay_with_their_masks() -> None:
    from training.batches import turned

    images = flux(2)
    given = {"flux": images, "ivar": images + 1, "bands": ["des-g", "des-r"], "psf_fwhm": np.ones((2, 2))}
    ways = [turned(given, way) for way in range(8)]
    assert len({way["flux"].tobytes() for way in ways}) == 8
    assert all(np.array_equal(way["ivar"], way["flux"] + 1) for way in ways)
    assert all(way["bands"] == given["bands"] and way["psf_fwhm"] is given["psf_fwhm"] for way in ways)
