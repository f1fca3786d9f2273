"""Turn the great sky surveys into datasets a model can learn from.

    mmu.open("/data/legacysurvey")          a built dataset: columns, rows, arrays
    mmu.decode(batch)                       an Arrow batch -> NumPy arrays, thousands of rows a second
    mmu.build_survey(mmu.BuildSpec("desi", Path("/data")))    what `mmu build desi --out /data` runs
    mmu.verify("/data/desi")                is it what its ledger says?
    mmu.publish("/data/desi", "ORG/desi")   on the Hugging Face Hub, where mmu.open("ORG/desi") finds it
    mmu.crossmatch("/data/legacysurvey", "/data/desi", out="/data/ls_x_desi")     which records are one object
    for batch in mmu.stream(["/data/legacysurvey", "/data/desi"]): ...     those in batches, matched on the way
    print(mmu.cite("/data/desi"))           what to cite, and whom to thank

Everything is loaded when first used, so `import mmu` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmu.build.run import build as build_survey
    from mmu.build.spec import BuildSpec
    from mmu.build.verify import verify
    from mmu.citation import cite
    from mmu.dataset import Dataset
    from mmu.decoding import decode
    from mmu.errors import MmuError, UsageError
    from mmu.hub.publish import publish
    from mmu.opening import open
    from mmu.survey import get_survey, survey_names

__version__ = "0.1.0"

# A verb must not be called like a module of this package: importing that module would hide it.
_WHERE = {
    "build_survey": "mmu.build.run:build",
    "BuildSpec": "mmu.build.spec",
    "verify": "mmu.build.verify",
    "publish": "mmu.hub.publish",
    "cite": "mmu.citation",
    "stream": "crossmatch.stream.api",
    "crossmatch": "crossmatch.api",
    "Dataset": "mmu.dataset",
    "open": "mmu.opening",
    "decode": "mmu.decoding",
    "MmuError": "mmu.errors",
    "UsageError": "mmu.errors",
    "get_survey": "mmu.survey",
    "survey_names": "mmu.survey",
}

__all__ = [
    "BuildSpec",
    "Dataset",
    "MmuError",
    "UsageError",
    "build_survey",
    "cite",
    "crossmatch",
    "decode",
    "get_survey",
    "open",
    "publish",
    "stream",
    "survey_names",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'mmu' has no attribute {name!r}"
        raise AttributeError(msg)
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
