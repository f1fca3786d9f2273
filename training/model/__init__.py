"""The any-to-any model; `Model` is what is used."""

from training.model.model import Model

__all__ = ["Model"]
