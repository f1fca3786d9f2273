"""`mmu status`: how far is it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from mmu.build.status import Status


def status(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The --out of a build, or a dataset in it.")],
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Say how far a build is, what failed, and why.

    Reads the build's folder only, so it can be asked at any time, from any
    machine that sees the disk.

    \b
    mmu status data
    mmu status data/desi --json
    """
    from mmu.build.status import status as read
    from mmu.build.status import summaries

    states = read(path)
    if as_json:
        typer.echo(json.dumps(summaries(states), indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for state in states:
        console.print("\n".join(words(state)), markup=False)


def words(state: Status) -> list[str]:
    """What a person wants to know of one release, in lines."""
    from mmu.build.progress import human_bytes, human_time

    heads = {
        "running": f"running: {state.who}",
        "stopped": "stopped before its end; run the same command to go on",
        "partial": "finished, but something is missing; run the same command to try it again",
        "done": "done",
        "damaged": f"damaged: {state.problem}",
    }
    lines = [f"{state.release}: {heads[state.state]}"]
    if state.state == "damaged":
        return lines
    if not state.units[1] and not state.objects[1]:
        return [*lines, "  planning: the catalogues are being read"] if state.state == "running" else lines
    (units, of_units), (objects, of_objects), (shards, of_shards) = state.units, state.objects, state.shards
    lines.append(
        f"  {units:,} of {of_units:,} units, {objects:,} of {of_objects:,} objects, {shards:,} of {of_shards:,} shards"
    )
    pace = [f"{human_bytes(state.bytes)} of raw files read"] if state.bytes else []
    pace += [f"{state.rate * 60:,.0f} units a minute"] if state.rate else []
    pace += [f"about {human_time(state.eta_s)} left"] if state.eta_s is not None else []
    pace += [f"last settled {human_time(state.idle_s)} ago"] if state.idle_s is not None else []
    lines += [f"  {', '.join(pace)}"] if pace else []
    lines += [f"  {state.absent:,} catalogues could not be had"] if state.absent else []
    for reason, count in state.failed.items():
        what = "objects" if state.state == "partial" else "units"
        lines.append(f"  failed {count:,} {what}: {reason}")
    lines += [f"    for example: {why}" for why in list(state.example.values())[:3]]
    return lines
