"""Verifying as a flow: what is sound completes; damage fails the run, stands on its page, and is told as an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from sluiceway.core.errors import VerificationFailed
from sluiceway.core.events import ROOT as EVENTS
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.remote.clock import SystemClock
from sluiceway.flows.verify import verify
from tests.conftest import User


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


@pytest.fixture
def output(user: User) -> Path:
    """An output that was sealed in the folder where results go by default."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    output = user.folder / "data" / "output" / "kept"
    output.mkdir(parents=True)
    (output / "table.txt").write_text("as it was")
    seal(Manifest(output_id="kept", ending=Ending(status="ok", exit_code=0)), output, ledger=ledger_here(SystemClock()))
    return output


def failures(since: str) -> list[dict[str, Any]]:
    """The events of failed verification that the server has of this output."""
    with get_client(sync_client=True) as client:
        wanted = {"filter": {"event": {"name": ["verify.failed"]}}, "limit": 50}
        told: list[dict[str, Any]] = client.request("POST", "/events/filter", json=wanted).json()["events"]
    return [each for each in told if since in each["resource"]["prefect.resource.id"]]


def test_what_is_as_it_was_sealed_completes_and_says_how_much_that_was(output: Path) -> None:
    verdict = verify()
    assert (verdict.outputs, verdict.findings) == ((Path("data/output/kept"),), ())


async def test_damage_fails_the_run_and_is_an_event_that_automations_can_wait_for(output: Path) -> None:
    (output / "table.txt").write_text("as it is")
    with pytest.raises(VerificationFailed, match=r"table\.txt"):
        await asyncio.to_thread(verify, [output])
    async with asyncio.timeout(30):
        while not (told := await asyncio.to_thread(failures, str(output))):
            await asyncio.sleep(0.2)
    assert told[0]["payload"]["flaw"] == "tampered_data"
    assert "prefect.flow-run." in str(told[0]["related"])
    async with get_client() as client:
        pages = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["verify"])))
    assert any("table.txt" in str(each.data) for each in pages)
