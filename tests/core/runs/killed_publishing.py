"""A program that publishes to a hub, and is killed with SIGKILL, each time in folders and data sets of its own.

It can die before each step of publishing, before each question to the hub, after each answer, and before each rename.
The name of each place of death is printed with its number.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from sluiceway.core.catalog.refreshed import Account
from sluiceway.core.publish.hub import HubDataset
from sluiceway.core.publish.snapshot import Snapshots
from sluiceway.core.runs.refresh import CatalogRefresh
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_hub import LoopbackHub
from tests.refreshing import Site

STEPS: list[tuple[Any, str]] = [
    (HubDataset, "look"),
    (Snapshots, "publish"),
    (HubDataset, "commit"),
    (CatalogRefresh, "published"),
    (Account, "write"),
    (os, "rename"),
    (os, "replace"),
]


def own_sets(number: int) -> dict[str, str]:
    """The data sets of one that is killed."""
    return {"distributions": f"ada{number}/prs-percentiles", "catalogue": f"ada{number}/pgs-catalog"}


def dies(at: int | str) -> None:
    """Kill this process at a step, by its number or by its name; steps count from when it begins to publish."""
    seen: list[str] = []
    # Files are uploaded by several threads.
    alone = threading.Lock()

    def reached(name: str) -> None:
        with alone:
            seen.append(name)
            told = f"{name} {seen.count(name)}"
            if at in (len(seen), told):
                os.write(1, f"{told}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def before(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **options: Any) -> Any:
            reached(name)
            return call(*args, **options)

        return stepped

    def asked(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(client: httpx2.Client, request: httpx2.Request, **options: Any) -> Any:
            asks = f"{request.method} {request.url.path.split('/')[-2]}"
            reached(f"ask {asks}")
            answer = call(client, request, **options)
            reached(f"hear {asks}")
            return answer

        return stepped

    def armed(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any) -> Any:
            for owner, name in STEPS:
                setattr(owner, name, before(name, getattr(owner, name)))
            setattr(httpx2.Client, "send", asked(httpx2.Client.send))  # noqa: B010 - mypy knows it as a method
            return call(*args)

        return stepped

    setattr(CatalogRefresh, "publish", armed(CatalogRefresh.publish))  # noqa: B010


def main(hub: LoopbackHub, upstream: LoopbackCatalog, panel: Path, folder: Path, *steps: str) -> None:
    """Kill one at each of these steps, or where none are named, one at each that there is."""
    for number, at in enumerate(steps or itertools.count(1)):
        own = folder / str(number)
        shutil.copytree(folder / "scored", own, symlinks=True)
        site = Site(
            upstream=upstream, home=own / "home", cache=own / "cache", out=own / "out", panel=panel,
            options={"publish": True, "panel_name": "made"}, hub=hub.place(**own_sets(number)),
        )  # fmt: skip
        os.write(1, f"{number}\t".encode())
        child = os.fork()
        if child == 0:
            os.environ.update(SLUICEWAY_HOME=str(site.home), SLUICEWAY_CACHE_DIR=str(site.cache))
            dies(at)
            site.run()
            os.write(1, b"survived\n")
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending != -signal.SIGKILL:
            sys.exit(ending)


if __name__ == "__main__":
    main(
        LoopbackHub(base=sys.argv[1]),
        LoopbackCatalog(scores={}, sheets={}, base=sys.argv[2]),
        *map(Path, sys.argv[3:5]),
        *sys.argv[5:],
    )
