"""What the published package does wrong, shown there, and done right here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from aion import modalities as theirs_of

from mmu.errors import UsageError
from tests.training.codecs.published import images, ours, peer, spectra
from tests.training.codecs.redraw import redraw
from training.codecs.agreement import DES, HSC

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_images_of_hsc_cannot_be_decoded_there(tmp_path: Path) -> None:
    theirs = peer("image")
    own = ours("image", theirs, tmp_path, compat=None)
    ids = own.encode(images(HSC, count=1).flux, HSC)
    with pytest.raises(AttributeError, match="_reverse_zeropoint"):
        theirs.decode(ids, bands=HSC)
    flux = own.decode(ids, HSC)
    assert flux.shape == (1, 5, 96, 96)
    assert torch.isfinite(flux).all()


def test_encoding_twice_gives_other_ids_there(tmp_path: Path) -> None:
    theirs = peer("image")
    own = ours("image", theirs, tmp_path, compat=None)
    image = images(HSC)
    kept = image.flux.clone()
    own_ids = own.encode(image.flux, HSC)
    assert torch.equal(image.flux, kept)
    first, second = theirs.encode(image), theirs.encode(image)
    assert not torch.equal(image.flux, kept)
    assert float((first != second).float().mean()) > 0.3
    assert torch.equal(own.encode(kept, HSC), own_ids)


def test_one_nan_pixel_ruins_ids_there(tmp_path: Path) -> None:
    theirs = peer("image")
    own = ours("image", theirs, tmp_path, compat=None)
    image = images(DES, count=1)
    image.flux[0, 1, 50, 50] = torch.nan
    ids = own.encode(image.flux, DES)
    assert int(ids.min()) >= 0
    wrong = theirs.encode(image)
    assert int(wrong.min()) < 0 or int(wrong.max()) >= own.vocabulary


def test_small_images_are_taken_there(tmp_path: Path) -> None:
    theirs = peer("image")
    own = ours("image", theirs, tmp_path, compat=None)
    small = images(DES, count=1, side=64)
    with pytest.raises(UsageError, match="64 x 64 pixels; this codec needs at least 96"):
        own.encode(small.flux, DES)
    assert theirs.encode(small).shape[1] != 576


def test_more_planes_than_bands_are_taken_there(tmp_path: Path) -> None:
    theirs = peer("image")
    own = ours("image", theirs, tmp_path, compat=None)
    image = images(DES, count=1)
    with pytest.raises(UsageError, match="with 2 bands"):
        own.encode(image.flux, DES[:2])
    image.bands = DES[:2]
    assert theirs.encode(image).shape == (1, 576)


def test_padded_wavelengths_make_spectra_alike_there(tmp_path: Path) -> None:
    theirs = peer("spectrum")
    own = ours("spectrum", theirs, tmp_path, compat=None)
    given = spectra()
    whole = own.encode(**given)
    for pad in (-1.0, 0.0):
        padded = {name: values.clone() for name, values in given.items()}
        for name, values in (("wavelength", pad), ("flux", 0.0), ("ivar", 0.0), ("mask", True)):
            padded[name] = torch.cat([padded[name], torch.full((3, 27), values, dtype=padded[name].dtype)], 1)
        ids = theirs.encode(theirs_of.DESISpectrum(**padded))
        assert torch.equal(ids[0, 1:], ids[1, 1:]), "different spectra"
        mine = own.encode(**padded)
        assert torch.equal(mine, whole)
        again = ours("spectrum", theirs, tmp_path).encode(**padded)
        assert torch.equal(again, ids)


def test_the_mask_of_spectra_is_not_looked_at_there(tmp_path: Path) -> None:
    theirs = peer("spectrum")
    own = ours("spectrum", theirs, tmp_path, compat=None)
    given = spectra()
    given["mask"][:, 3000:3200] = True
    spoilt = {name: values.clone() for name, values in given.items()}
    spoilt["flux"][:, 3000:3200] = 500.0
    assert torch.equal(own.encode(**spoilt), own.encode(**given))
    theirs_ids = [theirs.encode(theirs_of.DESISpectrum(**one)) for one in (given, spoilt)]
    assert not torch.equal(*theirs_ids)
    assert torch.equal(ours("spectrum", theirs, tmp_path).encode(**spoilt), theirs_ids[1])


def test_scalars_that_are_missing_have_a_code_there_and_decode_high(tmp_path: Path) -> None:
    theirs = peer("scalar")
    own = ours("scalar", theirs, tmp_path, compat=None)
    missing = torch.tensor([torch.nan, 0.5])
    assert theirs.encode(theirs.modality(value=missing))[0] == 1023
    assert own.encode(missing)[:, 0].tolist()[0] == -1
    assert torch.isnan(own.decode(own.encode(missing))[0])
    values = theirs._quantizer._reservoir[:]
    values = values[(values > values.quantile(0.01)) & (values < values.quantile(0.99))]
    bias = float((theirs.decode(theirs.encode(theirs.modality(value=values))).value - values).mean())
    assert bias > 5e-4
    assert abs(float((own.decode(own.encode(values)) - values).mean())) < bias / 20
    compat = ours("scalar", theirs, tmp_path)
    assert compat.encode(missing)[:, 0].tolist()[0] == 1023
    assert torch.equal(
        compat.decode(compat.encode(values)), theirs.decode(theirs.encode(theirs.modality(value=values))).value
    )


def test_fresh_parameters_would_prove_nothing(tmp_path: Path) -> None:
    from aion.codecs import ScalarCodec

    assert ScalarCodec("EBV", 1024, 1000)._quantizer._index_to_val.unique().numel() == 1
    from aion.codecs.modules.magvit import ResidualUnit

    unit, x = ResidualUnit(8, 3), torch.randn(1, 8, 12, 12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(unit(x), x, atol=1e-3), "a fresh residual unit does nothing"
    redraw(unit, 1)
    assert not torch.allclose(unit(x), x, atol=1e-1)


def test_memory_that_cannot_be_written_is_encoded(tmp_path: Path) -> None:
    own = ours("image", peer("image"), tmp_path, compat=None)
    flux = images(HSC, count=1).flux.numpy()
    np.save(tmp_path / "flux.npy", flux)
    mapped = np.load(tmp_path / "flux.npy", mmap_mode="r")
    assert torch.equal(own.encode(mapped, HSC), own.encode(flux, HSC))
