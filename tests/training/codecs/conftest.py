"""Codecs are tested on one thread: the machine's cores are shared, and results must not depend on their number."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
