"""Codecs of numbers: one id for each, from quantiles of a sample or from a grid.

    codec = LogScalarCodec("FLUX_G")
    for batch in batches: codec.fit(batch["FLUX_G"])
    codec.finish()

An id stands for one of `codebook_size` equally full bins. Decoded, it is the mean of the sample in its bin; the
published package gives the bin's right edge, which `compat` does too. A number that is not finite is absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmu.errors import UsageError, unknown
from training.codecs.codec import Codec, remember, whole
from training.codecs.quantize import ABSENT, Function, LinearGrid, Quantiles

_INVERSES: dict[str, tuple[Function, Function]] = {
    "arcsinh": (torch.arcsinh, torch.sinh),
    "log1p": (torch.log1p, torch.expm1),
}


class _Quantised(Codec):
    """What the codecs of quantiles share."""

    written: ClassVar[Mapping[str, str]] = {
        "quantizer.": "_quantizer.",
        "quantizer.table": "_quantizer._index_to_val",
        "quantizer.reservoir": "_quantizer._reservoir",
    }
    quantizer: Quantiles

    def _made(self, given: Mapping[str, Any], forward_: Function, inverse: Function) -> None:
        remember(self, given)
        self.vocabulary = given["codebook_size"]
        self.quantizer = Quantiles(self.vocabulary, given["reservoir_size"], forward_, inverse)

    @classmethod
    def is_ours(cls, name: str) -> bool:
        return name.endswith((".means", ".count"))

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        return (1,)

    def fit(self, values: Any) -> None:
        """See more numbers (objects,)."""
        self.quantizer.update(whole("values", values).reshape(-1))

    def finish(self) -> None:
        """Make the table of what `fit` saw."""
        self.quantizer.finish()

    def completed(self, state: Mapping[str, Tensor]) -> None:
        if "quantizer.means" not in state:
            self.quantizer.find_means()

    def encode(self, values: Any) -> Tensor:
        """Ids (objects, 1) of numbers (objects,)."""
        given = whole("values", values).reshape(-1, 1)
        ids = self.quantizer.encode(given)
        return ids if self.as_published else torch.where(torch.isfinite(given), ids, ABSENT)

    def decode(self, ids: Tensor) -> Tensor:
        """Numbers (objects,)."""
        return self.quantizer.decode(ids, self.as_published).reshape(-1)


class ScalarCodec(_Quantised):
    """A number as it is.

    Args:
        modality: the column it is of.
        codebook_size: bins. reservoir_size: numbers of the sample.
    """

    kind = "scalar"

    def __init__(
        self, modality: str, codebook_size: int = 1024, reservoir_size: int = 100_000, compat: str | None = None
    ) -> None:
        super().__init__(compat)
        self._made(locals(), same, same)


class LogScalarCodec(_Quantised):
    """The natural logarithm of a number, not below a floor: what is fainter or negative is one value."""

    kind = "log_scalar"

    def __init__(
        self,
        modality: str,
        codebook_size: int = 1024,
        reservoir_size: int = 100_000,
        min_log_value: float = -3.0,
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        floor = math.exp(min_log_value)
        self._made(locals(), lambda values: torch.log(torch.where(values <= floor, floor, values)), torch.exp)


class AsinhScalarCodec(_Quantised):
    """arcsinh of a number over a softening: linear about 0, logarithmic away from it, of either sign."""

    kind = "asinh_scalar"

    def __init__(
        self,
        modality: str,
        softening: float = 1.0,
        codebook_size: int = 1024,
        reservoir_size: int = 100_000,
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        if not softening > 0:
            raise UsageError(f"softening={softening}: give a positive number, in the unit of {modality}.")
        self._made(
            locals(), lambda values: torch.arcsinh(values / softening), lambda values: torch.sinh(values) * softening
        )


class MultiScalarCodec(Codec):
    """Several numbers an object, each with its own table: the coefficients of Gaia's XP spectra.

    Args:
        compression_fns, decompression_fns: names of functions, applied in this order, and of their inverses.
        num_quantizers: numbers an object.
    """

    kind = "multi_scalar"

    def __init__(
        self,
        modality: str,
        compression_fns: Sequence[str] = ("arcsinh", "arcsinh"),
        decompression_fns: Sequence[str] = ("sinh", "sinh"),
        codebook_size: int = 1024,
        reservoir_size: int = 100_000,
        num_quantizers: int = 55,
        compat: str | None = None,
    ) -> None:
        super().__init__(compat)
        remember(self, locals())
        for name in compression_fns:
            if name not in _INVERSES:
                raise unknown("function", name, _INVERSES)
        forward_, inverse = _chain(compression_fns)
        self.vocabulary = codebook_size
        self.quantizer = nn.ModuleDict(
            {
                "quantizers": nn.ModuleList(
                    Quantiles(codebook_size, reservoir_size, forward_, inverse) for _ in range(num_quantizers)
                )
            }
        )
        names = {
            f"quantizer.quantizers.{i}.{ours}": f"_quantizer.quantizers.{i}.{theirs}"
            for i in range(num_quantizers)
            for ours, theirs in (("table", "_index_to_val"), ("reservoir", "_reservoir"))
        }
        self.written = {"quantizer.": "_quantizer.", **names}  # type: ignore[misc]

    @property
    def parts(self) -> list[Quantiles]:
        """The tables."""
        inner: Any = self.quantizer["quantizers"]
        return list(inner)

    @classmethod
    def is_ours(cls, name: str) -> bool:
        return name.endswith((".means", ".count"))

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        return (len(self.parts),)

    def fit(self, values: Any) -> None:
        """See more objects' numbers (objects, numbers)."""
        for part, column in zip(self.parts, self._checked(values).T, strict=True):
            part.update(column)

    def finish(self) -> None:
        """Make the tables of what `fit` saw."""
        for part in self.parts:
            part.finish()

    def completed(self, state: Mapping[str, Tensor]) -> None:
        if not any(name.endswith(".means") for name in state):
            for part in self.parts:
                part.find_means()

    def encode(self, values: Any) -> Tensor:
        """Ids (objects, numbers); an object that lacks a number is absent."""
        given = self._checked(values)
        ids = torch.stack([part.encode(column) for part, column in zip(self.parts, given.T, strict=True)], dim=1)
        return ids if self.as_published else torch.where(torch.isfinite(given).all(1, keepdim=True), ids, ABSENT)

    def decode(self, ids: Tensor) -> Tensor:
        """Numbers (objects, numbers)."""
        parts = zip(self.parts, ids.T, strict=True)
        return torch.stack([part.decode(column, self.as_published) for part, column in parts], dim=1)

    def _checked(self, values: Any) -> Tensor:
        given = whole("values", values)
        if given.ndim != 2 or given.shape[1] != len(self.parts):
            shape = tuple(given.shape)
            raise UsageError(f"Values of shape {shape} were given; this codec takes (objects, {len(self.parts)}).")
        return given


class GridScalarCodec(Codec):
    """A number on a grid of evenly spaced values from 0 to 1: the published codec of redshifts."""

    kind = "grid_scalar"

    def __init__(self, modality: str, codebook_size: int = 1024, compat: str | None = None) -> None:
        super().__init__(compat)
        remember(self, locals())
        self.vocabulary = codebook_size
        self.quantizer = LinearGrid(codebook_size, 0.0, 1.0)

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        return (1,)

    def encode(self, values: Any) -> Tensor:
        """Ids (objects, 1) of numbers (objects,); those outside saturate."""
        given = whole("values", values).reshape(-1, 1)
        ids = self.quantizer.encode(given)
        return ids if self.as_published else torch.where(torch.isnan(given), ABSENT, ids)

    def decode(self, ids: Tensor) -> Tensor:
        """Numbers (objects,): the middle of each step, or its upper end under `compat`."""
        upper = self.quantizer.decode(ids.clamp(min=0))
        if not self.as_published:
            lower = self.quantizer.decode((ids - 1).clamp(min=0))
            upper = torch.where(ids >= 0, (upper + lower) / 2, torch.nan)
        return upper.reshape(-1)


def same(values: Tensor) -> Tensor:
    return values


def _chain(names: Sequence[str]) -> tuple[Function, Function]:
    """The functions one after the other, and their inverses in the opposite order."""
    pairs = [_INVERSES[name] for name in names]

    def forward_(values: Tensor) -> Tensor:
        for function, _ in pairs:
            values = function(values)
        return values

    def inverse(values: Tensor) -> Tensor:
        for _, function in reversed(pairs):
            values = function(values)
        return values

    return forward_, inverse
