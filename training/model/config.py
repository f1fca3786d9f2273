"""What a model is made of, and how the published files say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from mmu.errors import UsageError, unknown
from training.codecs.codec import PUBLISHED
from training.modalities import MODALITIES, VERSION, Modality, version

_SAME = ("dim", "encoder_depth", "decoder_depth", "mlp_ratio", "qk_norm")
_BIASES = ("qkv_bias", "proj_bias", "mlp_bias", "norm_bias")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model; those of AION-1 (arXiv 2510.17960) are `training.recipes.MODELS`.

    Attributes:
        modalities: keys of `training.modalities`, each given and predicted.
        dim: of a token's vector, divisible by 4 and by `heads`.
        encoder_depth, decoder_depth: blocks.
        mlp_ratio: width of a block's hidden layer by `dim`; of it two thirds are left where it is `gated`.
        qk_norm: queries and keys are normalised, head by head.
        gated, activation: of the hidden layer.
        compat: "aion-0.0.2" to predict as the published package's `AION.forward` does, wrong or not.
    """

    modalities: tuple[str, ...]
    dim: int
    encoder_depth: int
    decoder_depth: int
    heads: int
    mlp_ratio: float = 4.0
    qk_norm: bool = True
    gated: bool = True
    activation: Literal["SiLU", "GELU"] = "SiLU"
    compat: str | None = None

    def __post_init__(self) -> None:
        odd = next((key for key in self.modalities if key not in MODALITIES), None)
        if odd is not None:
            raise unknown("modality", odd, MODALITIES)
        if not self.modalities:
            raise UsageError("A model needs at least one modality; see training/modalities.py.")
        if self.dim % 4 or self.dim % self.heads:
            raise UsageError(f"dim {self.dim} must be divisible by 4 and by the {self.heads} heads.")
        if self.compat not in (None, PUBLISHED):
            raise unknown("compat", str(self.compat), [PUBLISHED])
        ordered = sorted(set(self.modalities), key=lambda key: MODALITIES[key].id)
        object.__setattr__(self, "modalities", tuple(ordered))

    @property
    def rows(self) -> list[Modality]:
        """Of the table, in its order."""
        return [MODALITIES[key] for key in self.modalities]

    @property
    def hidden(self) -> int:
        """Width of a block's hidden layer."""
        wide = int(self.dim * self.mlp_ratio)
        return int(2 * wide / 3) if self.gated else wide

    def as_json(self) -> dict[str, Any]:
        """What `of_json` takes."""
        return {"model": "any-to-any", "modalities_version": version(self.modalities), **asdict(self)}

    @classmethod
    def of_json(cls, about: Mapping[str, Any]) -> Self:
        """A config from `config.json`, ours or the published one.

        Raises:
            UsageError: it is of a newer table of modalities, or of a model that is not made here.
        """
        if about.get("model") != "any-to-any":
            return cls._of_published(about)
        if about["modalities_version"] > VERSION:
            found = about["modalities_version"]
            raise UsageError(f"The model is of version {found} of the modalities; this is {VERSION}: update mmu.")
        own = {field.name: about[field.name] for field in fields(cls)}
        return cls(**{**own, "modalities": tuple(own["modalities"])})

    @classmethod
    def _of_published(cls, about: Mapping[str, Any]) -> Self:
        try:
            if set(about["domains_in"]) != set(about["domains_out"]):
                raise UsageError("The model takes other modalities than it predicts; such models are not read here.")
            biased = [name for name in _BIASES if about.get(name)]
            if biased:
                raise UsageError(f"The model has biases ({', '.join(biased)}); such models are not read here.")
            return cls(
                modalities=tuple(about["domains_in"]),
                heads=about["num_heads"],
                gated=about["gated_mlp"],
                activation=about["act_layer"],
                **{name: about[name] for name in _SAME if name in about},
            )
        except (KeyError, TypeError) as problem:
            raise UsageError(f"This config is of no any-to-any model: {problem} is not as expected.") from problem

    def as_published(self) -> dict[str, Any]:
        """The published package's config.

        Raises:
            UsageError: that package knows no such modality.
        """
        ours = [row.key for row in self.rows if not row.published]
        if ours:
            raise UsageError(f"The published package has no {', '.join(ours[:3])}; only its 40 can be written for it.")
        return {
            "domains_in": list(self.modalities),
            "domains_out": list(self.modalities),
            "num_heads": self.heads,
            "gated_mlp": self.gated,
            "act_layer": self.activation,
            **{name: getattr(self, name) for name in _SAME},
            **dict.fromkeys(_BIASES, False),
        }
