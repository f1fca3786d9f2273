"""A dataset's card as it stands on the Hub: what one would type there is the repository's name, not a path."""

from __future__ import annotations

import re

from mmu.shards.seal import CARD, sealed

_CATALOGUE = re.compile(r'(open_catalog\(")path/to/[\w.+-]+')
_PLACE = re.compile(r"path/to/[\w.+-]+")


def on_the_hub(text: str, repo: str) -> str:
    """The card with the repository where a path on a disk stood, and its seal made anew."""
    words, seal, _ = text.rpartition(CARD[0])
    if not seal:
        words = text
    words = _CATALOGUE.sub(rf"\g<1>hf://datasets/{repo}", words)
    words = _PLACE.sub(repo, words)
    return sealed(words, CARD) if seal else words
