"""`sluiceway status`, `verify` and `explain`: what is known of outputs, whether it is true, and what changed since."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.provenance.ledger import Ledger
    from sluiceway.core.provenance.statcache import StatCache
    from sluiceway.core.provenance.status import OutputStatus

_PATHS = typer.Argument(help="Outputs, or folders of them; by default the folder where results go.")
_JSON = typer.Option("--json", help="Print JSON instead of lines.")


def status(
    paths: Annotated[list[Path] | None, _PATHS] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look at manifests alone; read no output.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every file, whatever is known of it.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell of each output whether it is ok, stale, missing, damaged, failed or running; exits with 1 if not all are."""
    from sluiceway.core.provenance.explain import Now
    from sluiceway.core.provenance.outputs import outputs_in
    from sluiceway.core.provenance.status import Effort, Status, begun_below, statuses

    if quick and full:
        raise typer.BadParameter("choose one of --quick and --full")
    effort = Effort.QUICK if quick else Effort.FULL if full else Effort.USUAL
    with _here() as (ledger, cache):
        history = ledger.history()
        now = Now(cache=cache)
        running = _running()
        outputs = list(outputs_in(_chosen(paths)))
        outputs += begun_below(_chosen(paths), outputs, running)
        found = statuses(outputs, history=history, now=now, effort=effort, running=running)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
    else:
        _print(found)
    if not all(each.status in {Status.OK, Status.ALIAS} for each in found):
        raise typer.Exit(1)


def verify(
    paths: Annotated[list[Path] | None, _PATHS] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Read only what changed since it was last read.")] = False,
    chain: Annotated[bool, typer.Option("--chain", help="Follow inputs, and insist on the ledger.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Compare outputs with their manifests byte by byte, and these with the ledger; exits with 1 if any differs."""
    from sluiceway.core.provenance.outputs import outputs_in
    from sluiceway.core.provenance.verify import Depth
    from sluiceway.core.provenance.verify import verify as look

    if fast and chain:
        raise typer.BadParameter("choose one of --fast and --chain")
    depth = Depth.FAST if fast else Depth.CHAIN if chain else Depth.FULL
    with _here() as (ledger, cache):
        verdict = look(outputs_in(_chosen(paths)), ledger=ledger, cache=cache, depth=depth)
    if as_json:
        typer.echo(json.dumps({"depth": depth, "sound": not verdict.findings, **asdict(verdict)}, default=str))
    else:
        for finding in verdict.findings:
            typer.echo(str(finding))
        typer.echo(
            f"{len(verdict.outputs)} outputs, {len(verdict.findings)} findings; head of the ledger: {verdict.head}"
        )
    verdict.require_sound()


def explain(
    path: Annotated[Path, typer.Argument(help="An output.")],
    against: Annotated[Path | None, typer.Option("--against", help="Compare with this output instead of now.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell which fields of an output's manifest differ from what they would be now; exits with 1 if any does."""
    from sluiceway.core.provenance import explain as explaining
    from sluiceway.core.provenance import manifest as manifests

    recorded = manifests.read(manifests.path_of(path))
    with _here() as (_, cache):
        if against is not None:
            other = manifests.read(manifests.path_of(against))
        else:
            other = explaining.Now(cache=cache).of(recorded, path)
    reasons = explaining.reasons(recorded, other)
    unseen = () if against is not None else explaining.unseen(recorded, path)
    if as_json:
        typer.echo(json.dumps({"reasons": [asdict(each) for each in reasons], "unseen": unseen}))
    else:
        for reason in reasons:
            typer.echo(str(reason))
        if unseen:
            typer.echo(f"cannot be seen from here: {', '.join(unseen)}")
        if not reasons:
            typer.echo("nothing differs")
    if reasons:
        raise typer.Exit(1)


def _running() -> dict[str, str]:
    from sluiceway.core import settings
    from sluiceway.core.registry.home import has_registry
    from sluiceway.core.registry.in_file import running_in_file

    home = settings.load().home
    known = running_in_file(home) if has_registry(home) else {}
    if known is not None:
        return known
    from sluiceway.core.registry.running import running_in

    return running_in(home)


def _chosen(paths: list[Path] | None) -> list[Path]:
    from sluiceway.core import settings

    output_dir = settings.load().output_dir
    return paths or ([output_dir] if output_dir.is_dir() else [])


@contextmanager
def _here() -> Iterator[tuple[Ledger, StatCache]]:
    from sluiceway.core.provenance.ledger import ledger_here
    from sluiceway.core.provenance.statcache import cache_here
    from sluiceway.core.remote.clock import SystemClock

    clock = SystemClock()
    with cache_here(clock) as cache:
        yield ledger_here(clock), cache


def _print(found: list[OutputStatus]) -> None:
    from sluiceway.core.provenance.tree import text_of

    lines = []
    for each in found:
        target = f" -> {text_of(each.target)}" if each.target is not None else ""
        lines.append(f"{each.status}\t{text_of(each.output)}{target}")
        lines += [f"\t{why}" for why in each.why]
    counted: Any = Counter(each.status for each in found)
    lines.append(", ".join(f"{n} {word}" for word, n in counted.items()) or "no outputs")
    # Each call writes at once, and there may be ten thousand lines.
    typer.echo("\n".join(lines))
