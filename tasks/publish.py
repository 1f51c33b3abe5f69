"""Publishing as a Prefect task, which shows on the run's page what was found and what changed."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from sluiceway.core.errors import PublicationRefused
from sluiceway.core.publish.audit import Audit
from sluiceway.core.publish.publication import Publication, publish, review
from sluiceway.core.publish.snapshot import Published
from sluiceway.core.remote.clock import SystemClock

_SHOWN = 50


@task(cache_policy=NO_CACHE)
def review_snapshot(wish: Publication) -> Audit:
    """Audit a release without publishing it, and show what was found."""
    audit = review(wish)
    lines = [f"| {each.severity} | `{each.code}` | {each.said} | {each.n} |" for each in audit.findings[:_SHOWN]]
    table = ["| | finding | what | how many |", "|---|---|---|---|", *lines]
    told = f"{audit.coverage:.1%} of the catalogue's scores were scored. {len(audit.blocking)} findings block."
    text = "\n".join(["# Audit of the release", "", told, "", *table, ""])
    create_markdown_artifact(text, key="publication-audit", description="What was found before publishing")
    return audit


@task(cache_policy=NO_CACHE)
def publish_snapshot(wish: Publication) -> list[Published]:
    """Audit a release, and publish it where nothing blocks; PublicationRefused lists what does."""
    try:
        published = publish(wish, clock=SystemClock())
    except PublicationRefused as error:
        _show(["# Nothing was published", "", *(f"- {each}" for each in error.findings)])
        raise
    _show(["# Published", "", *(line for each in published for line in _about(each))])
    return published


def _about(published: Published) -> list[str]:
    """Tell of one data set."""
    state = "is new" if published.is_new else "was there already; nothing changed"
    partial = ", partial" if published.is_partial else ""
    commit = "" if published.commit is None else f"; on the hub it is commit `{published.commit}`"
    told = f"**{published.dataset}**, version {published.number}{partial}, {state}: `{published.folder}`{commit}"
    return [told, "", *(f"- `{path}`" for path in published.changed[:_SHOWN]), ""]


def _show(lines: list[str]) -> None:
    text = "\n".join([*lines, ""])
    create_markdown_artifact(text, key="publication", description="Which data sets were published, and what changed")
