"""The command line: one file a verb, each a thin layer over a function anyone can call."""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console

from mmu.cli import (
    build,
    card,
    cite,
    convert,
    crossmatch,
    demo,
    fetch,
    info,
    publish,
    report,
    show,
    simulate,
    sky,
    status,
    stream,
    surveys,
    tokenize,
    verify,
)
from mmu.cli.help import App, Group
from mmu.cli.options import SupplyCommand
from mmu.errors import MmuError

app = App(
    name="mmu",
    cls=Group,
    help="Turn the great sky surveys into verified, sky-partitioned datasets a model can learn from.",
    epilog="[bold]Examples[/bold]\n"
    "mmu list\nmmu build desi --source simulated --max-objects 60 --out data\nmmu status data",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("build", cls=SupplyCommand)(build.build)
app.command("fetch")(fetch.fetch)
app.command("convert")(convert.convert)
app.command("crossmatch")(crossmatch.crossmatch)
app.command("stream")(stream.stream)
app.command("tokenize")(tokenize.tokenize)
app.command("status")(status.status)
app.command("verify")(verify.verify)
app.command("publish")(publish.publish)
app.command("info")(info.info)
app.command("report")(report.report)
app.command("show")(show.show)
app.command("sky")(sky.sky)
app.command("cite")(cite.cite)
app.command("card")(card.card)
app.command("list")(surveys.surveys)
app.command("simulate")(simulate.simulate)
app.command("demo")(demo.demo)


@app.callback()
def common(verbose: bool = typer.Option(False, "--verbose", "-v", help="Tell more of what happens.")) -> None:
    """Set up logging for every verb."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("mmu").setLevel(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run a verb; an error of ours is one sentence and its exit code (1 partial or failed, 2 usage)."""
    try:
        app()
    except MmuError as problem:
        _say(str(problem))
        sys.exit(problem.exit_code)
    except OSError as problem:
        where = f" {problem.filename}" if problem.filename else ""
        _say(
            f"the system refused{where}: {problem.strerror or problem}; make room or mend it, and run the same command."
        )
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns an interrupt into exit code 130
        code = end.code if isinstance(end, SystemExit) else 130
        if code == 130:
            _say("stopped; run the same command to go on.")
        sys.exit(code)


def _say(words: str) -> None:
    words = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in words)  # it may quote an archive
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"mmu: {words}", style="red", markup=False)
