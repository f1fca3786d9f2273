"""What a build writes, and what reads it back: Parquet shards, HATS catalogue files, the dataset card, HDF5."""
