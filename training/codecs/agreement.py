"""Whether our codecs and the published package's, of the same files, say the same: `polymathic-aion` is needed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmu.errors import UsageError
from training import codecs
from training.codecs.codec import CONFIG, PUBLISHED, Codec

CLOSE = 1e-4
"""Largest difference of decoded values that agree, of values above 1 relative to them."""
DES, HSC = ["DES-G", "DES-R", "DES-I", "DES-Z"], ["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"]
THEIRS = {
    "image": "image:ImageCodec",
    "spectrum": "spectrum:SpectrumCodec",
    "segmap": "scalar_field:ScalarFieldCodec",
    "catalogue": "catalog:CatalogCodec",
    "scalar": "scalar:ScalarCodec",
    "log_scalar": "scalar:LogScalarCodec",
    "multi_scalar": "scalar:MultiScalarCodec",
    "grid_scalar": "scalar:GridScalarCodec",
}
"""Kind -> module and class of the published package."""


class Said(NamedTuple):
    """Ids of the same objects, theirs and ours, and pairs of what these decode to."""

    theirs: Tensor
    ours: Tensor
    decoded: list[tuple[Tensor, Tensor]]


class Compared(NamedTuple):
    """Of a codec: how many ids were compared and how many differ; the largest difference of decoded values."""

    name: str
    kind: str
    ids: int
    differ: int
    apart: float

    @property
    def agrees(self) -> bool:
        """The same ids, decoded to the same values."""
        return self.differ == 0 and self.apart <= CLOSE


def installed() -> None:
    """Nothing, where the published package is.

    Raises:
        UsageError: it is not installed.
    """
    try:
        importlib.import_module("aion")
    except ImportError as problem:
        raise UsageError("This needs the published package: pip install polymathic-aion==0.0.2.") from problem


def class_of(kind: str) -> Any:
    """The published package's codec of a kind."""
    module, _, name = THEIRS[kind].partition(":")
    return getattr(importlib.import_module(f"aion.codecs.{module}"), name)


def images(bands: list[str], count: int = 3, side: int = 110, seed: int = 3) -> Any:
    """Images in which no value is like another, and some are beyond every bound; as the published package has them."""
    from aion.modalities import HSCImage, LegacySurveyImage

    random = torch.Generator().manual_seed(seed)
    bright = torch.logspace(-2, 1.5, count)[:, None, None, None]
    flux = torch.randn(count, len(bands), side, side, generator=random) * bright
    return (HSCImage if bands[0].startswith("HSC") else LegacySurveyImage)(flux=flux, bands=bands)


def spectra(count: int = 3, pixels: int = 7781, seed: int = 4) -> dict[str, Tensor]:
    """Spectra on DESI's wavelengths, all of them good."""
    random = torch.Generator().manual_seed(seed)
    wavelength = (3600.0 + 0.8 * torch.arange(pixels)).expand(count, -1).contiguous()
    flux = torch.randn(count, pixels, generator=random) * 2 + torch.tensor([0.5, 5.0, 80.0])[:count, None]
    ivar = torch.rand(count, pixels, generator=random) * 3 + 0.1
    return {"flux": flux, "wavelength": wavelength, "ivar": ivar, "mask": torch.zeros(count, pixels, dtype=torch.bool)}


def maps(seed: int = 2) -> Tensor:
    """Maps of patches of nothing and of something."""
    patches = torch.rand(3, 25, 25, generator=torch.Generator().manual_seed(seed)).round()
    return patches.repeat_interleave(4, 1).repeat_interleave(4, 2)


def lists(seed: int = 5) -> dict[str, Tensor]:
    """Listed sources, with gaps."""
    random = torch.Generator().manual_seed(seed)
    there = torch.rand(6, 20, generator=random) < 0.6
    columns = {key: torch.randint(0, 96, (6, 20), generator=random) for key in ("X", "Y")}
    shapes = {key: torch.randn(6, 20, generator=random) for key in ("SHAPE_E1", "SHAPE_E2", "SHAPE_R")}
    return {key: torch.where(there, values, 9999) for key, values in {**columns, **shapes}.items()}


def numbers(own: Codec, count: int = 2500, seed: int = 9) -> Tensor:
    """Numbers about 0, and as many about those that the codec has ids for."""
    random = torch.Generator().manual_seed(seed)
    shape = (count, *(own.tokens() if own.kind == "multi_scalar" else ()))
    about = torch.randn(shape, generator=random) * (torch.logspace(-1, 2, shape[1]) if shape[1:] else 3) + 1
    ids = torch.randint(0, own.vocabulary, (count, *own.tokens()), generator=random)
    known = own.decode(ids) * (1 + 0.01 * torch.randn(shape, generator=random))
    return torch.cat([about, known])


def both(theirs: Any, own: Codec) -> Iterator[Said]:
    """What both make of each kind of input, drawn at random from a fixed seed."""
    of: dict[str, Callable[[Any, Codec], Iterator[Said]]] = {
        "image": _images, "spectrum": _spectra, "segmap": _maps, "catalogue": _lists
    }  # fmt: skip
    return of.get(own.kind, _numbers)(theirs, own)


def _images(theirs: Any, own: Codec) -> Iterator[Said]:
    for bands in (DES, HSC, ["DES-G", "DES-Z"]):
        image = images(bands)
        ids = own.encode(image.flux, bands)
        their_ids = theirs.encode(type(image)(flux=image.flux.clone(), bands=bands))  # it writes into what it is given
        want = DES[::-1]  # theirs cannot decode HSC
        yield Said(their_ids, ids, [(theirs.decode(their_ids, bands=want).flux, own.decode(ids, want))])


def _spectra(theirs: Any, own: Codec) -> Iterator[Said]:
    from aion.modalities import DESISpectrum

    given = spectra()
    their_ids, ids = theirs.encode(DESISpectrum(**given)), own.encode(**given)
    pairs = []
    # one at a time, as ours takes them: products of larger matrices may be rounded otherwise
    for row in range(len(ids)):
        one, other, at = ids[[row]], their_ids[[row]], given["wavelength"][[row]]
        decoded, mine = theirs.decode(other, wavelength=at), own.decode(one, at)
        pairs += [(decoded.flux, mine.flux), (decoded.mask.float(), mine.mask.float())]
        pairs += [(theirs.decode(other).flux, own.decode(one).flux)]
    yield Said(their_ids, ids, pairs)


def _maps(theirs: Any, own: Codec) -> Iterator[Said]:
    from aion.modalities import LegacySurveySegmentationMap

    field = maps()
    their_ids, ids = theirs.encode(LegacySurveySegmentationMap(field=field)), own.encode(field)
    yield Said(their_ids, ids, [(theirs.decode(their_ids).field, own.decode(ids))])


def _lists(theirs: Any, own: Codec) -> Iterator[Said]:
    from aion.modalities import LegacySurveyCatalog

    given = lists()
    their_ids, ids = theirs.encode(LegacySurveyCatalog(**given)), own.encode(**given)
    decoded = theirs.decode(their_ids)
    yield Said(their_ids, ids, [(getattr(decoded, key), values) for key, values in own.decode(ids).items()])


def _numbers(theirs: Any, own: Codec) -> Iterator[Said]:
    values = numbers(own)
    their_ids, ids = theirs.encode(theirs.modality(value=values)), own.encode(values)
    yield Said(their_ids.reshape(ids.shape), ids, [(theirs.decode(their_ids).value, own.decode(ids))])


@torch.no_grad()
def compare(name: str, theirs: Any, own: Codec) -> Compared:
    """Put the same inputs to both."""
    count = differ = 0
    apart = 0.0
    for said in both(theirs, own):
        assert said.theirs.shape == said.ours.shape
        count += said.ours.numel()
        differ += int((said.theirs.long() != said.ours.long()).sum())
        apart = max(apart, *(_apart(*pair) for pair in said.decoded))
    return Compared(name, own.kind, count, differ, apart)


def _apart(theirs: Tensor, ours: Tensor) -> float:
    """The largest difference; without end where one has a number and the other has none."""
    away = (theirs - ours).abs() / theirs.abs().clamp(min=1.0)
    same = (theirs == ours) | (theirs.isnan() & ours.isnan())
    return float(torch.where(same, 0.0, away.nan_to_num(nan=torch.inf)).max())


def agree(folder: Path, told: Callable[[Compared], None] = lambda compared: None) -> list[Compared]:
    """Compare every codec of a folder that is in the published layout, whose config names no kind; others are ours.

    Args:
        told: called for each codec.

    Raises:
        UsageError: there is none, or the published package is not installed.
        FormatError: one is damaged.
    """
    installed()
    found = []
    for path in (path.parent for path in sorted(folder.glob(f"*/{CONFIG}")) if not _is_ours(path)):
        own = codecs.load(path, PUBLISHED)
        found.append(compare(path.name, _theirs(own.kind, path), own))
        told(found[-1])
    if not found:
        raise UsageError(f"{folder} has no codec in the published layout: folders of config.json, model.safetensors.")
    return found


def _is_ours(config: Path) -> bool:
    """True for a config that names its kind; one that cannot be read is for `codecs.load` to tell."""
    try:
        return "codec" in json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return False


def _theirs(kind: str, folder: Path) -> Any:
    """Theirs, as they load it, but of a folder of any name."""
    from aion.codecs.utils import CodecPytorchHubMixin

    loaded: Any = super(CodecPytorchHubMixin, class_of(kind))
    return loaded.from_pretrained(str(folder)).eval()
