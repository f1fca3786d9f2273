"""Training codecs: the loss falls, a killed run goes on to the same weights, what cannot be done is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmu
from mmu.errors import FormatError, UsageError
from tests.training import skies
from training import checkpoint, codecs
from training.batches import Batches
from training.fit import CHECKPOINT, LOG, Fit
from training.inputs import FIELD
from training.maps import Curves, Maps
from training.recipes import CODECS, CodecRecipe
from training.train_codec import main

IMAGE = replace(
    CODECS["image-tiny"],
    config={**CODECS["image-tiny"].config, "hidden_dims": 16, "multisurvey_projection_dims": 4},
    steps=6, batch_size=6, warm_up=2, ema=0.9,
)  # fmt: skip
SPECTRUM = replace(
    CODECS["spectrum-tiny"],
    config={
        "encoder_depths": (1, 1, 1, 1), "encoder_dims": (4, 4, 8, 8), "decoder_depths": (1, 1, 1, 1),
        "decoder_dims": (8, 4, 4, 2), "latent_channels": 8,
    },
    steps=4, batch_size=4, warm_up=1,
)  # fmt: skip
SMALL_SPECTRUM = replace(
    CODECS["spectrum-tiny"], config={"network": "sections", "hidden": 8, "units": 1}, steps=4, batch_size=4, warm_up=1
)
CURVE = replace(CODECS["light-curve-tiny"], config={"hidden": 8, "units": 1}, steps=4, batch_size=4, warm_up=1)
SEGMAP = replace(CODECS["segmap-tiny"], config={"encoder_output_dim": 8, "res_hidden_dims": 4}, steps=8, batch_size=7)


def fit(recipe: CodecRecipe, path: Path, out: Path, seed: int = 0) -> Fit:
    batches: Any
    if recipe.kind in ("segmap", "light_curve"):
        batches = (Maps if recipe.kind == "segmap" else Curves)([str(path)], recipe.batch_size, seed)
    else:
        batches = Batches(
            recipe.kind, [str(path)], recipe.batch_size, seed, crop=recipe.crop, threads=1, shifts=recipe.shifts
        )
    return Fit(recipe, batches, out, seed)


def entries(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def test_the_loss_of_images_falls_and_is_logged(sky: dict[str, Path], tmp_path: Path) -> None:
    recipe = replace(IMAGE, steps=45, learning_rate=1e-2)
    run = fit(recipe, sky["legacysurvey"], tmp_path)
    run.run(recipe.steps, 15, 100, lambda entry: None)
    log = entries(tmp_path)
    assert [entry["step"] for entry in log] == [15, 30, 45]
    assert log[-1]["chi_square"] < 0.8 * log[0]["chi_square"]
    assert all(1 <= entry["perplexity"] <= 4375 - entry["dead_codes"] for entry in log)
    assert all(0 <= entry["data_wait"] <= 1 for entry in log)
    codec = codecs.load(run.finish(tmp_path / "codecs"))
    assert codec.trained["steps"] == 45
    assert codec.trained["objects"] == {"legacysurvey": 24}


@pytest.mark.parametrize(
    ("recipe", "survey"),
    [
        (IMAGE, "legacysurvey"),
        (SPECTRUM, "desi"),
        (SMALL_SPECTRUM, "desi"),
        (SEGMAP, "legacysurvey"),
        (CURVE, "private"),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    recipe: CodecRecipe, survey: str, sky: dict[str, Path], tmp_path: Path
) -> None:
    if survey == "private":
        sky = {survey: skies.lightcurves(tmp_path / survey)}
    whole, half = fit(recipe, sky[survey], tmp_path / "whole"), fit(recipe, sky[survey], tmp_path / "half")
    whole.run(recipe.steps, 100, 100, lambda entry: None)
    half.run(recipe.steps // 2, 100, 100, lambda entry: None)
    again = fit(recipe, sky[survey], tmp_path / "half")
    assert again.resume()
    assert again.step == recipe.steps // 2
    again.run(recipe.steps, 100, 100, lambda entry: None)
    for name, values in whole.codec.state_dict().items():
        assert torch.equal(values, again.codec.state_dict()[name]), name
    assert all(torch.equal(values, again.average[name]) for name, values in whole.average.items())
    assert codecs.digest(whole.finish(tmp_path / "a")) == codecs.digest(again.finish(tmp_path / "b"))


def test_another_run_is_not_resumed(sky: dict[str, Path], tmp_path: Path) -> None:
    run = fit(IMAGE, sky["legacysurvey"], tmp_path)
    run.run(1, 1, 1, lambda entry: None)
    with pytest.raises(UsageError, match="another recipe or seed"):
        fit(replace(IMAGE, learning_rate=1.0), sky["legacysurvey"], tmp_path).resume()
    with pytest.raises(UsageError, match="another recipe or seed"):
        fit(IMAGE, sky["legacysurvey"], tmp_path, seed=1).resume()
    (tmp_path / CHECKPOINT).write_bytes(b"no")
    with pytest.raises(FormatError, match="no checkpoint"):
        fit(IMAGE, sky["legacysurvey"], tmp_path).resume()


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "one", {"a": torch.arange(3)}, {"step": 1})
    with pytest.raises(TypeError):
        checkpoint.write(tmp_path / "one", {"a": torch.arange(4)}, {"step": object()})
    tensors, state = checkpoint.read(tmp_path / "one")
    assert state == {"step": 1}
    assert tensors["a"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_gradients_that_are_not_finite_are_skipped_and_counted(sky: dict[str, Path], tmp_path: Path) -> None:
    run = fit(IMAGE, sky["legacysurvey"], tmp_path)
    given, loss = run.batches(0), run.codec.loss
    spoilt = {"on": True}

    def spoil(**given: Any) -> Any:
        found = loss(**given)
        return found._replace(value=found.value * torch.nan) if spoilt["on"] else found

    run.codec.loss = spoil
    before = {name: values.detach().clone() for name, values in run.codec.named_parameters()}
    for _ in range(10):
        run.advance(given)
    assert run.skipped == 10
    assert all(torch.equal(values, before[name]) for name, values in run.codec.named_parameters())
    spoilt["on"] = False
    run.advance(given)
    assert any(not torch.equal(values, before[name]) for name, values in run.codec.named_parameters())
    spoilt["on"] = True
    with pytest.raises(UsageError, match="not finite"):
        run.advance(given)


def test_every_map_comes_once_an_epoch_in_another_order(sky: dict[str, Path]) -> None:
    maps = Maps([str(sky["legacysurvey"])], 6, 0)
    epochs = [np.concatenate([maps(step)["field"] for step in range(4)]) for _ in range(2)]
    seen = [[one.tobytes() for one in epoch] for epoch in epochs]
    assert set(seen[0]) == set(seen[1])
    assert len(set(seen[0])) == 24
    assert seen[0] != seen[1]
    with pytest.raises(UsageError, match="no maps"):
        Maps([str(sky["desi"])], 6, 0)


def test_releases_of_one_survey_are_counted_together(sky: dict[str, Path], tmp_path: Path) -> None:
    other = skies.legacysurvey(tmp_path / "legacysurvey", 10)
    assert Maps([str(sky["legacysurvey"]), str(other)], 6, 0).objects == {"legacysurvey": 34}


HALVES = {"train": 0.5, "test": 0.5}
SPLIT = ["--split", "train", "--splits", "train=0.5,test=0.5"]


def rows_in(path: Path, split: str) -> list[int]:
    """What `mmu.stream` has in a half of the sky."""
    found = mmu.stream(path, columns=["ra"], split=split, splits=HALVES, tail="exact").choice.rows.tolist()
    assert 0 < len(found) < len(mmu.open(path))
    return list(found)


@pytest.mark.parametrize("split", HALVES)
def test_maps_of_a_split_are_those_of_the_stream(sky: dict[str, Path], split: str) -> None:
    path = sky["legacysurvey"]
    rows, every = rows_in(path, split), Maps([str(path)], 24, 0)
    maps = Maps([str(path)], len(rows), 0, split=split, splits=HALVES)
    whole = every(0)["field"]
    assert maps.objects == {"legacysurvey": len(rows)}
    codes = np.asarray(mmu.decode(mmu.open(path).table(["object_mask"]), pictures=True)["object_mask"])
    wanted = {FIELD[codes[row]].tobytes() for row in rows}
    for _ in range(2):
        assert {one.tobytes() for one in maps(0)["field"]} == wanted
    assert wanted < {one.tobytes() for one in whole}
    with pytest.raises(UsageError, match="other maps"):
        maps.load(every.state())


def test_light_curves_of_a_split_are_those_of_the_stream(tmp_path: Path) -> None:
    path = skies.lightcurves(tmp_path / "private")
    rows = rows_in(path, "train")
    times = [row for row in mmu.open(path).array("lightcurve.time")[rows] if len(row)]
    given = Curves([str(path)], len(times), 0, split="train", splits=HALVES)(0)["time"]
    assert sorted(given[np.isfinite(given)]) == sorted(np.concatenate(times))


def test_datasets_without_any_map_are_told(tmp_path: Path) -> None:
    path = skies.lightcurves(tmp_path / "private")
    curves = Curves([str(path)], 7, 0)
    curves.units = [unit._replace(rows=np.array([], np.int64)) for unit in curves.units]
    with pytest.raises(UsageError, match="has light curves"):
        curves(0)


def test_numbers_are_counted_in_a_split_alone(sky: dict[str, Path], tmp_path: Path) -> None:
    path = sky["legacysurvey"]
    for kind in ("scalars", "catalogue"):
        assert main([kind, "--data", str(path), "--out", str(tmp_path), *SPLIT]) == 0
    rows = rows_in(path, "train")
    found: Any = codecs.load(tmp_path / "FLUX_G")
    wanted: Any = codecs.make("log_scalar", modality="FLUX_G")
    wanted.fit(mmu.open(path).array("FLUX_G")[rows])
    wanted.finish()
    assert torch.equal(found.quantizer.table, wanted.quantizer.table)
    assert found.trained == {"objects": len(rows), "datasets": ["legacysurvey"], "split": ["train", HALVES]}
    shapes: Any = codecs.load(tmp_path / "catalog")
    assert shapes.trained["objects"] == len(rows)
    listed = np.concatenate(mmu.open(path).array("catalog.SHAPE_R")[rows])
    assert float(shapes.tables["SHAPE_R"].table[-1]) == pytest.approx(float(listed.max()))


@pytest.mark.parametrize(
    ("kind", "survey"), [("image", "legacysurvey"), ("spectrum", "desi"), ("segmap", "legacysurvey")]
)
def test_networks_are_trained_in_a_split_alone(
    kind: str, survey: str, sky: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [kind, "--data", str(sky[survey]), "--out", str(tmp_path), "--steps", "1", "--batch-size", "2"]
    assert main([*asked, *SPLIT, "--dry-run"]) == 0
    assert f"objects       {len(rows_in(sky[survey], 'train'))} of {survey}" in capsys.readouterr().out
    assert main([*asked, *SPLIT]) == 0
    (folder,) = (path for path in tmp_path.iterdir() if path.suffix != ".run")
    assert codecs.load(folder).trained["split"] == ["train", HALVES]
    assert main([*asked, "--split", "train"]) == 2
    assert "checkpoint is of" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["image", "segmap", "scalars"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--split", "trian"], "Unknown split 'trian'"),
        (["--splits", "train=0.5,test=0.5"], "--splits without --split"),
        (["--split", "a", "--splits", "a=0,b=0"], "must be positive"),
        (["--split", "a", "--splits", "a=0,b=1"], "no objects of the split 'a'"),
    ],
)
def test_splits_that_are_none_are_told(
    kind: str, more: list[str], words: str, sky: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [kind, "--data", str(sky["legacysurvey"]), "--out", str(tmp_path / "c"), *more]
    assert main(asked) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_batches_of_several_datasets_go_by_their_weights(sky: dict[str, Path], tmp_path: Path) -> None:
    other = skies.legacysurvey(tmp_path / "hsc", 6, seed=3)
    paths = [str(sky["legacysurvey"]), str(other)]
    batches = Batches("image", paths, 3, 0, crop=96, weights={"hsc": 0.0}, threads=1)
    assert batches.objects == {"legacysurvey": 24, "hsc": 6}
    for step in range(4):
        batches(step)
    assert batches.streams["hsc"].stats.batches == 0


def test_the_command_line(sky: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["image", "--data", str(sky["legacysurvey"]), "--out", str(tmp_path / "c"), "--batch-size", "4"]
    assert main([*asked, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "parameters" in told
    assert "144 an object, of 4,375 ids" in told
    assert not (tmp_path / "c").exists()
    assert main([*asked, "--steps", "2"]) == 0
    assert codecs.load(tmp_path / "c" / "image_universal").kind == "image"
    assert main([*asked, "--steps", "2"]) == 0
    assert "resumed at step 2 of 2" in capsys.readouterr().out
    assert main([*asked, "--recipe", "image-tyni"]) == 2
    assert "Did you mean 'image-tiny'" in capsys.readouterr().err
    assert main(["spectrum", "--data", str(sky["legacysurvey"]), "--out", str(tmp_path / "c")]) == 2
    assert "spectrum" in capsys.readouterr().err


def test_the_demos_codec_has_fewer_ids_than_the_table_and_the_same_grid() -> None:
    from training.modalities import MODALITIES

    recipe, row = CODECS["image-demo"], MODALITIES["tok_image12_legacysurvey"]
    codec = codecs.make(recipe.kind, **recipe.config)
    assert (codec.tokens((recipe.crop, recipe.crop)), recipe.folder) == (row.shape, row.codec)
    assert codec.vocabulary == 768 < row.vocabulary


def test_recipes_make_codecs_that_fit_the_table() -> None:
    from training.modalities import MODALITIES

    for name, recipe in CODECS.items():
        if not name.endswith("-tiny"):
            continue
        codec = codecs.make(recipe.kind, **recipe.config)
        rows = [row for row in MODALITIES.values() if row.codec == recipe.folder]
        assert rows
        for row in rows:
            tokens = codec.tokens((96, 96))
            assert (tokens if len(tokens) == 2 else (*tokens, 1)) == row.shape
            assert codec.vocabulary == row.vocabulary


def test_light_curves_are_trained_on_and_become_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.training import skies
    from training.token_shards import Tokens
    from training.tokens import plan, tokenise

    path = skies.lightcurves(tmp_path / "private")
    asked = ["light_curve", "--data", str(path), "--out", str(tmp_path / "c")]
    assert main([*asked, "--batch-size", "4", "--dry-run"]) == 0
    assert "64 an object, of 1,024 ids" in capsys.readouterr().out
    assert main([*asked, "--steps", "3", "--batch-size", "4"]) == 0
    tokenise(plan(str(path), tmp_path / "c"), tmp_path / "t")
    tokens = Tokens(tmp_path / "t" / "private", tmp_path / "c")
    assert tokens.about["modalities"] == 2
    ids = np.concatenate([batch["tok_light_curve"] for batch in tokens.batches()])
    assert ids.shape == (24, 64)
    assert (ids[:, 0] < 0).sum() == 3
    assert len(np.unique(ids[ids >= 0])) > 100
    assert main(["scalars", *asked[1:]]) == 2


def test_light_curves_of_a_batch_are_padded_and_partly_hidden(tmp_path: Path) -> None:
    from tests.training import skies
    from training.maps import Curves

    curves = Curves([str(skies.lightcurves(tmp_path / "private"))], 7, 0)
    seen = [curves(step) for step in range(6)]
    there = [np.isfinite(one["time"]) for one in seen]
    assert sum(len(np.unique(one["flux"][valid])) for one, valid in zip(seen[:3], there, strict=False)) > 500
    assert all(set(one["bands"]) == set(skies.LIGHT) for one in seen)
    assert all(((one["band"] >= 0) == valid).all() for one, valid in zip(seen, there, strict=True))
    assert 0.1 < np.mean([one["hidden"].mean() for one in seen]) < 0.5
    with pytest.raises(UsageError, match="no light curves"):
        Curves([str(skies.legacysurvey(tmp_path / "legacysurvey", 4))], 7, 0)


def test_one_long_light_curve_pads_few_others() -> None:
    from training.inputs import PADDED, pieces
    from training.modalities import Source

    lengths = [5, 0, *[7] * (2 * PADDED), 9000]
    rows = [np.arange(length, dtype=float) for length in lengths]
    column = {"time": rows, "flux": rows, "flux_err": [row + 1 for row in rows]}
    found = list(pieces("light_curve", column, Source("", "lightcurve")))
    assert np.concatenate([own for own, _ in found]).tolist() == [0, *range(2, len(lengths))]
    assert [given["time"].shape for _, given in found] == [(PADDED, 7), (PADDED, 7), (2, 9000)]
