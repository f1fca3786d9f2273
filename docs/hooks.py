"""What the site has besides docs/: texts of the repository, and the page of the command line, made when it is built.

Links are written as they work on the code host, from file to file of the repository; here they become the site's.
Files of the repository that a page links to are put on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "build_scripts/README.md": "job-scripts.md",
}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the texts, the command line's page, and the files that any page links to."""
    for source, uri in TEXTS.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "command-line.md", content=command_line()))
    for page in [file for file in files if file.is_documentation_page()]:
        for target in _LINK.findall(page.content_string):
            path = _repository_path(page.src_uri, target)
            if (ROOT / path).is_file() and files.get_file_from_path(_site_path(path)) is None:
                files.append(File.generated(config, _site_path(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links of the site."""
    here = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        path = _repository_path(here, found[1])
        return (
            posixpath.relpath(_site_path(path), posixpath.dirname(here) or ".") if (ROOT / path).exists() else found[1]
        )

    return _LINK.sub(moved, markdown)


def _repository_path(uri: str, target: str) -> str:
    """The file of the repository that a link on the page `uri` means."""
    source = {made: text for text, made in TEXTS.items()}.get(uri, f"docs/{uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _site_path(path: str) -> str:
    """Where the site has a file of the repository."""
    return TEXTS.get(path, path.removeprefix("docs/"))


def command_line() -> str:
    """Every verb with its arguments, options and examples, from what typer knows of them."""
    import typer.main

    from mmu.cli import app

    group: Any = typer.main.get_command(app)
    context = group.make_context("mmu", [], resilient_parsing=True)
    parts = ["# Command line", group.help, *_options(group, context), "## Completion", COMPLETION]
    for name, verb in group.commands.items():
        inner = verb.make_context(name, [], parent=context, resilient_parsing=True)
        parts += [f"## mmu {name}", verb.help.replace("\b\n", ""), _block("text", verb.get_usage(inner))]
        parts += [*_options(verb, inner), _block("sh", "\n".join(verb.examples))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


COMPLETION = """
`mmu --install-completion` teaches your shell (bash, zsh, fish, PowerShell) to complete verbs, options, surveys,
releases and the datasets under `MMU_DATA`; `mmu --show-completion` prints what it would install. Open a new shell
afterwards.
"""


def _block(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```"


def _options(verb: Any, context: Any) -> list[str]:
    """A table for each panel of its arguments and options, in the order of the help."""
    panels: dict[str, list[str]] = {}
    for param in verb.get_params(context):
        record = param.get_help_record(context)
        if record is not None:
            panel = getattr(param, "rich_help_panel", None) or ""
            name, words = (text.replace("|", "\\|").strip() for text in record)
            panels.setdefault(panel, []).append(f"| `{name}` | {words} |")
    plain = panels.pop("", [])
    return [
        "\n".join([f"| {panel} | |", "|---|---|", *rows])
        for panel, rows in {"Arguments and options": plain, **panels}.items()
    ]
