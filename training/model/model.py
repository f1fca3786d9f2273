"""A trained model in use: any modalities of objects in, others predicted, drawn or embedded.

model = Model.from_pretrained("run/model", codecs="codecs")
given = model.tokens("legacysurvey", mmu.decode(table))          # or token shards, or any mixture
model.predict("tok_redshift", given).mean()                      # with `.quantile`, `.sample`, `.log_likelihood`
drawn = model.generate("tok_spectrum_desi", given, samples=8)
model.decode("tok_spectrum_desi", drawn.ids[0])
model.embed(given)                                               # (objects, dim)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from mmu.errors import UsageError, unknown
from training import codecs as codecs_of
from training.codecs import ABSENT, Codec
from training.inputs import encoded
from training.modalities import MODALITIES, Modality
from training.model import files
from training.model.anytoany import AnyToAny
from training.model.generate import Decoding, Drawn, cells, generate, likelihood, parts
from training.model.prediction import Prediction
from training.ragged import Cells, ragged, targets

Given = Mapping[str, Any]
"""Modality -> ids (objects, tokens), or survey -> its decoded columns, see `mmu.decode`."""


class Model:
    """An any-to-any model, its codecs and where it runs.

    Args:
        network: its weights.
        codecs: folder of codecs, for arrays in and out; ids can be used without.
        device: "cuda" where there is one, if left out.
    """

    def __init__(self, network: AnyToAny, codecs: str | Path | None = None, device: str | None = None) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.folder = None if codecs is None else Path(codecs)
        self._codecs: dict[str, Codec] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        codecs: str | Path | None = None,
        device: str | None = None,
        compat: str | None = None,
    ) -> Self:
        """Of a folder, or ORG/NAME on the Hub; ours and the published ones.

        Args:
            codecs: folder of codecs; PATH/codecs if left out, where it is there.
            compat: "aion-0.0.2" to predict as the published `AION.forward` does.

        Raises:
            UsageError, FormatError: there is no model, or it is damaged.
        """
        if codecs is None and (Path(path) / "codecs").is_dir():
            codecs = Path(path) / "codecs"
        return cls(files.load(path, compat), codecs, device)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Keys of all that can be given and predicted."""
        return self.network.config.modalities

    def codec(self, key: str) -> Codec:
        """Of a modality.

        Raises:
            UsageError: it is not there.
        """
        row = self._row(key)
        if row.codec not in self._codecs:
            if self.folder is None:
                raise UsageError(f"{key} needs its codec {row.codec!r}: give codecs=, the folder of codecs.")
            self._codecs[row.codec] = codecs_of.load(self.folder / row.codec).to(self.device)
        return self._codecs[row.codec]

    def _row(self, key: str) -> Modality:
        if key not in self.modalities:
            raise unknown("modality of this model", key, self.modalities)
        return MODALITIES[key]

    def tokens(self, survey: str, columns: Mapping[str, Any], batch_size: int = 64) -> dict[str, NDArray[np.int16]]:
        """Ids of all that this model takes and a survey's decoded columns have.

        Raises:
            UsageError: they have nothing of it.
        """
        count = len(next(iter(columns.values()))) if columns else 0
        found = {}
        for key in self.modalities:
            source = MODALITIES[key].source(survey)
            there = self.folder is not None and (self.folder / MODALITIES[key].codec).is_dir()
            if source is not None and there and source.column in columns:
                values = columns[source.column]
                count = len(next(iter(values.values()))) if isinstance(values, dict) else len(values)
                found[key] = encoded(self.codec(key), MODALITIES[key], source, values, count, batch_size)
        if not found:
            raise UsageError(
                f"Of {survey} ({', '.join(columns) or 'no columns'}) nothing can be given to this model, which takes "
                f"{', '.join(self.modalities)}; is codecs= given, and is the survey's name right?"
            )
        return found

    def _given(self, given: Given) -> dict[str, NDArray[np.int16]]:
        """Ids of what is given, one row an object."""
        tokens: dict[str, NDArray[np.int16]] = {}
        for key, values in given.items():
            if isinstance(values, Mapping):
                tokens |= self.tokens(key, values)
            else:
                tokens[key] = self._checked(self._row(key), values)
        counts = {len(ids) for ids in tokens.values()}
        if len(counts) != 1:
            told = ", ".join(f"{key} {len(ids)}" for key, ids in tokens.items()) or "nothing"
            raise UsageError(f"Give something of as many objects each; given: {told}.")
        return tokens

    @staticmethod
    def _checked(row: Modality, values: Any) -> NDArray[np.int16]:
        ids = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
        ids = ids[:, None] if ids.ndim == 1 else ids.reshape(len(ids), -1)
        fits = ids.shape[1] == row.tokens if row.kind == "grid" else ids.shape[1] <= row.tokens
        if not fits or ids.dtype.kind not in "iu":
            raise UsageError(f"{row.key} has {row.tokens} integers an object; given: {ids.dtype} of {ids.shape}.")
        if ids.size and (ids.max() >= row.vocabulary or ids.min() < ABSENT):
            raise UsageError(f"{row.key} has ids 0 to {row.vocabulary - 1}, or -1; given: {ids.min()} to {ids.max()}.")
        return ids.astype(np.int16)

    @torch.inference_mode()
    def embed(
        self, given: Given, pool: Literal["mean", "modality", "none"] = "mean", batch_size: int = 64
    ) -> NDArray[np.float32]:
        """What the model makes of objects, for regressions, searches and classes.

        Args:
            pool: "mean" of an object's tokens; "modality", the mean of each modality's mean, so that the many tokens of
                a spectrum do not drown the one of a redshift; "none", the tokens themselves, by modality and place.

        Returns:
            (objects, dim), or (objects, most tokens, dim) without pooling, NaN where an object has fewer.
        """
        if pool not in ("mean", "modality", "none"):
            raise unknown("pool", pool, ["mean", "modality", "none"])
        found = []
        for some, part in parts(self._given(given), batch_size):
            inputs = ragged(some.stop - some.start, cells(part)).to(self.device)
            lengths = inputs.objects.offsets.diff().tolist()
            rows = torch.split(inputs.rows, lengths)
            encoded_ = torch.split(self.network.encode(inputs).float(), lengths)
            found += [_pooled(vectors, own, pool).cpu().numpy() for vectors, own in zip(encoded_, rows, strict=True)]
        if pool != "none":
            return np.stack(found)
        out = np.full((len(found), max(map(len, found)), found[0].shape[-1]), np.nan, np.float32)
        for index, vectors in enumerate(found):
            out[index, : len(vectors)] = vectors
        return out

    @torch.inference_mode()
    def predict(self, target: str, given: Given, batch_size: int = 64) -> Prediction:
        """The probabilities of every id of a modality, in one pass; its tokens do not know each other.

        Raises:
            UsageError: it is a sequence (see `generate`), or is given.
        """
        row, tokens = self._row(target), self._asked(target, given)
        if row.kind == "sequence":
            raise UsageError(f"{target} is a sequence, whose tokens follow each other: use generate().")
        found = []
        for some, part in parts(tokens, batch_size):
            count = some.stop - some.start
            number, places = (axis.reshape(-1) for axis in np.mgrid[:count, : row.tokens])
            asked = Cells(number, np.full(len(number), row.id), places, np.zeros(len(number), np.int64))
            wanted = targets(count, asked, asked.id).to(self.device)
            inputs = ragged(count, cells(part)).to(self.device)
            hidden = self.network.decode(self.network.encode(inputs), inputs, wanted)
            logits = self.network.logits(hidden, wanted)[target].float().log_softmax(-1)
            found.append(logits.view(count, row.tokens, -1).cpu().numpy())
        known = self.folder is not None and (self.folder / row.codec).is_dir()
        return Prediction(target, np.concatenate(found), self.codec(target).cpu() if known else None)

    def _asked(self, target: str, given: Given) -> dict[str, NDArray[np.int16]]:
        tokens = self._given(given)
        if target in tokens:
            raise UsageError(f"{target} is given and asked for: leave it out of what is given.")
        return tokens

    def generate(
        self,
        target: str,
        given: Given,
        how: Decoding | None = None,
        samples: int = 1,
        seed: int = 0,
        batch_size: int = 64,
    ) -> Drawn:
        """Ids of a modality, drawn some at a time, each given those before.

        Args:
            how: the order, temperature and so on; see `Decoding`.
            samples: of each object.

        Returns:
            Ids (samples, objects, tokens), `ABSENT` after the end of a sequence; log-likelihoods (samples, objects).
        """
        self._row(target)
        tokens = self._asked(target, given)
        count = len(next(iter(tokens.values())))
        repeated = {key: np.tile(ids, (samples, 1)) for key, ids in tokens.items()}
        drawn = [
            generate(self.network, target, part, some.stop - some.start, how or Decoding(), seed + some.start)
            for some, part in parts(repeated, batch_size)
        ]
        ids, likelihoods = (np.concatenate(values) for values in zip(*drawn, strict=True))
        return Drawn(ids.reshape(samples, count, -1), likelihoods.reshape(samples, count))

    def log_likelihood(
        self, target: str, ids: NDArray[Any], given: Given, steps: int = 1, batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Of ids of a grid, (objects,) in nats; with more steps, each few given those before, in a random order."""
        row, tokens = self._row(target), self._asked(target, given)
        wanted = self._checked(row, ids)
        if row.kind == "sequence" or (wanted == ABSENT).any():
            raise UsageError(f"Only grids without gaps have a log-likelihood; {target} is a sequence, or has -1.")
        found = [
            likelihood(self.network, target, wanted[some], part, steps) for some, part in parts(tokens, batch_size)
        ]
        return np.concatenate(found)

    def decode(self, key: str, ids: NDArray[Any], **about: Any) -> Any:
        """What ids stand for, as the codec gives it; `about` is what it needs (bands, wavelengths, ...)."""
        row = self._row(key)
        known = torch.from_numpy(self._checked(row, ids).astype(np.int64)).to(self.device)
        own = torch.where(known == ABSENT, ABSENT, known - row.offset)
        return self.codec(key).to(self.device).decode(own, **about)


def _pooled(vectors: torch.Tensor, rows: torch.Tensor, pool: str) -> torch.Tensor:
    if pool == "none":
        return vectors
    if pool == "mean":
        return vectors.mean(0)
    return torch.stack([vectors[rows == row].mean(0) for row in torch.unique(rows)]).mean(0)
