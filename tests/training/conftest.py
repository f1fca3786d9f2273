"""Datasets that the tests of training share, and codecs fitted to them; torch on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training import skies

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """legacysurvey, and desi of half of its objects."""
    root = tmp_path_factory.mktemp("sky")
    return {
        "legacysurvey": skies.legacysurvey(root / "legacysurvey"),
        "desi": skies.desi(root / "desi"),
    }


@pytest.fixture(scope="session")
def codecs_folder(sky: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec for everything in them: quantiles counted, networks small and fresh."""
    from training import codecs
    from training.recipes import CODECS
    from training.train_codec import main

    out = tmp_path_factory.mktemp("codecs")
    paths = [str(path) for path in sky.values()]
    assert main(["scalars", "--data", *paths, "--out", str(out)]) == 0
    assert main(["catalogue", "--data", paths[0], "--out", str(out)]) == 0
    torch.manual_seed(1)
    codecs.make("image", **CODECS["image-tiny"].config).save(out / "image_universal")
    codecs.make("spectrum", **CODECS["spectrum-tiny"].config).save(out / "spectrum")
    codecs.make("segmap", encoder_output_dim=16, res_hidden_dims=4).save(out / "segmentation_map")
    return out
