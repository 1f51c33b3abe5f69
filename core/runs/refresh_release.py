"""What a refresh has made, as a release: so that it can be looked at and published without another refresh.

The tables are taken as they are. Whether they are complete against the catalogue is what the audit says.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pydantic import SecretStr

from sluiceway.core import settings
from sluiceway.core.catalog.history import History
from sluiceway.core.catalog.refreshed import NAME as ACCOUNT
from sluiceway.core.catalog.refreshed import Account
from sluiceway.core.errors import InputMissing, PanelUnusable, RequestInvalid
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.verify import place_of_input
from sluiceway.core.publish.catalogue import NAME as CATALOGUE
from sluiceway.core.publish.hub import HubPlace
from sluiceway.core.publish.panel_set import NAME as DISTRIBUTIONS
from sluiceway.core.publish.publication import Publication
from sluiceway.core.runs.refresh import alone_in
from sluiceway.core.runs.refresh_options import OWN, READERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sluiceway.core.catalog.refreshed import Meant
    from sluiceway.core.catalog.release import Release
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.publish.audit import Rules

_HUB: Final = "hub:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where a release goes: into a folder, and to a hub where one is named."""

    folder: Path
    hub: HubPlace | None = None

    @classmethod
    def read(cls, words: Sequence[str], *, folder: Path) -> Self:
        """Read what a user has named: folders, and `hub:OWNER` or `hub:OWNER/DISTRIBUTIONS[,OWNER/CATALOGUE]`.

        Args:
            words: At most one folder, and at most one hub.
            folder: The folder where none is named.
        """
        folders = [each for each in words if not each.startswith(_HUB)]
        hubs = [each for each in words if each.startswith(_HUB)]
        for twice in (folders[1:], hubs[1:]):
            if twice:
                raise RequestInvalid(what="--to", value=twice[0], reason="it names one folder and one hub at most")
        return cls(folder=Path(folders[0]) if folders else folder, hub=_hub(hubs[0]) if hubs else None)


@contextmanager
def release_in(out: Path, *, home: Path, to: Destinations, rules: Rules) -> Iterator[Publication]:
    """Give what a refresh into a folder has made, for as long as no other refresh of this home may touch it.

    Raises:
        InputMissing: No refresh has laid out tables there for readers.
        RefreshRunning: One is at work.
    """
    with alone_in(home, purpose=f"publish from {out}"):
        meant = Account.read(out).meant
        if meant is None:
            raise InputMissing(
                what="what sluiceway refresh has written into the folder of its --out,", path=out / ACCOUNT
            )
        if not (out / READERS).is_dir():
            what = "the manifest of the tables for readers, which a refresh with --no-publish leaves out,"
            raise InputMissing(what=what, path=manifests.path_of(out / READERS))
        panel, build = _panel(out / READERS)
        seen = History(home, build).latest()
        yield Publication(
            name=meant.panel,
            panel=panel,
            results=out / READERS,
            own=out / OWN if (out / OWN).is_dir() else None,
            release=None if seen is None else _of(seen.release, meant),
            home=home,
            folder=to.folder,
            unscorable=frozenset(meant.unscorable),
            rules=rules,
            hub=to.hub,
        )


def _of(release: Release, meant: Meant) -> Release:
    """Leave those scores of a release that were asked for."""
    if not meant.scores:
        return release
    return replace(release, scores={each: release.scores[each] for each in meant.scores if each in release.scores})


def _panel(results: Path) -> tuple[Panel, Build | None]:
    """Open the panel that the manifest of results names; its digest is compared when they are read."""
    manifest = manifests.read(manifests.path_of(results))
    parameters: dict[str, Any] = dict(manifest.parameters or {})
    chosen = parameters.get("asked") or {}
    files = {
        role: [place_of_input(results, each.path) for each in manifest.inputs or () if each.role == role and each.path]
        for role in ("panel", "relatives")
    }
    if not files["panel"]:
        raise PanelUnusable(path=results, reason="the manifest of these results does not say where the panel was")
    build = None if chosen.get("build") is None else Build(chosen["build"])
    panel = open_panel(
        files["panel"][0],
        build=build,
        population=chosen.get("population"),
        unrelated=next(iter(files["relatives"]), None),
    )
    return panel, build


def _hub(word: str) -> HubPlace:
    """Read the name of a hub's repositories; an owner alone has both, under the names of the data sets."""
    first, _, second = word.removeprefix(_HUB).partition(",")
    if not first:
        raise RequestInvalid(what="--to", value=word, reason="name an owner, as in hub:OWNER or hub:OWNER/NAME")
    chosen = settings.load()
    if chosen.hub_token is None:
        reason = "the hub lets in nobody without a token; set SLUICEWAY_HUB_TOKEN to one that may write there"
        raise RequestInvalid(what="--to", value=word, reason=reason)
    both = (first, second or None) if "/" in first else (f"{first}/{DISTRIBUTIONS}", f"{first}/{CATALOGUE}")
    token = SecretStr(chosen.hub_token.get_secret_value())
    return HubPlace(token=token, distributions=both[0], catalogue=both[1], endpoint=chosen.hub_endpoint)
