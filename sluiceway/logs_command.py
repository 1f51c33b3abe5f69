"""`sluiceway logs`: what a run, or each element of an array, has printed, and goes on to print."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway import resource_options as asks
from sluiceway.core.report import console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.run import Heard, Runs


def logs(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run, or the beginning of its name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
    element: Annotated[int | None, typer.Option("--element", min=0, help="This element of an array alone.")] = None,
) -> None:
    """Print what the latest attempt at a run has printed; each line of an array begins with its element's number."""
    from sluiceway.core.runs import listing
    from sluiceway.core.runs.hosts import runs_here

    runs = runs_here()
    attempt, where = listing.attempt_of(runs, name)
    wanted = _wanted(attempt, element)
    if follow:
        asyncio.run(_follow(runs, attempt, where, wanted))
        return
    asyncio.run(_bring_logs(runs, attempt, where, wanted))
    # Of one element, as of a run that is no array, exactly what was printed.
    marks = {index: b"" if element is not None else b"[%d] " % index for index in wanted or ()}
    folders = [(attempt.element(index), marks[index]) for index in wanted or ()] or [(attempt, b"")]
    for folder, mark in folders:
        for path, stream in ((folder.stdout, sys.stdout), (folder.stderr, sys.stderr)):
            _print_file(Path(path), stream.buffer, mark)


def show(heard: Heard, lines_to: Any) -> None:
    """Print what a job says: its lines where they belong, all else as a remark."""
    from sluiceway.core.runs.host import Waiting
    from sluiceway.core.runs.run import Line

    if isinstance(heard, Line):
        print(heard.text, file=lines_to if heard.stream == "stdout" else sys.stderr, flush=True)
    else:
        told = f"waiting: {heard.reason}" if isinstance(heard, Waiting) else str(heard)
        text = told.encode("utf-8", "replace").decode()
        console.for_remarks().print(text, markup=False, emoji=False, soft_wrap=True)


def _wanted(attempt: AttemptFolder, element: int | None) -> list[int] | None:
    """Give the elements that are asked for; none where the run is no array."""
    from sluiceway.core.errors import RunUnknown
    from sluiceway.core.runs.array import elements_of

    n_elements = len(elements_of(attempt))
    if element is None:
        return list(range(n_elements)) or None
    if element >= n_elements:
        has = f"elements 0 to {n_elements - 1}" if n_elements else "no elements: it is no array"
        raise RunUnknown(name=f"element {element} of {attempt.run.run_id}", reason=f"it has {has}")
    return [element]


def _print_file(path: Path, out: Any, mark: bytes) -> None:
    if path.is_file():
        with path.open("rb") as file:
            out.writelines(mark + line for line in _lines(file, whole=bool(mark)))
        out.flush()


def _lines(file: Any, *, whole: bool) -> Iterator[bytes]:
    """Give a file's lines; where others follow, the last one has an end as well."""
    for line in file:
        yield line if line.endswith(b"\n") or not whole else line + b"\n"


async def _follow(runs: Runs, attempt: AttemptFolder, where: str, wanted: list[int] | None) -> None:
    from sluiceway.core.runs import place, run
    from sluiceway.core.runs.hosts import array_host_at
    from sluiceway.core.slurm.job import Ending

    async with array_host_at(place.parse(where), runs, find=asks.cluster) as host:
        job = await host.find(attempt)
        if job is None:
            return
        if wanted is not None:
            async for heard in _heard_of(host.follow_elements(attempt, job), wanted):
                show(heard, sys.stdout)
            return
        async for each in run.follow(attempt, job, host=host):
            if not isinstance(each, Ending):
                show(each, sys.stdout)


async def _heard_of(elements: AsyncIterator[Any], wanted: list[int]) -> AsyncIterator[Heard]:
    """Give what these elements say; where there are several, each line begins with its element's number."""
    from sluiceway.core.runs.run import Ear, Line

    ears = {index: Ear() for index in wanted}
    async for index, seen in elements:
        for heard in ears[index].hear(seen) if index in ears else ():
            if isinstance(heard, Line) and len(wanted) > 1:
                yield replace(heard, text=f"[{index}] {heard.text}")
            else:
                yield heard


async def _bring_logs(runs: Runs, attempt: AttemptFolder, where: str, wanted: list[int] | None) -> None:
    """Bring what an attempt has printed so far, unless all of it is here."""
    from sluiceway.core.runs import place
    from sluiceway.core.runs.hosts import array_host_at

    receipt = runs.receipt(attempt.run)
    is_here = receipt is not None and receipt.attempt == attempt.number and wanted is None
    if where == "local" or is_here:
        return
    async with array_host_at(place.parse(where), runs, find=asks.cluster) as host:
        if wanted is not None and len(wanted) > 1:
            folders = [attempt.element(index) for index in wanted]
            names = [log.relative_to(attempt.path) for each in folders for log in (each.stdout, each.stderr)]
            await host.fetch_all(attempt, dict.fromkeys(names))
            return
        folder = attempt if wanted is None else attempt.element(wanted[0])
        for log in (folder.stdout, folder.stderr):
            await host.fetch(folder, log.relative_to(folder.path))
