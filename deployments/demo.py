"""`sluiceway demo`: the main job on small data, seen in Prefect's own pages.

The main job, reference scoring, is not there yet. Until it is, the demo runs a small script through a Prefect flow,
says so, and says where the result is.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from sluiceway.core import settings
from sluiceway.core.report import console

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = ["1", "2", "3", "36"]


async def run_demo(*, headless: bool) -> Path:
    """Run the demo and give the file with its result; without `headless`, Prefect's pages show it meanwhile."""
    _end_well_when_told_to_end()
    chosen = settings.load()
    out = chosen.output_dir.absolute() / "demo"
    async with AsyncExitStack() as stack:
        if settings.Foreign().prefect_api_url is None:
            await _serve(stack, home=chosen.home / "prefect", headless=headless)
        with as_file(files("sluiceway.deployments") / "demo.sh") as script:
            result = await _run(script, out)
        console.for_results().print(_report(result))
        if not headless and sys.stdin.isatty():
            console.for_remarks().input("Press Enter to stop the server.")
    return result


async def _serve(stack: AsyncExitStack, *, home: Path, headless: bool) -> None:
    # Prefect takes a second to import; only those who need it wait for it.
    from sluiceway.deployments import server  # noqa: PLC0415

    url = server.address()
    console.for_results().print(f"Prefect: {url}")
    await stack.enter_async_context(server.running(url, home=home, pages=not headless))


def _end_well_when_told_to_end() -> None:
    """Take a server down on SIGTERM and SIGHUP too, as on Ctrl-C: it is no child that would go by itself."""
    task = asyncio.current_task()
    if task is not None:
        for told in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(told, task.cancel)


async def _run(script: Path, out: Path) -> Path:
    from sluiceway.flows.run_script import run_script  # noqa: PLC0415

    return await run_script(script, _NUMBERS, out)


def _report(result: Path) -> str:
    return (
        f"The demo's script ran as a Prefect flow. It printed:\n\n{result.read_text()}\n"
        f"Result: {result}\n"
        "Reference scoring, the main job, is not there yet; this shows only that the set-up works."
    )
