"""The contract of codecs, for every kind of them; the universal image codec is a kind of its own here."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from tests.training.codecs.contract import Contract
from training import codecs

SMALL: dict[str, Any] = {"hidden_dims": 16, "multisurvey_projection_dims": 6, "num_consecutive": 1}


class TestImage(Contract):
    kind = "image"
    config: ClassVar[Any] = SMALL
    bands: ClassVar[tuple[str, ...]] = ("DES-G", "DES-R", "DES-Z")
    size: ClassVar[tuple[int, int]] = (100, 96)

    def arguments(self) -> dict[str, Any]:
        shape = (3, len(self.bands), *self.size)
        flux = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
        flux[1, 0, 40:50, 40:50] = np.nan
        mask = np.random.default_rng(2).random(shape) < 0.9
        return {"flux": flux, "bands": list(self.bands), "ivar": np.full(shape, 4, np.float32), "mask": mask}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["ivar"][0] = 0
        return given

    def wrong(self) -> dict[str, Any]:
        return {**self.arguments(), "bands": list(self.bands[:1])}


class TestUniversalImage(TestImage):
    config: ClassVar[Any] = {**SMALL, "channels": "universal", "stem": "patchify", "patch": 8}
    bands = ("f115w", "f444w")
    size = (60, 64)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        return {**given, "psf_fwhm": np.full((3, 2), 0.1, np.float32), "scale": np.full((3, 2), 0.03, np.float32)}


class TestSpectrum(Contract):
    kind = "spectrum"
    config: ClassVar[Any] = {
        "encoder_depths": [1, 1, 1, 1], "encoder_dims": [8, 8, 8, 16], "decoder_depths": [1, 1, 1, 1],
        "decoder_dims": [8, 8, 8, 2], "latent_channels": 16,
    }  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        random = np.random.default_rng(1)
        wavelength = np.tile(np.linspace(3700, 9000, 900, dtype=np.float32), (3, 1))
        flux = random.normal(5, 2, (3, 900)).astype(np.float32)
        ivar = random.uniform(0.5, 2, (3, 900)).astype(np.float32)
        return {"flux": flux, "wavelength": wavelength, "ivar": ivar, "mask": random.random((3, 900)) < 0.05}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["mask"][0] = True
        return given

    def wrong(self) -> dict[str, Any]:
        return {**self.arguments(), "ivar": np.ones((3, 899), np.float32)}


class TestSmallSpectrum(TestSpectrum):
    config: ClassVar[Any] = {"network": "sections", "hidden": 16, "units": 1}


class TestLightCurve(Contract):
    kind = "light_curve"
    config: ClassVar[Any] = {"hidden": 16, "units": 1}

    def arguments(self) -> dict[str, Any]:
        random = np.random.default_rng(1)
        time, flux = 60000 + random.uniform(0, 50, (3, 40)), random.normal(20, 5, (3, 40)).astype(np.float32)
        flux[1, 3:5] = np.nan
        band = random.integers(-1, 2, (3, 40))
        error = random.uniform(0.5, 1, (3, 40))
        return {"time": time, "flux": flux, "flux_err": error, "band": band, "bands": ["ztf-g", "ztf-r"]}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["flux_err"][0] = 0
        return {name: value for name, value in given.items() if name not in ("band", "bands")}

    def wrong(self) -> dict[str, Any]:
        return {**self.arguments(), "flux": np.ones((3, 39))}


class TestSegmap(Contract):
    kind = "segmap"
    config: ClassVar[Any] = {"encoder_output_dim": 16, "res_hidden_dims": 4}

    def arguments(self) -> dict[str, Any]:
        return {"field": np.random.default_rng(1).random((3, 96, 97)).round(1)}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["field"][0, 3, 3] = np.nan
        return given

    def wrong(self) -> dict[str, Any]:
        return {"field": np.zeros((3, 64, 64))}


class TestCatalogue(Contract):
    kind = "catalogue"

    def arguments(self) -> dict[str, Any]:
        random = np.random.default_rng(1)
        columns = {name: random.uniform(0, 95, (3, 14)) for name in ("X", "Y")}
        columns |= {name: random.normal(0, 0.3, (3, 14)) for name in ("SHAPE_E1", "SHAPE_E2", "SHAPE_R")}
        columns["X"][:, 9:] = np.nan
        return columns

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["X"][0] = np.nan
        return given

    def wrong(self) -> dict[str, Any]:
        given = self.arguments()
        del given["X"]
        return given

    def fitted(self, codec: Any) -> None:
        for _ in range(2):
            codec.fit(**self.arguments())
        codec.finish()


class TestScalar(Contract):
    kind = "scalar"
    config: ClassVar[Any] = {"modality": "EBV", "codebook_size": 64, "reservoir_size": 500}

    def arguments(self) -> dict[str, Any]:
        return {"values": np.random.default_rng(1).normal(2, 1, 50)}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["values"][0] = np.nan
        return given

    def wrong(self) -> dict[str, Any]:
        return {"values": np.array(["a", "b"])}

    def fitted(self, codec: Any) -> None:
        for seed in range(4):
            codec.fit(np.random.default_rng(seed).normal(2, 1, 300))
        codec.finish()


class TestLogScalar(TestScalar):
    kind = "log_scalar"


class TestAsinhScalar(TestScalar):
    kind = "asinh_scalar"


class TestGridScalar(TestScalar):
    kind = "grid_scalar"
    config: ClassVar[Any] = {"modality": "Z"}

    def fitted(self, codec: Any) -> None:
        pass


class TestMultiScalar(TestScalar):
    kind = "multi_scalar"
    config: ClassVar[Any] = {
        "modality": "bp_coefficients",
        "codebook_size": 64,
        "reservoir_size": 500,
        "num_quantizers": 5,
    }

    def arguments(self) -> dict[str, Any]:
        return {"values": np.random.default_rng(1).normal(0, 30, (20, 5))}

    def nothing(self) -> dict[str, Any]:
        given = self.arguments()
        given["values"][0, 2] = np.nan
        return given

    def wrong(self) -> dict[str, Any]:
        return {"values": np.zeros((3, 4))}

    def fitted(self, codec: Any) -> None:
        codec.fit(np.random.default_rng(2).normal(0, 30, (1000, 5)))
        codec.finish()


@pytest.mark.parametrize("kind", codecs.kinds())
def test_every_kind_is_under_the_contract(kind: str) -> None:
    classes = [thing for thing in globals().values() if isinstance(thing, type) and issubclass(thing, Contract)]
    assert kind in {thing.kind for thing in classes if thing is not Contract}
