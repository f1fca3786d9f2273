"""The codec of lists: the sources in a stamp, nearest to its middle first, five ids each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmu.errors import UsageError
from training.codecs.codec import Codec, remember, whole
from training.codecs.quantize import ABSENT, Quantiles
from training.codecs.scalar import same

NAMES = ("X", "Y", "SHAPE_E1", "SHAPE_E2", "SHAPE_R")
SIDE, BINS, SAMPLE = 96, 1024, 100_000
OFFSETS = (0, SIDE, 2 * SIDE, 2 * SIDE + BINS, 2 * SIDE + 2 * BINS)


class CatalogueCodec(Codec):
    """Sources as (column, row, ellipticity 1, ellipticity 2, radius), each in its own range of one vocabulary.

    Args:
        mask_value: marks places without a source, in arrays and, under `compat`, in ids.
        longest: sources that are kept.
    """

    kind = "catalogue"
    written: ClassVar[Mapping[str, str]] = {
        "quantizer.": "_quantizer.quantizers.",
        **{
            f"quantizer.{name}.{ours}": f"_quantizer.quantizers.{name}.{theirs}"
            for name in NAMES[2:]
            for ours, theirs in (("table", "_index_to_val"), ("reservoir", "_reservoir"))
        },
    }

    def __init__(self, mask_value: int = 9999, longest: int = 10, compat: str | None = None) -> None:
        super().__init__(compat)
        remember(self, locals())
        self.mask_value, self.longest = mask_value, longest
        self.vocabulary = OFFSETS[-1] + BINS
        parts: dict[str, nn.Module] = {name: _Pixels() for name in NAMES[:2]}
        parts |= {name: Quantiles(BINS, SAMPLE, same, same) for name in NAMES[2:]}
        self.quantizer = nn.ModuleDict(parts)

    @classmethod
    def is_ours(cls, name: str) -> bool:
        return name.endswith((".means", ".count"))

    @property
    def tables(self) -> dict[str, Quantiles]:
        """Name -> quantiles of each shape."""
        return {name: part for name, part in self.quantizer.items() if isinstance(part, Quantiles)}

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The most ids of a list."""
        return (len(NAMES) * self.longest,)

    def fit(self, **columns: Any) -> None:
        """See more sources' shapes, as `encode` takes them."""
        for name, table in self.tables.items():
            values = whole(name, columns[name])
            table.update(values[values != self.mask_value])

    def finish(self) -> None:
        """Make the tables of what `fit` saw."""
        for table in self.tables.values():
            table.finish()

    def completed(self, state: Mapping[str, Tensor]) -> None:
        if not any(name.endswith(".means") for name in state):
            for table in self.tables.values():
                table.find_means()

    @torch.no_grad()
    def encode(self, **columns: Any) -> Tensor:
        """Ids (lists, 5 x longest), `ABSENT` after the last source.

        Args:
            columns: X and Y, pixels from the first of 96; SHAPE_E1, SHAPE_E2 and SHAPE_R; each (lists, places), NaN or
                `mask_value` in places without a source. Sources outside of the 96 x 96 pixels are left out.

        Raises:
            UsageError: a column is missing, or they differ in shape.
        """
        given = self._checked(columns)
        there = torch.stack([(v != self.mask_value) & torch.isfinite(v) for v in given.values()]).all(0)
        pixels = [torch.floor(given[name] + 0.5) for name in NAMES[:2]]
        if self.as_published:
            return self._joined(given, pixels, there, self.mask_value).long()
        there = there & torch.stack([(pixel >= 0) & (pixel < SIDE) for pixel in pixels]).all(0)
        middle = (SIDE - 1) / 2
        distance = (given["X"] - middle).square() + (given["Y"] - middle).square()
        order = torch.where(there, distance, torch.inf).argsort(dim=1, stable=True)[:, : self.longest]
        given = {name: values.gather(1, order) for name, values in given.items()}
        ids = self._joined(given, [p.gather(1, order) for p in pixels], there.gather(1, order), ABSENT)
        full = ids.new_full((len(ids), self.tokens()[0]), ABSENT)
        full[:, : ids.shape[1]] = ids
        return full

    @torch.no_grad()
    def decode(self, ids: Tensor) -> dict[str, Tensor]:
        """Name -> (lists, places); NaN without a source or where an id is of another range (-1 as published)."""
        places = ids.shape[1] // len(NAMES)
        parts = ids[:, : places * len(NAMES)].reshape(len(ids), places, len(NAMES))
        out = {}
        for number, name in enumerate(NAMES):
            own = parts[..., number] - OFFSETS[number]
            table = self.tables.get(name)
            size = SIDE if table is None else BINS
            wrong = (own < 0) | (own >= size)
            inner = own.clamp(0, size - 1)
            values = inner.float() if table is None else table.decode(inner, self.as_published)
            out[name] = torch.where(wrong, -1.0 if self.as_published else torch.nan, values)
        return out

    def _joined(self, given: dict[str, Tensor], pixels: list[Tensor], there: Tensor, pad: int) -> Tensor:
        parts = [torch.nan_to_num(pixel).to(torch.int32) for pixel in pixels]
        parts += [table.encode(given[name]) for name, table in self.tables.items()]
        ids = torch.stack([part + offset for part, offset in zip(parts, OFFSETS, strict=True)], dim=-1)
        return torch.where(there[..., None], ids, pad).flatten(1)

    @staticmethod
    def _checked(columns: dict[str, Any]) -> dict[str, Tensor]:
        if set(columns) != set(NAMES):
            raise UsageError(f"Columns {', '.join(sorted(columns))} were given; a list needs {', '.join(NAMES)}.")
        given = {name: whole(name, columns[name]) for name in NAMES}
        shapes = {tuple(values.shape) for values in given.values()}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            raise UsageError(f"Columns of shapes {sorted(shapes)}: give all (lists, places).")
        return given


class _Pixels(nn.Module):
    """Whole pixels are their own ids; the published file has their number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_codebook_size", torch.tensor(SIDE))
