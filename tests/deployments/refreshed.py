"""An `up` of a test whose catalogue is on this machine, and a refresh there that hangs until it is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun

from tests.deployments.runs import PATIENCE, asked_for, is_running, until
from tests.deployments.upped import Up
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import Invented, file_name

DEPLOYMENT = "refresh-catalog/refresh"
HANGS_ON = file_name("PGS900005")


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """An `up`, its catalogue, and what a refresh there is asked for."""

    up: Up
    upstream: LoopbackCatalog
    wish: dict[str, Any]

    @property
    def scores(self) -> Path:
        """What a refresh has made when it is done."""
        return self.up.folder / "out" / "own" / "scores.parquet"

    async def in_its_middle(self, client: PrefectClient) -> FlowRun:
        """Give a refresh that waits for the rest of a scoring file."""
        known = await client.read_deployment_by_name(DEPLOYMENT)
        await client.update_deployment(known.id, DeploymentUpdate(parameters={"options": self.wish}))
        self.upstream.stall(HANGS_ON, after=100)
        run = await until(client, await asked_for(client, DEPLOYMENT), is_running)
        async with asyncio.timeout(PATIENCE):
            while not self.upstream.stalled.is_set():
                await asyncio.sleep(0.1)
        return run


@contextmanager
def refreshed(folder: Path, *options: str, **variables: str) -> Iterator[Refreshed]:
    """Give an `up` that refreshes invented scores on an invented panel."""
    invented = Invented.made(folder / "invented")
    user = folder / "user"
    user.mkdir()
    with invented.catalogue().served() as upstream:
        places = {"SLUICEWAY_CATALOG_API": upstream.source.api, "SLUICEWAY_CATALOG_FILES": upstream.source.files}
        up = Up(user, "--no-run", *options, SLUICEWAY_OFFLINE="0", **places, **variables)
        wish = {"panel": str(invented.panel), "out": str(user / "out"), "publish": False}
        try:
            yield Refreshed(up=up.until("Ctrl-C ends it"), upstream=upstream, wish=wish)
        finally:
            up.wipe()
