"""Publishing as a Prefect task, which shows on the run's page what was found and what changed."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from sluiceway.core.publish.publication import Publication, publish
from sluiceway.core.publish.snapshot import Published
from sluiceway.core.remote.clock import SystemClock


@task(cache_policy=NO_CACHE)
def publish_snapshot(wish: Publication) -> list[Published]:
    """Audit a release, and publish it where nothing blocks; PublicationRefused lists what does."""
    return publish(wish, clock=SystemClock())
