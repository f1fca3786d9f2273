"""How help reads: a verb is told in one line, options stand in panels, examples come last."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

# Panels of options, where a verb has many; those without a panel come first.
SELECTION = "Which objects"
RAW_FILES = "Raw files"
MATCHING = "What is a match"
WRITING = "What is written"
BATCHES = "Batches"
RUNNING = "How it runs"
SHELL = "Completion in your shell"


class Verb(TyperCommand):
    """A verb. Its function's docstring is a line that says what it does, more words if need be, and its examples.

    Examples are the last paragraph: a line with a backspace (`\\b`) and then one command a line, of at most 78 letters.

    Attributes:
        examples: the command lines.
    """

    def __init__(self, *args: Any, help: str | None = None, epilog: str | None = None, **options: Any) -> None:
        words, _, lines = inspect.cleandoc(help or "").partition("\n\n\b\n")
        self.examples = tuple(lines.splitlines())
        shown = "\n".join(["[bold]Examples[/bold]", *map(escape, self.examples)]) if lines else None
        super().__init__(*args, help=words, epilog=epilog or shown, **options)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, tidied."""
        return _tidied(super().get_params(ctx))


class Group(TyperGroup):
    """All verbs."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of `mmu` itself, tidied."""
        return _tidied(super().get_params(ctx))


class App(typer.Typer):
    """An application whose commands are a `Verb` each, unless they say otherwise."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a verb."""
        return super().command(name, cls=cls or Verb, **options)


def _tidied(params: Sequence[Any]) -> list[Any]:
    """A switch takes no value, so none is shown; what is typer's own stands apart."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        if param.name in ("install_completion", "show_completion"):
            param.rich_help_panel = SHELL
    return list(params)
