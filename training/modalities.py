"""The modalities a model is trained on: one table, one row each.

    MODALITIES["tok_image"]            -> Modality(key="tok_image", id=19, kind="grid", shape=(24, 24), ...)
    MODALITIES["tok_image"].tokens     -> 576
    VOCABULARY                         -> length of one embedding table for all of them

The first 40 rows are those of the published AION-1 checkpoints, under their keys, in the order of their keys; ours
follow. A row's id is its number: rows are only ever appended, and `VERSION` grows with them, so that tokens written
under an older version stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

VERSION = 2
"""Of the table: what this program knows. Token shards and checkpoints carry the `version` that their rows need."""

PUBLISHED = 40
"""The first rows: the domains of the published checkpoints."""


@dataclass(frozen=True)
class Source:
    """Where a modality's numbers are in a built dataset.

    Attributes:
        survey: the dataset; "*" for any.
        column: of it, a `struct` for all its members.
        span: first and one past the last value of each row's list, where only a part is meant.
    """

    survey: str
    column: str
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Modality:
    """One kind of tokens.

    Attributes:
        key: its name in a model, and its column in token shards.
        id: its row number in the table.
        kind: "grid", a fixed number of tokens each with its place, or "sequence", up to so many in their order.
        shape: of the grid, (rows, columns); (longest,) for a sequence.
        vocabulary: number of ids that the model's embedding has for it.
        codec: folder of the codec that makes its tokens, among others; codecs may be shared.
        sources: where its numbers come from.
        offset: what is added to a codec's ids; ids below it are reserved (padding, sentinels, ...).
        base: where its ids begin in one table for all modalities.
        since: the version of the table that it came with.
    """

    key: str
    id: int
    kind: Literal["grid", "sequence"]
    shape: tuple[int, ...]
    vocabulary: int
    codec: str
    sources: tuple[Source, ...] = ()
    offset: int = 0
    base: int = field(default=0, repr=False)
    since: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of an object; the most of them for a sequence."""
        return self.shape[0] * self.shape[1] if self.kind == "grid" else self.shape[0]

    @property
    def published(self) -> bool:
        """True for a domain of the published checkpoints."""
        return self.id < PUBLISHED

    def source(self, survey: str) -> Source | None:
        """Where its numbers are in a survey's dataset; None where they are not."""
        return next((source for source in self.sources if source.survey in (survey, "*")), None)


Row = tuple[str, tuple[int, ...], int, str, tuple[Source, ...]]
LEGACY, HSC, GAIA, DESI, SDSS = "legacysurvey", "hsc", "gaia", "desi", "sdss"
CATALOGUE_RESERVED = 204
"""Low ids of the catalogue: padding (0), unknown, start, end and 200 sentinels of masked spans."""


def _scalar(key: str, codec: str, *sources: tuple[str, str], vocabulary: int = 1024) -> Row:
    return key, (1, 1), vocabulary, codec, tuple(Source(*source) for source in sources)


def _tractor(band: str) -> Row:
    """A flux of the Legacy Surveys; DESI's targets come with it (nanomaggies, not dereddened, in both)."""
    surveys = (LEGACY,) if band in ("I", "W3", "W4") else (LEGACY, DESI)
    return _scalar(f"tok_flux_{band.lower()}", f"FLUX_{band}", *((survey, f"FLUX_{band}") for survey in surveys))


def _published() -> Iterator[Row]:
    """The checkpoints' 40, in the order of their keys; codecs under the names of their published folders."""
    yield "catalog", (50,), 3468, "catalog", (Source(LEGACY, "catalog"),)
    yield from (_scalar(f"tok_a_{band}", f"a_{band}", (HSC, f"a_{band}")) for band in "giryz")
    yield _scalar("tok_dec", "dec", (GAIA, "dec"))
    yield _scalar("tok_ebv", "EBV", (LEGACY, "EBV"), (DESI, "EBV"))
    yield _scalar("tok_flux_bp_gaia", "phot_bp_mean_flux", (GAIA, "phot_bp_mean_flux"))
    yield _tractor("G")
    yield _scalar("tok_flux_g_gaia", "phot_g_mean_flux", (GAIA, "phot_g_mean_flux"))
    yield _tractor("I")
    yield _tractor("R")
    yield _scalar("tok_flux_rp_gaia", "phot_rp_mean_flux", (GAIA, "phot_rp_mean_flux"))
    yield from map(_tractor, ("W1", "W2", "W3", "W4", "Z"))
    yield "tok_image", (24, 24), 4375, "image", (Source(LEGACY, "image"),)
    yield "tok_image_hsc", (24, 24), 4375, "image", (Source(HSC, "image"),)
    yield from (_scalar(f"tok_mag_{band}", f"{band}_cmodel_mag", (HSC, f"{band}_cmodel_mag")) for band in "giryz")
    yield _scalar("tok_parallax", "parallax", (GAIA, "parallax"))
    yield _scalar("tok_ra", "ra", (GAIA, "ra"))
    yield "tok_segmap", (12, 12), 1000, "segmentation_map", (Source(LEGACY, "object_mask"),)
    moments = ("11", "12", "22")
    yield from (_scalar(f"tok_shape{m}", f"i_sdssshape_shape{m}", (HSC, f"i_sdssshape_shape{m}")) for m in moments)
    yield from (_scalar(f"tok_shape_{s.lower()}", f"SHAPE_{s}", (LEGACY, f"SHAPE_{s}")) for s in ("E1", "E2", "R"))
    yield "tok_spectrum_desi", (273, 1), 1024, "spectrum", (Source(DESI, "spectrum"),)
    yield "tok_spectrum_sdss", (273, 1), 1024, "spectrum", (Source(SDSS, "spectrum"),)
    yield "tok_xp_bp", (55, 1), 1024, "bp_coefficients", (Source(GAIA, "coeff", (0, 55)),)
    yield "tok_xp_rp", (55, 1), 1024, "rp_coefficients", (Source(GAIA, "coeff", (55, 110)),)
    yield _scalar("tok_z", "Z", (DESI, "Z"), (SDSS, "Z"), vocabulary=1025)


def _ours() -> Iterator[Row]:
    """What the builder's surveys have beyond those; append only."""
    for survey in (LEGACY, HSC, "jwst"):
        yield f"tok_image12_{survey}", (12, 12), 4375, "image_universal", (Source(survey, "image"),)
    yield _scalar("tok_redshift", "redshift", (DESI, "Z"), (SDSS, "Z"))
    yield _scalar("tok_parallax_signed", "parallax_signed", (GAIA, "parallax"))
    yield from (_scalar(f"tok_{name}", name, (GAIA, name)) for name in ("pmra", "pmdec"))
    for name in ("log_mstar", "z_mw", "tage_mw", "avg_ssfr"):
        yield _scalar(f"tok_{name}", name, ("desi_provabgs", name.upper()))
    yield "tok_light_curve", (64, 1), 1024, "light_curve", (Source("*", "lightcurve"),)


_BEGINS = (51,)
"""The first row of each later version."""


def _table() -> dict[str, Modality]:
    table: dict[str, Modality] = {}
    base = 0
    for number, (key, shape, vocabulary, codec, sources) in enumerate([*_published(), *_ours()]):
        sequence = len(shape) == 1
        offset = CATALOGUE_RESERVED if sequence else 0
        kind: Literal["grid", "sequence"] = "sequence" if sequence else "grid"
        since = 1 + sum(number >= first for first in _BEGINS)
        table[key] = Modality(key, number, kind, shape, vocabulary, codec, sources, offset, base, since)
        base += vocabulary
    return table


MODALITIES: dict[str, Modality] = _table()
"""Key -> row, by id."""

VOCABULARY = sum(row.vocabulary for row in MODALITIES.values())
"""Ids of all modalities: the length of one embedding table, in which `Modality.base` says where each begins."""


def version(keys: Iterable[str]) -> int:
    """The first version of the table that has all of these rows: older tokens and models stay what they were."""
    return max((MODALITIES[key].since for key in keys), default=1)
