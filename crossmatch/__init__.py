"""Pair objects across datasets: `match` on arrays, `crossmatch` on datasets, `open_association` on what that wrote.

Everything is loaded when first used, so `import crossmatch` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmatch.api import crossmatch
    from crossmatch.association import Association, open_association
    from crossmatch.matcher import Errors, Matches, match
    from crossmatch.work import Where

# A name here must not be that of a module of this package: importing that module would hide it.
_WHERE = {
    "crossmatch": "crossmatch.api",
    "Association": "crossmatch.association",
    "open_association": "crossmatch.association",
    "Errors": "crossmatch.matcher",
    "Matches": "crossmatch.matcher",
    "match": "crossmatch.matcher",
    "Where": "crossmatch.work",
}

__all__ = ["Association", "Errors", "Matches", "Where", "crossmatch", "match", "open_association"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'crossmatch' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_WHERE[name]), name)
