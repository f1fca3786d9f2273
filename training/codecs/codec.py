"""What every codec keeps to: arrays in, ids out and back; a folder of two files."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import safetensors.torch
import torch
from torch import Tensor, nn

from mmu.build.files import write_bytes
from mmu.errors import FormatError, UsageError, unknown

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PUBLISHED = "aion-0.0.2"
"""The published package whose defects `compat=` reproduces."""


class Loss(NamedTuple):
    """What a step of training needs; `ids` and the goodness of fit are for the record."""

    value: Tensor
    ids: Tensor
    chi_square: Tensor


class Codec(nn.Module):
    """Turns what a survey measured of objects into a fixed number of ids each, and back.

    A codec never writes into what it is given. An object that has nothing to encode gets `ABSENT` for all its ids, and
    decodes to NaN. Parameters carry the names of the published files but for those in `written`.

    Attributes:
        kind: its name in `config.json`, and the key it is found by.
        vocabulary: ids run from 0 to one less.
        config: what it was made with.
        trained: facts about how its weights came to be; they go with it.
    """

    kind: ClassVar[str]
    written: ClassVar[Mapping[str, str]] = {"quantizer.": "_quantizer."}
    """Beginnings of parameters' names here -> in files."""

    vocabulary: int

    def __init__(self, compat: str | None = None) -> None:
        super().__init__()
        if compat not in (None, PUBLISHED):
            raise unknown("compat", compat, [PUBLISHED])
        self.compat = compat
        self.config: dict[str, Any] = {}
        self.trained: dict[str, Any] = {}

    @property
    def as_published(self) -> bool:
        """True if it is to do what the published package does, wrong or not."""
        return self.compat == PUBLISHED

    def tokens(self, shape: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The shape of an object's ids, for an object's array of some shape.

        Raises:
            UsageError: it cannot encode such an array.
        """
        raise NotImplementedError

    def encode(self, *args: Any, **kwargs: Any) -> Tensor:
        """Ids, int32, (objects, tokens); each codec says of what."""
        raise NotImplementedError

    def decode(self, ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the ids (objects, tokens) stand for."""
        raise NotImplementedError

    def save(self, folder: Path, *, published: bool = False) -> None:
        """Write `model.safetensors` and `config.json`.

        Args:
            published: only what the published package knows, so that it can load them.
        """
        state = {name: values.contiguous() for name, values in self.state_dict().items()}
        if published:
            state = {name: values for name, values in state.items() if not self.is_ours(name)}
        state = {_renamed(name, self.written): values for name, values in state.items()}
        about = {**self.config, **({} if published else {"codec": self.kind, "trained": self.trained})}
        write_bytes(folder / WEIGHTS, safetensors.torch.save(state))
        write_bytes(folder / CONFIG, (json.dumps(about, indent=2, sort_keys=True) + "\n").encode())

    @classmethod
    def is_ours(cls, name: str) -> bool:
        """True for a parameter that published files do not have."""
        return False

    def load_file(self, path: Path) -> Self:
        """Take the weights of a file, ours or a published one.

        Raises:
            FormatError: they are not this codec's.
        """
        try:
            state = safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as problem:
            raise FormatError(f"{path} cannot be read as safetensors ({problem}).") from problem
        names = {theirs: ours for ours, theirs in self.written.items()}
        older = {f"_{name}" if name.startswith("quantizer.") else name: values for name, values in state.items()}
        return self.take({_renamed(name, names): values for name, values in older.items()}, str(path))

    def take(self, state: dict[str, Tensor], where: str = "the state") -> Self:
        """Take weights under the names here.

        Raises:
            FormatError: they are not this codec's.
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state and not self.is_ours(name)]
        wrong = [name for name, values in state.items() if name not in own or own[name].shape != values.shape]
        if missing or wrong:
            odd = f"it lacks {missing[0]}" if missing else f"{wrong[0]} is unknown or of another shape"
            count = len(missing) + len(wrong)
            raise FormatError(f"{where} is not of this {self.kind} codec: {odd} ({count} differences).")
        self.load_state_dict(state, strict=False)
        self.completed(state)
        return self

    def completed(self, state: Mapping[str, Tensor]) -> None:
        """After loading: work out what published files do not have."""


def _renamed(name: str, beginnings: Mapping[str, str]) -> str:
    for old, new in sorted(beginnings.items(), key=lambda pair: -len(pair[0])):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def remember(codec: Codec, given: Mapping[str, Any]) -> None:
    """Keep what a codec was made with, as JSON has it, to write it to `config.json`; call it in `__init__`."""
    names = [name for name in inspect.signature(type(codec).__init__).parameters if name != "self"]
    kept = {name: given[name] for name in names if name in given and not (name == "compat" and given[name] is None)}
    codec.config = json.loads(json.dumps(kept))


def digest(folder: Path) -> str:
    """The sha256 of a codec's weights and of what it was made with: the same ids for the same digest."""
    about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    about.pop("trained", None)
    hashed = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    with (folder / WEIGHTS).open("rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


def whole(name: str, values: Any) -> Tensor:
    """An array or tensor as a float32 tensor, copied only if it must be: arrays that cannot be written to are left be.

    Raises:
        UsageError: it is no array of numbers.
    """
    if isinstance(values, Tensor):
        return values.detach().to(torch.float32)
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name} is an array of {array.dtype}; give numbers.")
    if not array.flags.writeable or array.dtype.byteorder not in "=|" or array.dtype.kind == "u":
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array)).to(torch.float32)


def flags(name: str, values: Any) -> Tensor:
    """As `whole`, for booleans."""
    if isinstance(values, Tensor):
        return values.detach().to(torch.bool)
    import numpy as np

    return torch.from_numpy(np.array(values, dtype=bool))
