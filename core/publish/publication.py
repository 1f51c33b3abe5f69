"""A release of the published data sets: made from results, looked at, and published only where nothing blocks.

The tables are made anew from the folders of results, which nothing here writes to, so that publishing twice is the same
as publishing once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.catalog import metadata_audit
from sluiceway.core.catalog.kept import KeptTables
from sluiceway.core.catalog.metadata_folder import metadata_folder, read_metadata
from sluiceway.core.errors import CatalogOffline, PolicyInvalid, PublicationRefused
from sluiceway.core.events import tell
from sluiceway.core.genetics.policy import NAMED
from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.publish import panel_set
from sluiceway.core.publish.audit import Finding, Rules, gravest_first
from sluiceway.core.publish.baseline import baseline
from sluiceway.core.publish.catalogue import NAME as CATALOGUE
from sluiceway.core.publish.catalogue import Sources, catalogue_draft
from sluiceway.core.publish.distributions import Facts
from sluiceway.core.publish.hub import HubDataset
from sluiceway.core.publish.review import Against, Reviewed, reviewed
from sluiceway.core.publish.scored import People, Results, Scored, file_digest
from sluiceway.core.publish.snapshot import Snapshots
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluiceway.core.catalog.metadata_folder import Metadata
    from sluiceway.core.catalog.release import Release
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.provenance.tree import Cache
    from sluiceway.core.publish.audit import Audit
    from sluiceway.core.publish.dataset import Draft
    from sluiceway.core.publish.hub import HubPlace, Seen
    from sluiceway.core.publish.snapshot import Published, Version
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_COMPATIBLE: Final = "just-prs"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnHub:
    """A data set on the hub, and what it had before a release was made."""

    dataset: HubDataset
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A release that was made and looked at, and what is needed to publish it."""

    wish: Publication
    metadata: Metadata
    reviewed: Reviewed
    people: People


def review(wish: Publication) -> Audit:
    """Make the data set of distributions and say what is wrong with it, and with the metadata; publishes nothing."""
    return _made(wish, _look(wish, panel_set.NAME)).reviewed.audit


def publish(
    wish: Publication, *, clock: Clock, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[Published]:
    """Publish both data sets, each whole or not at all; one that is published already stays as it is.

    Raises:
        PublicationRefused: What was found blocks; nothing was published.
        HubMoved: Somebody else has published to the hub meanwhile; here it is published.
        AuthenticationFailed: The hub does not accept the token; before anything is published, or after it was here.
        UpstreamFailed: The hub could not be reached, or an upload failed; so, too.
    """
    on_hub = {name: _look(wish, name) for name in (panel_set.NAME, CATALOGUE)}
    made = _made(wish, on_hub[panel_set.NAME])
    audit = made.reviewed.audit
    tell(log, "release reviewed", panel=wish.name, findings=len(audit.findings), blocking=len(audit.blocking))
    if audit.blocking:
        raise PublicationRefused(dataset=panel_set.NAME, findings=tuple(map(str, audit.blocking)))
    published = []
    for number, draft in enumerate(_drafts(made)):
        progress("data sets", number, 2)
        published.append(Snapshots(wish.folder, draft.dataset).publish(draft, clock=clock))
    progress("data sets", 2, 2)
    return [_to_hub(each, on_hub[each.dataset], wish, audit) for each in published]


def _made(wish: Publication, on_hub: _OnHub | None) -> _Made:
    metadata = read_metadata(metadata_folder(wish.home))
    if metadata is None:
        raise CatalogOffline(what="the metadata", folder=wish.home / "catalog")
    with cache_here(SystemClock()) as cache:
        results = _results(wish, cache)
        md5 = dict(_md5(wish, results.compatible, cache))
    facts = Facts(scores=metadata.table("scores"), best=metadata.table("best_performance"), md5=md5)
    local = Snapshots(wish.folder, panel_set.NAME).current()
    there = (None, None) if on_hub is None else (on_hub.dataset, on_hub.seen)
    before, found = baseline(wish.name, local, *there)
    release = wish.release
    against = Against(
        expected=None
        if release is None
        else {each.pgs_id: each.md5 for each in release.scores.values() if each.is_there},
        unscorable=wish.unscorable,
        canaries=wish.canaries,
        before=before,
    )
    seen = reviewed(wish.name, results, facts, wish.rules, against)
    audit = replace(seen.audit, findings=gravest_first([*seen.audit.findings, *found, *_about(metadata)]))
    return _Made(wish=wish, metadata=metadata, reviewed=replace(seen, audit=audit), people=results.people)


def _results(wish: Publication, cache: Cache) -> Results:
    compatible = Scored.read(wish.results, wish.panel, cache)
    if compatible.policy != NAMED[_COMPATIBLE].model_copy(update={"min_overlap": compatible.policy.min_overlap}):
        reason = f"readers expect sums by the policy {_COMPATIBLE}; score with --policy {_COMPATIBLE}"
        raise PolicyInvalid(where=str(wish.results), reason=reason)
    own = None if wish.own is None else Scored.read(wish.own, wish.panel, cache)
    return Results(compatible=compatible, own=own, people=People.of(wish.panel))


def _md5(wish: Publication, scored: Scored, cache: Cache) -> Iterator[tuple[str, str]]:
    """Give the md5 of the catalogue's file of each score, where the note that was scored still says it."""
    tables = KeptTables(wish.home)
    for pgs_id, source in scored.sources.items():
        note = tables.note(pgs_id, wish.panel.build)
        if note.is_file() and file_digest(note, cache) == source:
            kept = tables.find(pgs_id, wish.panel.build)
            if kept is not None:
                yield pgs_id, kept.md5


def _about(metadata: Metadata) -> Iterator[Finding]:
    """Look at the metadata, too: those with errors are not published."""
    tables = {name: metadata.table(name) for name in metadata.digests}
    if metadata.origin != "upstream":
        # Somebody else has published them, and looked at them by other rules.
        return
    for each in metadata_audit.audit(tables):
        blocks = each.severity == "ERROR"
        said = f"{each.n} in the metadata's {each.table}"
        code = f"metadata_{each.code}"
        yield Finding(severity="BLOCK" if blocks else "WARN", code=code, said=said, n=each.n, examples=each.examples)


def _drafts(made: _Made) -> Iterator[Draft]:
    """Give both data sets; the second has the flags of every panel that the first has by then."""
    wish = made.wish
    local = Snapshots(wish.folder, panel_set.NAME)
    release = None if wish.release is None else wish.release.date
    yield panel_set.panel_draft(wish.name, made.reviewed, made.people, wish.panel.build, release, local.current())
    version = local.current()
    address = None
    if wish.hub is not None and wish.hub.catalogue is not None:
        address = wish.hub.address(wish.hub.catalogue)
    yield catalogue_draft(
        Sources(
            metadata=made.metadata,
            home=wish.home,
            build=wish.panel.build,
            flags=_flags(version),
            address=address,
            scoring_files=wish.scoring_files,
        )
    )


def _flags(version: Version | None) -> pl.DataFrame:
    assert version is not None  # noqa: S101 - it was just published
    files = sorted(version.folder.glob("data/*_scoring_flags.parquet"))
    return pl.concat([frames.read_parquet(each) for each in files]).unique("pgs_id", keep="first").sort("pgs_id")


def _look(wish: Publication, name: str) -> _OnHub | None:
    if wish.hub is None:
        return None
    repository = {panel_set.NAME: wish.hub.distributions, CATALOGUE: wish.hub.catalogue}[name]
    if repository is None:
        return None
    dataset = HubDataset(wish.hub, repository)
    return _OnHub(dataset=dataset, seen=dataset.look())


def _to_hub(published: Published, on_hub: _OnHub | None, wish: Publication, audit: Audit) -> Published:
    if on_hub is None:
        return published
    version = Snapshots(wish.folder, published.dataset).current()
    assert version is not None  # noqa: S101 - it was just published
    title = f"Release {version.number} of {published.dataset}{' (partial)' if published.is_partial else ''}"
    commit = on_hub.dataset.commit(on_hub.seen, version, title=title, said=_told(version, wish, audit))
    tell(log, "published on a hub", dataset=published.dataset, number=version.number, commit=commit)
    return replace(published, commit=commit)


def _told(version: Version, wish: Publication, audit: Audit) -> str:
    """Say how a release differs from the one before."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in audit.moved.group_by("kind").len().sort("kind").iter_rows())
    moved = f"Scores of {wish.name}: {kinds}." if kinds else f"No score of {wish.name} differs."
    files = "".join(f"- {path}\n" for path in version.changed[:50])
    more = f"- and {len(version.changed) - 50} more\n" if len(version.changed) > 50 else ""
    return f"{moved} Coverage of the catalogue: {audit.coverage:.1%}.\n\nChanged files:\n{files}{more}"
