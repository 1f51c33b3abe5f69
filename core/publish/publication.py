"""A release of the published data sets: made from results, looked at, and published only where nothing blocks.

The tables are made anew from the folders of results, which nothing here writes to, so that publishing twice is the same
as publishing once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluiceway.core.publish.audit import Rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluiceway.core.catalog.release import Release
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.publish.audit import Audit
    from sluiceway.core.publish.hub import HubPlace
    from sluiceway.core.publish.snapshot import Published
    from sluiceway.core.remote.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is published, and where.

    Attributes:
        name: The panel's name in the names of files, such as 1000g or hgdp_1kg.
        panel: The panel, as it was scored.
        results: The folder of results by the policy just-prs.
        own: The folder of results by our own policy, for the tables v2; none leaves them out.
        release: What the catalogue has, which the results should be complete against; none asks nothing.
        home: Where the catalogue's metadata and the tables of its scores lie.
        folder: The data sets are published below it, each in a folder of its name.
        unscorable: Scores of which it is known that nothing can be computed; they are not missed.
        canaries: A table of people with known scores: sample, superpopulation, pgs_id, sum, match_rate.
        rules: What is let pass.
        hub: The hub, where to publish there, too.
        scoring_files: Whether the catalogue's data set has the scoring files.
    """

    name: str
    panel: Panel
    results: Path
    own: Path | None = None
    release: Release | None = None
    home: Path
    folder: Path
    unscorable: frozenset[str] = frozenset()
    canaries: Path | None = None
    rules: Rules = field(default_factory=Rules)
    hub: HubPlace | None = None
    scoring_files: bool = True


def review(wish: Publication) -> Audit:
    """Make the data sets and say what is wrong with them; nothing is published."""
    raise NotImplementedError


def publish(
    wish: Publication, *, clock: Clock, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[Published]:
    """Publish both data sets, each whole or not at all; one that is published already stays as it is.

    Raises:
        PublicationRefused: What was found blocks; nothing was published.
        HubMoved: Somebody else has published to the hub meanwhile; here it is published.
        HubRefused: The hub does not accept who we say we are; here it is published.
        UpstreamFailed: The hub could not be reached, or an upload failed; here it is published.
    """
    raise NotImplementedError
