"""A program that publishes to a hub, and is killed with SIGKILL, each time in folders and data sets of its own.

It can die before each step of publishing, before each question to the hub, after each answer, and before each rename;
where it is not told at which of them, at all that one has that survives. Where each died is printed with its number.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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


def dies(at: str, seen: list[str]) -> None:
    """Kill this process at a step, by its name with how often it was seen, from when it begins to publish."""
    times: Counter[str] = Counter()
    # Files are uploaded by several threads.
    alone = threading.Lock()

    def reached(name: str) -> None:
        with alone:
            times[name] += 1
            seen.append(f"{name} {times[name]}")
            if at == seen[-1]:
                os.write(1, f"{at}\n".encode())
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


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Publishes from homes of its own to data sets of its own."""

    hub: LoopbackHub
    upstream: LoopbackCatalog
    panel: Path
    folder: Path

    def killed_at(self, steps: Iterable[str]) -> None:
        for number, at in enumerate(steps):
            site = self.site(number)
            os.write(1, f"{number}\t".encode())
            child = os.fork()
            if child == 0:
                os.environ.update(SLUICEWAY_HOME=str(site.home), SLUICEWAY_CACHE_DIR=str(site.cache))
                seen: list[str] = []
                dies(at, seen)
                site.run()
                (self.folder / "steps").write_text("\n".join(seen))
                os.write(1, b"survived\n")
                os._exit(0)
            ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if ending not in (0, -signal.SIGKILL):
                sys.exit(ending)

    def site(self, number: int) -> Site:
        own = self.folder / str(number)
        shutil.copytree(self.folder / "scored", own, symlinks=True)
        return Site(
            upstream=self.upstream, home=own / "home", cache=own / "cache", out=own / "out", panel=self.panel,
            options={"publish": True, "panel_name": "made"}, hub=self.hub.place(**own_sets(number)),
        )  # fmt: skip

    def every_step(self) -> Iterator[str]:
        """Let one survive, and give what it went through."""
        yield "never"
        yield from (self.folder / "steps").read_text().splitlines()


def main(hub: str, upstream: str, panel: Path, folder: Path, *steps: str) -> None:
    served = LoopbackHub(base=hub), LoopbackCatalog(scores={}, sheets={}, base=upstream)
    publisher = Publisher(hub=served[0], upstream=served[1], panel=panel, folder=folder)
    publisher.killed_at(steps or publisher.every_step())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:])
