"""Batches of the same objects as several surveys saw them."""
