"""Turn the great sky surveys into datasets a model can learn from.

    mmu.open("/data/legacysurvey")          a built dataset: columns, rows, arrays
    mmu.decode(batch)                       an Arrow batch -> NumPy arrays, thousands of rows a second
    mmu.build(mmu.BuildSpec("desi", ...))   what `mmu build desi` runs
    mmu.verify("/data/desi")                is it what its ledger says?

Everything is loaded when first used, so `import mmu` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmu.build.run import build
    from mmu.build.spec import BuildSpec
    from mmu.build.verify import verify
    from mmu.dataset import Dataset, open
    from mmu.decode import decode
    from mmu.errors import MmuError, UsageError
    from mmu.survey import get_survey, survey_names

__version__ = "0.1.0"

_WHERE = {
    "build": "mmu.build.run",
    "BuildSpec": "mmu.build.spec",
    "verify": "mmu.build.verify",
    "Dataset": "mmu.dataset",
    "open": "mmu.dataset",
    "decode": "mmu.decode",
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
    "build",
    "decode",
    "get_survey",
    "open",
    "survey_names",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'mmu' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
