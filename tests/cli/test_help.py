"""Help as a person reads it: in 80 columns, every option told, every verb with examples that are commands."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mmu.cli import app

GROUP: Any = typer.main.get_command(app)
VERBS = sorted(GROUP.commands)
INSIDE = 78  # of 80 columns: help has a blank at both sides


def shown(*words: str, columns: int = 80) -> list[str]:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("verb", ["", *VERBS])
@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_too_long(verb: str, columns: int) -> None:
    lines = shown(*verb.split(), columns=columns)
    assert max(map(len, lines)) <= columns
    assert len(lines) > 5


@pytest.mark.parametrize("verb", VERBS)
def test_words_are_not_broken_in_80_columns(verb: str) -> None:
    """A summary is one line, also in the list of verbs; further lines are broken where they were written."""
    summary, *words = GROUP.commands[verb].help.split("\n\n")
    assert any(summary in line for line in shown()), f"`mmu --help` breaks {summary!r}; say it shorter"
    assert any(summary == line.strip() for line in shown(verb))
    assert "\b" not in GROUP.commands[verb].help, "examples are the last paragraph"
    assert all(len(line) <= INSIDE for paragraph in words for line in paragraph.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_told(verb: str) -> None:
    command = GROUP.commands[verb]
    for param in command.get_params(typer.Context(command, info_name=verb)):
        assert param.help, f"{param.name} has no help"
        assert len(param.metavar or "") <= 12, f"the metavar {param.metavar} leaves no room for words"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_parse(verb: str) -> None:
    examples = GROUP.commands[verb].examples
    assert examples, "end the docstring with a paragraph of examples, after a line with \\b"
    lines = [line.strip() for line in shown(verb)]
    for example in examples:
        assert example in lines, f"{example} is broken at {INSIDE} columns"
        program, name, *words = shlex.split(example)
        assert (program, name) == ("mmu", verb)
        GROUP.commands[verb].make_context(verb, words)
