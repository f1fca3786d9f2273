"""Multimodal Universe v1 trees, as they were published: HDF5 files below `healpix=P` folders, opened as datasets."""

from mmu.v1.dataset import V1Dataset, open_v1
from mmu.v1.tree import is_v1

__all__ = ["V1Dataset", "is_v1", "open_v1"]
