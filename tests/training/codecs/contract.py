"""What every codec keeps to: a test file's `TestContract(Contract)` names one, small, and inherits all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmu.errors import FormatError, MmuError, UsageError
from training import codecs
from training.codecs import ABSENT, Codec, digest


class Contract:
    """The tests of one codec.

    Attributes:
        kind, config: what it is made of.
    """

    kind: ClassVar[str]
    config: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def arguments(self) -> dict[str, Any]:
        """What to encode: keyword arguments of `encode`, NumPy arrays."""
        raise NotImplementedError

    def nothing(self) -> dict[str, Any]:
        """The same, where the first object has nothing that could be encoded."""
        raise NotImplementedError

    def wrong(self) -> dict[str, Any]:
        """Arguments that must be refused: shapes that do not agree, ..."""
        raise NotImplementedError

    def fitted(self, codec: Codec) -> None:
        """Make a fresh codec ready to encode."""

    @pytest.fixture(scope="class")
    @classmethod
    def codec(cls) -> Codec:
        """One, with some weights."""
        torch.manual_seed(1)
        made = codecs.make(cls.kind, **cls.config).eval()
        with torch.no_grad():
            for values in made.parameters():
                values.add_(0.05 * torch.randn_like(values))
        cls().fitted(made)
        return made

    @staticmethod
    def first(decoded: Any) -> Tensor:
        """The first array of what was decoded."""
        parts = tuple(decoded.values()) if isinstance(decoded, dict) else decoded
        found: Tensor = decoded if isinstance(decoded, Tensor) else parts[0]
        return found

    def test_ids_are_of_the_vocabulary_and_of_the_shape_it_says(self, codec: Codec) -> None:
        given = self.arguments()
        ids = codec.encode(**given)
        shape = np.shape(next(iter(given.values())))
        assert ids.dtype == torch.int32
        assert ids.shape == (shape[0], int(np.prod(codec.tokens(shape[1:]))))
        assert int(ids.min()) >= ABSENT
        assert int(ids.max()) < codec.vocabulary

    def test_encoding_is_repeatable_and_leaves_its_input_as_it_is(self, codec: Codec) -> None:
        given = self.arguments()
        kept = {name: np.array(values) for name, values in given.items()}
        first = codec.encode(**given)
        for name, values in kept.items():
            np.testing.assert_array_equal(given[name], values)
        assert torch.equal(codec.encode(**given), first)

    def test_arrays_that_cannot_be_written_and_tensors_give_the_same(self, codec: Codec) -> None:
        given = self.arguments()
        first = codec.encode(**given)
        frozen = {name: np.array(values) for name, values in given.items()}
        for values in frozen.values():
            if values.dtype.kind != "U":
                values.flags.writeable = False
        assert torch.equal(
            codec.encode(**{k: v if v.dtype.kind != "U" else v.tolist() for k, v in frozen.items()}), first
        )
        tensors = {k: torch.tensor(v) if np.asarray(v).dtype.kind != "U" else v for k, v in given.items()}
        assert torch.equal(codec.encode(**tensors), first)

    def test_an_object_does_not_depend_on_its_neighbours(self, codec: Codec) -> None:
        given = self.arguments()
        count = len(next(iter(given.values())))
        last = {k: v[1:] if np.asarray(v).dtype.kind != "U" and len(v) == count else v for k, v in given.items()}
        assert torch.equal(codec.encode(**last), codec.encode(**given)[1:])

    def test_what_is_absent_has_no_code_and_decodes_to_nan(self, codec: Codec) -> None:
        ids = codec.encode(**self.nothing())
        assert (ids[0] == ABSENT).all()
        assert (ids[1] != ABSENT).any()
        decoded = self.first(codec.decode(ids))
        assert torch.isnan(decoded[0]).all()
        assert torch.isfinite(decoded[1]).any()

    def test_wrong_input_is_refused_in_words(self, codec: Codec) -> None:
        with pytest.raises(UsageError):
            codec.encode(**self.wrong())

    def test_saved_and_loaded_it_gives_the_same(self, codec: Codec, tmp_path: Path) -> None:
        codec.trained = {"objects": 3}
        codec.save(tmp_path / "one")
        again = codecs.load(tmp_path / "one")
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["config.json", "model.safetensors"]
        assert type(again) is type(codec)
        assert again.trained == {"objects": 3}
        ids = codec.encode(**self.arguments())
        assert torch.equal(again.encode(**self.arguments()), ids)
        assert torch.equal(self.first(again.decode(ids)).nan_to_num(), self.first(codec.decode(ids)).nan_to_num())
        again.trained = {"objects": 4}
        again.save(tmp_path / "two")
        assert digest(tmp_path / "one") == digest(tmp_path / "two")
        assert all(torch.isfinite(v).all() for v in load_file(tmp_path / "one" / "model.safetensors").values())

    def test_other_weights_have_another_digest(self, codec: Codec, tmp_path: Path) -> None:
        codec.save(tmp_path / "one")
        other = codecs.load(tmp_path / "one")
        with torch.no_grad():
            next(values for values in other.state_dict().values() if values.is_floating_point()).add_(1)
        other.save(tmp_path / "two")
        assert digest(tmp_path / "one") != digest(tmp_path / "two")

    def test_damaged_files_are_refused_in_words(self, codec: Codec, tmp_path: Path) -> None:
        codec.save(tmp_path)
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-7])
        with pytest.raises(FormatError, match="safetensors"):
            codecs.load(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(FormatError, match="which kind"):
            codecs.load(tmp_path)
        (tmp_path / "config.json").unlink()
        with pytest.raises(MmuError, match="holds no codec"):
            codecs.load(tmp_path)
