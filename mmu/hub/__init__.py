"""Datasets on the Hugging Face Hub: what of a folder belongs there, and how it gets there."""
