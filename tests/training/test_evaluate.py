"""The scores of codecs from the command line, on a tiny sky and its noiseless twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmu.errors import UsageError
from tests.training import skies
from training import codecs
from training.evaluate import main
from training.pictures import draw_codecs
from training.score_codecs import reconstructed, score, score_folder
from training.score_samples import Sample, samples


@pytest.fixture(scope="module")
def told(sky: dict[str, Path], codecs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("scores") / "scores.json"
    paths = [str(path) for path in sky.values()]
    asked = ["codecs", "--codecs", str(codecs_folder), "--data", *paths, "--truth", *paths, "--train", paths[0]]
    assert main([*asked, "--shuffle-bands", "--most", "10", "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_every_codec_and_method_has_scores(told: Any) -> None:
    assert set(told) == {"image_universal", "spectrum"}
    images = told["image_universal"]["legacysurvey"]
    assert {tuple(one["bands"]) for one in images} == {skies.BANDS, skies.BANDS[:2]}
    assert sum(one["objects"] for one in images) == 10
    for one in images:
        assert one["bits"] == round(144 * np.log2(4375))
        assert one["against"] == "truth"
        assert {"codec", "codec, bands shuffled", "blank", "pca"} <= set(one)
        assert (
            set(one["codec"]["colour"]) == {"des-g-des-r", "des-r-des-z"} if len(one["bands"]) > 2 else {"des-g-des-r"}
        )
        assert 1 <= one["codes"]["perplexity"] <= one["codes"]["used"] <= 4375
        assert all(value["bias"] == -1 for value in one["blank"]["flux"].values() if value["number"])
    (spectra,) = told["spectrum"]["desi"]
    assert {"codec", "level", "pca"} <= set(spectra)
    assert spectra["bits"] == 2730


def test_the_table_tells_them(sky: dict[str, Path], codecs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codecs", "--codecs", str(codecs_folder), "--data", str(sky["desi"]), "--most", "4"]) == 0
    shown = capsys.readouterr().out
    assert "spectrum on desi desi: 4 objects against the data" in shown
    assert "pca" in shown


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Light curves of a private survey, without noise, and a fresh codec."""
    out = tmp_path_factory.mktemp("curves")
    torch.manual_seed(0)
    codecs.make("light_curve", hidden=8, units=1).save(out / "codecs" / "light_curve")
    return {
        "data": skies.lightcurves(out / "noisy" / "private"),
        "truth": skies.lightcurves(out / "noiseless" / "private", noiseless=True),
        "codecs": out / "codecs",
    }


def test_light_curves_are_scored_at_points_shown_and_not_shown(
    curves: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"--{name}={path}" for name, path in curves.items()]
    assert main(["codecs", *paths, "--out", str(tmp_path / "scores.json"), "--pictures", str(tmp_path)]) == 0
    assert "points not shown: S/N" in capsys.readouterr().out
    (told,) = json.loads((tmp_path / "scores.json").read_text())["light_curve"]["private"]
    assert (told["objects"], told["bits"], told["against"]) == (21, 640, "truth")
    assert set(told["bands"]) == set(skies.LIGHT)
    for row in told["linear"]["chi_square"]:
        assert row["median"] == pytest.approx(1, abs=0.35), "the points themselves have nothing but their errors"
    for row in told["mean"]["chi_square"]:
        assert row["from"] ** 2 <= row["median"] < (row["to"] or np.inf) ** 2 + 1
    for method in ("codec", "mean", "linear"):
        assert sum(row["objects"] for row in told[method]["not_shown"]) == 21
        assert set(told[method]["flux"]) == set(skies.LIGHT)
    assert told["linear"]["amplitude"]["number"] > 10
    assert (tmp_path / "light_curve-private.png").stat().st_size > 10_000


def test_light_curves_of_different_bands_and_lengths_keep_theirs(curves: dict[str, Path]) -> None:
    import mmu

    (sample,) = samples("light_curve", str(curves["data"]), str(curves["truth"]))
    flux, band = (mmu.open(curves["data"]).array(f"lightcurve.{name}") for name in ("flux", "band"))
    there = [row for row in range(len(flux)) if len(flux[row])]
    assert sample.valid.sum(1).tolist() == [len(flux[row]) for row in there]
    for place, row in enumerate(there):
        valid = sample.valid[place]
        assert np.array_equal(sample.given["flux"][place][valid], flux[row])
        assert [sample.bands[number] for number in sample.given["band"][place][valid]] == list(band[row])
    off = (sample.given["flux"] - sample.truth) * np.sqrt(sample.ivar)
    assert np.std(off[sample.valid]) == pytest.approx(1, abs=0.1)


def test_only_a_split_is_scored_beside_components_of_the_rest(
    sky: dict[str, Path], codecs_folder: Path, tmp_path: Path
) -> None:
    from mmu.opening import open as opened
    from training.share import chosen

    path, splits = str(sky["desi"]), {"test": 0.5, "train": 0.5}
    own = chosen(opened(path), "test", splits)
    assert 0 < own.sum() < len(own)
    asked = ["codecs", "--codecs", str(codecs_folder), "--data", path, "--splits", "test=0.5,train=0.5"]
    assert main([*asked, "--split", "test", "--out", str(tmp_path / "own"), "--pictures", str(tmp_path)]) == 0
    (told,) = json.loads((tmp_path / "own").read_text())["spectrum"]["desi"]
    assert told["objects"] == own.sum()
    assert told["pca_of"] == path
    flux = opened(path).array("spectrum.flux")
    assert np.array_equal(samples("spectrum", path, None, 1000, own)[0].truth, flux[own])
    assert np.array_equal(samples("spectrum", path, path, 2, ~own)[0].truth, flux[~own][:2])
    assert main(asked) == 2


def test_releases_of_a_survey_are_scored_apart_whatever_their_lengths(codecs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sdss").mkdir()
    (tmp_path / "sdss" / "README.md").write_text("both")
    lengths = {"boss": (300, 320, 290), "eboss": (310, 310, 310, 250)}
    first, second = (str(skies.sdss(tmp_path / "sdss" / name, own)) for name, own in lengths.items())
    found = score_folder(codecs_folder, [first, second], [second])["spectrum"]["sdss"]
    told = [(one["release"], one["objects"], one["against"]) for one in found]
    assert told == [("boss", 3, "data"), ("eboss", 4, "truth")]
    drawn = draw_codecs(codecs_folder, [first, second], tmp_path, 2)
    assert [path.stem for path in drawn] == ["spectrum-sdss-boss", "spectrum-sdss-eboss"]
    with pytest.raises(UsageError, match="of the release 'eboss'"):
        score_folder(codecs_folder, [first], [second])


def test_images_are_scored_with_those_of_their_bands_and_size(codecs_folder: Path, tmp_path: Path) -> None:
    shapes = [(("f115w", "f444w"), 40), (("f115w", "f444w"), 48), (("f444w",), 40), (("f115w", "f444w"), 40)]
    path = str(skies.jwst(tmp_path / "jwst", shapes))
    found = score_folder(codecs_folder, [path], [path])["image_universal"]["jwst"]
    assert sorted((len(one["bands"]), one["objects"]) for one in found) == [(1, 1), (2, 1), (2, 2)]
    assert {one["bits"] for one in found} == {round(count * np.log2(4375)) for count in (25, 36)}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--most", "0"], "from 1 up"),
        (["--truth", "other"], "not among --data"),
        (["--codecs", "nothing"], "no codec of image, spectrum"),
    ],
)
def test_what_cannot_be_scored_is_said(
    more: list[str], words: str, sky: dict[str, Path], codecs_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["codecs", "--codecs", str(codecs_folder), "--data", str(sky["legacysurvey"]), "--most", "4", *more]
    assert main(asked) == 2
    assert words in capsys.readouterr().err


def test_a_truth_of_other_objects_is_refused(sky: dict[str, Path], tmp_path: Path) -> None:
    other = skies.legacysurvey(tmp_path / "legacysurvey", 6)
    with pytest.raises(UsageError):
        samples("image", str(sky["legacysurvey"]), str(other))
    with pytest.raises(UsageError, match="no column 'spectrum'"):
        samples("spectrum", str(other))


def test_objects_are_their_own_twins_in_any_order(sky: dict[str, Path]) -> None:
    for sample in samples("image", str(sky["legacysurvey"]), str(sky["legacysurvey"])):
        assert np.array_equal(sample.truth, sample.given["flux"])
        assert sample.valid.all()


def test_a_sample_of_odd_length_is_encoded_in_parts(codecs_folder: Path) -> None:
    random, codec = np.random.default_rng(0), codecs.load(codecs_folder / "image_universal")
    flux = random.normal(0, 0.1, (19, 1, 40, 40)).astype("f4")
    sample = Sample("image", {"flux": flux, "ivar": np.full_like(flux, 100)}, ("des-g",), flux)
    whole, usage = reconstructed(codec, sample)
    assert whole.shape == flux.shape
    assert int(usage.counts.sum()) == 19 * 25
    assert score(codec, sample)["bits"] == round(25 * np.log2(4375))


@pytest.fixture(scope="module")
def trained(sky: dict[str, Path], codecs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tokens of DESI, and a model of a few steps."""
    from training.pretrain import main as pretrain
    from training.tokens import plan, tokenise

    out = tmp_path_factory.mktemp("trained")
    tokens = out / "tokens"
    tokenise(plan(str(sky["desi"]), codecs_folder), tokens)
    asked = ["--recipe", "test", "--data", str(tokens / "desi"), "--out", str(out / "run"), "--steps", "3"]
    assert pretrain([*asked, "--split", "train", "--splits", "train=0.5,test=0.5", "--device", "cpu"]) == 0
    return {"tokens": tokens / "desi", "model": out / "run", "codecs": codecs_folder}


def heldout(trained: dict[str, Path], *ask: str, out: Path | None = None) -> int:
    paths = [f"--{name}={trained[key]}" for name, key in (("model", "model"), ("data", "tokens"), ("codecs", "codecs"))]
    written = [f"--out={out}"] if out else []
    return main(["heldout", *paths, "--splits=train=0.5,test=0.5", *written, "--ask", *ask])


def test_a_model_is_judged_on_objects_held_out(trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "held.json"
    assert heldout(trained, "tok_z=tok_spectrum_desi", "tok_spectrum_desi=tok_z", out=out) == 0
    redshift, spectrum = json.loads(out.read_text())
    assert redshift["target"] == "tok_z"
    assert redshift["objects"] == spectrum["objects"] == redshift["redshifts"]["objects"] > 2
    assert redshift["tokens"] == 1
    assert spectrum["tokens"] == 273
    assert all(0 < redshift[name] < 20 for name in ("unigram", "model", "shuffled"))


@pytest.mark.parametrize(
    ("ask", "told"), [("tok_z", "give TARGET=GIVEN"), ("tok_z=tok_image", "tok_image"), ("tok_q=tok_z", "tok_q")]
)
def test_what_cannot_be_asked_is_told(
    trained: dict[str, Path], ask: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heldout(trained, ask) == 2
    assert told in capsys.readouterr().err


def test_weights_agree_with_the_published_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from training.model import files
    from training.model.anytoany import AnyToAny
    from training.model.config import ModelConfig

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"dim": 32, "encoder_depth": 1, "decoder_depth": 1, "heads": 4}
    files.save(AnyToAny(ModelConfig(("tok_z", "tok_ebv", "tok_xp_bp"), **sizes)), tmp_path)
    assert main(["agree", str(tmp_path), "--subsets", "3"]) == 0
    assert "9 questions" in capsys.readouterr().out
