"""Publishing as a task: the run's page shows what was found, and what was published or kept back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from sluiceway.core.errors import PublicationRefused
from sluiceway.core.publish.publication import Publication
from sluiceway.tasks.publish import publish_snapshot, review_snapshot
from tests.core.publish.conftest import scenery, wish  # noqa: F401 - fixtures
from tests.core.publish.test_publication import of_scores


async def shown(key: str) -> str:
    artifact = await Artifact.aget(key)
    assert artifact is not None
    return str(artifact.data)


async def test_a_release_is_shown_before_and_after_it_is_published(wish: Callable[..., Publication]) -> None:  # noqa: F811
    wanted = wish()

    @flow
    def release() -> list[str]:
        review_snapshot(wanted)
        return [each.dataset for each in publish_snapshot(wanted)]

    assert release() == ["prs-percentiles", "pgs-catalog"]
    assert "quality_status_failed" in await shown("publication-audit")
    assert "**prs-percentiles**, version 1, is new" in await shown("publication")


async def test_a_release_that_is_kept_back_fails_and_says_why(wish: Callable[..., Publication]) -> None:  # noqa: F811
    wanted = wish(release=of_scores("PGS000007"))

    @flow
    def release() -> None:
        publish_snapshot(wanted)

    with pytest.raises(PublicationRefused, match="1 of 1 scores"):
        release()
    assert "1 of 1 scores of the catalogue are not scored" in await shown("publication")
