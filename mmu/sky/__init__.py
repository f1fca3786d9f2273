"""The sky: HEALPix, regions and the partition tree."""

from mmu.sky.partition import Partition, partition_tree
from mmu.sky.region import Region, parse_region

__all__ = ["Partition", "Region", "parse_region", "partition_tree"]
