"""Our codecs beside those of the published package, on the same files: the same ids, decoded to the same values."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from aion import modalities as theirs_of

from tests.training.codecs.published import CODECS, SIZES, images, ours, peer, spectra
from training import codecs
from training.codecs import Codec
from training.codecs.agreement import DES, HSC, _apart, agree, both, compare
from training.evaluate import main


@pytest.mark.parametrize("name", CODECS)
def test_ids_are_identical_and_decode_alike(name: str, tmp_path: Path) -> None:
    theirs = peer(name)
    own = ours(name, theirs, tmp_path)
    with torch.no_grad():
        used = {len(torch.unique(said.ours)) for said in both(theirs, own)}
    assert min(used) > 20, "so few ids could agree by chance"
    found = compare(name, theirs, own)
    assert found.differ == 0
    assert found.apart <= 1e-4
    assert found.agrees


@pytest.mark.parametrize("name", CODECS)
def test_what_we_write_loads_there(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    theirs = peer(name)
    own = ours(name, theirs, tmp_path / "theirs", compat=None)
    own.save(tmp_path / "written", published=True)
    again = peer(name, seed=2)
    state = load_file(tmp_path / "written" / "model.safetensors")
    again.load_state_dict(state, strict=True)
    assert all(torch.equal(values, again.state_dict()[key]) for key, values in theirs.state_dict().items())
    config = json.loads((tmp_path / "written" / "config.json").read_text())
    assert CODECS[name].items() <= config.items()


def swap_norms(codec: Codec) -> None:
    blocks = [module for key, module in codec.named_modules() if key.endswith("norm") and hasattr(module, "weight")]
    pairs = [(a, b) for i, a in enumerate(blocks) for b in blocks[i + 1 :] if a.weight.shape == b.weight.shape]
    first, second = pairs[0]
    state = [{key: values.clone() for key, values in one.state_dict().items()} for one in (first, second)]
    first.load_state_dict(state[1])
    second.load_state_dict(state[0])


def drop_response_norm(codec: Codec) -> None:
    block = next(module for key, module in codec.named_modules() if key.endswith("grn") and "encoder" in key)
    block.forward = lambda x: x


def drop_unit(codec: Codec) -> None:
    unit = next(module for key, module in codec.named_modules() if type(module).__name__ == "ResidualUnit")
    unit.forward = lambda x: x


def drop_gate(codec: Codec) -> None:
    gate = next(module for key, module in codec.named_modules() if type(module).__name__ == "SqueezeExcite")
    gate.forward = lambda x: x


def drop_layer(codec: Codec) -> None:
    layer = next(module for key, module in codec.named_modules() if type(module).__name__ == "_Layer")
    layer.forward = lambda x: x


def shift_table(codec: Codec) -> None:
    table = next(values for key, values in codec.named_buffers() if key.endswith(".table"))
    table.mul_(1.05).add_(0.01)


@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("image", drop_unit),
        ("image", drop_gate),
        ("spectrum", swap_norms),
        ("spectrum", drop_response_norm),
        ("segmap", drop_layer),
        ("scalar", shift_table),
        ("log_scalar", shift_table),
        ("multi_scalar", shift_table),
        ("catalogue", shift_table),
    ],
)
def test_a_mutation_breaks_the_agreement(name: str, mutation: Any, tmp_path: Path) -> None:
    theirs = peer(name)
    own = ours(name, theirs, tmp_path)
    mutation(own)
    found = compare(name, theirs, own)
    assert found.differ > 0
    assert found.apart > 1e-4


def test_ids_do_not_depend_on_compat_for_good_data(tmp_path: Path) -> None:
    theirs = peer("image")
    image = images(HSC)
    ids = ours("image", theirs, tmp_path / "image", compat=None).encode(image.flux, HSC)
    assert torch.equal(ids, theirs.encode(type(image)(flux=image.flux.clone(), bands=HSC)))
    spectrum = peer("spectrum")
    given = spectra()
    own = ours("spectrum", spectrum, tmp_path / "spectrum", compat=None)
    assert torch.equal(own.encode(**given), spectrum.encode(theirs_of.DESISpectrum(**given)))


@pytest.mark.slow
def test_the_published_size_of_the_image_codec(tmp_path: Path) -> None:
    """70 million parameters, as published."""
    theirs = peer("image", **SIZES["image"])
    own = ours("image", theirs, tmp_path)
    assert sum(values.numel() for values in own.parameters()) == pytest.approx(70.06e6, rel=1e-3)
    image = images(DES, count=1)
    with torch.no_grad():
        ids = own.encode(image.flux, DES)
        wanted = theirs.encode(type(image)(flux=image.flux.clone(), bands=DES))
        assert torch.equal(ids, wanted)
        theirs_flux, own_flux = theirs.decode(wanted, bands=DES).flux, own.decode(ids, DES)
    assert float(((theirs_flux - own_flux).abs() / theirs_flux.abs().clamp(min=1)).max()) <= 1e-4


@pytest.mark.slow
def test_the_published_size_of_the_spectrum_codec(tmp_path: Path) -> None:
    """25 million parameters, as published."""
    theirs = peer("spectrum", **SIZES["spectrum"])
    own: Any = ours("spectrum", theirs, tmp_path)
    assert sum(values.numel() for values in own.parameters()) == pytest.approx(24.75e6, rel=1e-3)
    with torch.no_grad():
        assert len(torch.unique(own.encode(**spectra()))) > 100, "so few ids could agree by chance"
    assert compare("spectrum", theirs, own).agrees


@pytest.mark.parametrize("seed", [1, 2, 3])
@torch.no_grad()
def test_latents_of_spectra_are_rounded_less_than_the_published_ones(seed: int, tmp_path: Path) -> None:
    theirs = peer("spectrum", seed)
    own: Any = ours("spectrum", theirs, tmp_path)
    seen = torch.randn(3, 2, 8704, generator=torch.Generator().manual_seed(seed))
    found, published, exact = own._latents(seen), latents(theirs, seen), latents(theirs.double(), seen.double())
    assert (found - exact).abs().max() < (published - exact).abs().max() < 1e-5
    assert torch.equal(found > 0, exact > 0)


def test_the_network_of_spectra_and_its_gradients_are_the_same(tmp_path: Path) -> None:
    """In double precision, so that nothing is left for rounding."""
    theirs = peer("spectrum").double()
    own: Any = ours("spectrum", theirs, tmp_path).double()
    seen = torch.randn(2, 2, 8704, generator=torch.Generator().manual_seed(1)).double()
    wanted, found = latents(theirs, seen), own._latents(seen)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    decoded, mine = theirs.decoder(theirs.post_quant_conv(wanted)), own._decoded(found)
    assert torch.allclose(mine, decoded, rtol=0, atol=1e-8)
    decoded.square().mean().backward()
    mine.square().mean().backward()
    for name, values in theirs.named_parameters():
        assert torch.allclose(own.get_parameter(name).grad, values.grad, rtol=1e-8, atol=1e-10), name


def latents(theirs: Any, seen: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = theirs.quant_conv(theirs.pre_quant_norm(theirs.encoder(seen).movedim(1, -1)).movedim(-1, 1))
    return found


def test_every_code_of_the_quantisers(tmp_path: Path) -> None:
    from aion.codecs.quantizers import FiniteScalarQuantizer, LucidrainsLFQ, ScalarLinearQuantizer

    from training.codecs.quantize import FSQ, LFQ, LinearGrid

    for levels in ([7, 5, 5, 5, 5], [8, 5, 5, 5], [8, 6, 4]):
        theirs, own = FiniteScalarQuantizer(levels), FSQ(levels)
        ids = torch.arange(own.vocabulary, dtype=torch.int32)[None]
        assert torch.equal(theirs.decode(ids), own.decode(ids))
        vectors = torch.randn(50, len(levels), 40, generator=torch.Generator().manual_seed(1)) * 2
        assert torch.equal(theirs.encode(vectors), own.encode(vectors))
        assert torch.allclose(theirs.quantize(vectors), own(vectors)[0], atol=1e-6)
    lfq, own_lfq = LucidrainsLFQ(dim=10, codebook_size=1024), LFQ(10)
    ids = torch.arange(1024, dtype=torch.int32)[None]
    assert torch.equal(lfq.decode(ids), own_lfq.decode(ids))
    assert torch.equal(own_lfq.encode(own_lfq.decode(ids)), ids)
    grid, own_grid = ScalarLinearQuantizer(1024, (-1, 5)), LinearGrid(1024, -1, 5)
    values = torch.linspace(-1.5, 5.5, 20_001)
    assert torch.equal(grid.encode(values), own_grid.encode(values))
    assert torch.equal(grid.decode(ids), own_grid.decode(ids))
    reachable = torch.unique(own_grid.encode(torch.log10(torch.logspace(-3, 7, 200_000).clamp(0.1) + 1)))
    assert 1024 - int(reachable.max()) - 1 == 0
    assert int(reachable.min()) == 178


def test_the_loss_of_look_up_free_quantisation(tmp_path: Path) -> None:
    from aion.codecs.quantizers import LucidrainsLFQ

    from training.codecs.quantize import LFQ

    vectors = torch.randn(3, 10, 40, generator=torch.Generator().manual_seed(1)) * 0.02
    theirs, own = LucidrainsLFQ(dim=10, codebook_size=1024).train(), LFQ(10)
    given, mine = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    codes, loss, _ = theirs(given)
    own_codes, own_loss = own(mine)
    assert torch.allclose(codes, own_codes)
    assert float(own_loss.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    (loss + codes.sum()).backward()
    (own_loss + own_codes.sum()).backward()
    assert given.grad is not None
    assert mine.grad is not None
    assert torch.allclose(given.grad, mine.grad, rtol=1e-4, atol=1e-6)


def test_published_files_say_which_codec_they_are_of(tmp_path: Path) -> None:
    for name in CODECS:
        assert ours(name, peer(name), tmp_path / name, compat=None).kind == name
    scalar = codecs.load(next((tmp_path / "scalar").glob("codecs/*")))
    assert torch.isfinite(scalar.decode(torch.arange(1024)[:, None])).all()


@pytest.mark.parametrize("name", ["spectrum", "log_scalar"])
def test_older_names_of_parameters_are_read(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    own = ours(name, peer(name), tmp_path)
    path = next(tmp_path.glob("codecs/*/model.safetensors"))
    save_file({key.removeprefix("_") if key.startswith("_q") else key: v for key, v in load_file(path).items()}, path)
    again = codecs.load(path.parent)
    assert all(torch.equal(v.nan_to_num(), again.state_dict()[key].nan_to_num()) for key, v in own.state_dict().items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind, as the published package writes them, and one of ours."""
    out = tmp_path_factory.mktemp("codecs")
    for name in CODECS:
        ours(name, peer(name), out / name, compat=None).save(out / "all" / name, published=True)
    codecs.make("light_curve", hidden=8, units=1).save(out / "all" / "as_ours")
    return out / "all"


def test_codecs_of_a_folder_agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agree-codecs", str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"{len(CODECS)} codecs" in told
    assert "none differs" in told
    assert "as_ours" not in told
    assert {one.name for one in agree(folder)} == set(CODECS)


@pytest.mark.parametrize("name", ["spectrum", "scalar"])
def test_a_codec_that_does_not_agree_is_told(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / name, tmp_path / name)
    load = codecs.load

    def mutated(*given: Any) -> Codec:
        codec = load(*given)
        (swap_norms if name == "spectrum" else shift_table)(codec)
        return codec

    monkeypatch.setattr(codecs, "load", mutated)
    assert main(["agree-codecs", str(tmp_path)]) == 2
    assert f"They do not agree: {name} (" in capsys.readouterr().err


def test_a_number_that_one_lacks_is_a_difference() -> None:
    numbers, nothing = torch.tensor([1.0, torch.nan]), torch.tensor([torch.nan, torch.nan])
    assert _apart(numbers, numbers) == 0
    assert _apart(numbers, nothing) == torch.inf


def test_a_folder_without_published_codecs_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "as_ours", tmp_path / "as_ours")
    assert main(["agree-codecs", str(tmp_path)]) == 2
    assert "no codec in the published layout" in capsys.readouterr().err
    (tmp_path / "as_ours" / "config.json").write_text("{")
    assert main(["agree-codecs", str(tmp_path)]) == 1
    assert "which kind of codec" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "aion", None)
    assert main(["agree-codecs", str(folder)]) == 2
    assert "pip install polymathic-aion" in capsys.readouterr().err
