"""The any-to-any model: some tokens of an object in, any other of its tokens predicted.

An encoder-decoder as AION-1's (arXiv 2510.17960) and 4M's (Mizrahi et al. 2023). One table holds the vectors of all
modalities' ids, one the modalities', one the heads: no parameter is there twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.modalities import MODALITIES
from training.model import attention
from training.model.blocks import DecoderBlock, EncoderBlock, norm
from training.model.config import ModelConfig
from training.model.places import places
from training.ragged import Batch, Ragged, Targets

SPREAD = 0.02
"""Of fresh vectors of tokens."""


class AnyToAny(nn.Module):
    """Sums of the cross-entropy by modality, of a batch; its parts are there to be used alone.

    Args:
        config: sizes and modalities.
    """

    base: Tensor
    sequence_base: Tensor
    number: Tensor
    place_base: Tensor
    positions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.rows
        sequences = [row for row in rows if row.kind == "sequence"]
        self.vocabularies = [row.vocabulary for row in rows]
        total = sum(self.vocabularies)
        self.tokens = nn.Embedding(total, config.dim)
        self.sequence_tokens = nn.Embedding(sum(row.vocabulary for row in sequences), config.dim)
        self.modality = nn.Embedding(len(rows), config.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_depth))
        self.encoder_norm = norm(config.dim)
        self.decoder_proj_context = nn.Linear(config.dim, config.dim)
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_depth))
        self.decoder_norm = norm(config.dim)
        self.heads = nn.Linear(config.dim, total, bias=False)
        self._look_ups()
        self.initialise()

    def _look_ups(self) -> None:
        """By `Modality.id`: where its ids, its vector and its places are in this model's tables."""
        known = {name: torch.full((len(MODALITIES),), -1) for name in ("base", "sequence_base", "number", "place_base")}
        table, begins = places(self.config)
        first = first_sequence = 0
        for number, row in enumerate(self.config.rows):
            known["base"][row.id], known["number"][row.id] = first, number
            known["place_base"][row.id] = begins[row.key]
            first += row.vocabulary
            if row.kind == "sequence":
                known["sequence_base"][row.id] = first_sequence
                first_sequence += row.vocabulary
        for name, values in {**known, "positions": table}.items():
            self.register_buffer(name, values, persistent=False)

    @torch.no_grad()
    def initialise(self) -> None:
        """Fresh weights: as 4M's; queries, keys and values, and the heads, each by their own size."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                parts = 3 if name.endswith("qkv") else 2 if name.endswith("kv") else 1
                sizes = self.vocabularies if module is self.heads else [len(module.weight) // parts] * parts
                for part in torch.split(module.weight, sizes):
                    bound = math.sqrt(6 / sum(part.shape))
                    part.uniform_(-bound, bound)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(std=SPREAD)
        self.mask_token.normal_(std=SPREAD)

    @property
    def dtype(self) -> torch.dtype:
        """In which products are taken."""
        kind = self.positions.device.type
        if torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        return self.decoder_proj_context.weight.dtype

    def forward(self, batch: Batch) -> Tensor:
        """Sums of the cross-entropy of what is asked for, in nats: (modalities,) in the order of the config."""
        context = self.encode(batch.inputs)
        hidden = self.decode(context, batch.inputs, batch.targets)
        labels = batch.targets.labels[batch.targets.order]
        sums = dict.fromkeys(self.config.modalities, hidden.sum() * 0.0)
        start = 0
        for key, logits in self.logits(hidden, batch.targets).items():
            wanted = labels[start : start + len(logits)]
            sums[key] = functional.cross_entropy(logits.float(), wanted, reduction="sum")
            start += len(logits)
        return torch.stack(list(sums.values()))

    def encode(self, inputs: Ragged) -> Tensor:
        """What the decoder looks at, (tokens, dim): encoded tokens, and again what and where each is."""
        where = self._where(inputs)
        x = self.tokens(inputs.ids + self.base[inputs.rows]) + where
        attend = attention.across(inputs, inputs, self.dtype)
        for block in self.encoder:
            x = block(x, attend)
        context: Tensor = self.decoder_proj_context(self.encoder_norm(x)) + where
        return context

    def decode(self, context: Tensor, inputs: Ragged, targets: Targets) -> Tensor:
        """(targets, dim): what the heads read. A grid's tokens come in as masks, a sequence's as the ones before."""
        x = self._where(targets) + self.mask_token[0].to(context.dtype)
        if targets.causal is not None:
            first = self.sequence_base[targets.rows].clamp(min=0)
            given = self.sequence_tokens(torch.where(targets.causal, targets.ids + first, 0))
            x = torch.where(targets.causal[:, None], self._where(targets) + given, x)
        look = attention.across(targets, inputs, self.dtype)
        attend = self._within(targets)
        for block in self.decoder:
            x = block(x, context, attend, look)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def logits(self, hidden: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Key -> (tokens, vocabulary) of the tokens asked for, in the order of `targets.order`."""
        grouped = torch.split(hidden[targets.order], list(targets.counts.values()))
        heads = dict(zip(self.config.modalities, torch.split(self.heads.weight, self.vocabularies), strict=True))
        return {key: functional.linear(x, heads[key]) for key, x in zip(targets.counts, grouped, strict=True)}

    def _within(self, targets: Targets) -> attention.Attend:
        if self.config.compat is None:
            return attention.within(targets, self.dtype)
        return attention.Average(attention.Rectangle.of(targets.objects, len(targets.ids)))

    def _where(self, tokens: Ragged) -> Tensor:
        """The vectors of modality and place."""
        place = self.positions[self.place_base[tokens.rows] + tokens.places]
        vectors: Tensor = self.modality(self.number[tokens.rows])
        return vectors + place.to(vectors.dtype)
