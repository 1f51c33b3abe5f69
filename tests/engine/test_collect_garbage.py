"""The flow that collects garbage: a dry run by default, and a page that tells what went."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from sluiceway.core.events import ROOT as EVENTS
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.store.homes import store_here
from sluiceway.flows.collect_garbage import collect_garbage
from tests.conftest import User
from tests.core.store.kept import tree


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    log = logging.getLogger(EVENTS)
    before = log.handlers[:], log.propagate
    yield
    log.handlers[:], log.propagate = before


def test_the_flow_tells_first_and_collects_when_it_is_told_to(user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    store = store_here(SystemClock())
    digest = store.put(tree(user.folder)).digest
    shutil.rmtree(user.folder / "output")
    assert collect_garbage(grace=timedelta()).trashed == (digest,)
    assert store.verified(digest) is not None
    assert collect_garbage(grace=timedelta(), do=True).trashed == (digest,)
    assert store.verified(digest) is None
    with get_client(sync_client=True) as client:
        pages = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["garbage"])))
    assert all(f"| to the trash | `{digest}` |" in str(each.data) for each in pages)
    assert len(pages) == 2
