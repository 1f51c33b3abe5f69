"""Core's events that others wait for, as events of Prefect: automations act on them, and Cloud draws its assets.

`output.published` comes with Prefect's own event of a materialised asset. Both say what the output is by its digest and
that of its manifest; what was read for it stands in the asset's event, as far as it has a place.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect.assets import Asset
from prefect.assets.core import AssetProperties
from prefect.context import AssetContext
from prefect.events import emit_event
from prefect.states import Completed, Failed

from sluiceway.core.errors import SluicewayError
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.verify import place_of_input

if TYPE_CHECKING:
    from sluiceway.core.events import Event, Figure
    from sluiceway.core.provenance.manifest import Manifest

PUBLISHED: Final = "output.published"
"""An output was sealed: its manifest is beside it and in the ledger."""
CACHE_HIT: Final = "cache.hit"
"""Something was asked for that was there already, and is whole; the payload says why."""
CACHE_DAMAGED: Final = "cache.damaged"
"""Something that was kept is not as it was: it is not served, and is made anew."""
RECOVERED: Final = "run.recovered"
"""Something that a crash left half done was mended."""

_NAMES: Final = {
    "output sealed": PUBLISHED,
    "cache hit": CACHE_HIT,
    "outputs damaged": CACHE_DAMAGED,
    "object damaged": CACHE_DAMAGED,
    "artifact damaged": CACHE_DAMAGED,
    "table damaged": CACHE_DAMAGED,
    "run recovered": RECOVERED,
}
_MOST_NAMED: Final = 50
_LONGEST: Final = 400


def pass_on(event: Event) -> None:
    """Send an event to Prefect's server if others wait for its kind."""
    name = _NAMES.get(event.step)
    if name == PUBLISHED:
        _publish(Path(str(event.figures["output"])), dict(event.figures))
    elif name is not None:
        announce(name, _what(event), **event.figures, run_id=event.run_id)


def announce(name: str, what: str, /, **told: Figure) -> None:
    """Send one event about something of ours, such as `output./data/out`."""
    resource = {"prefect.resource.id": f"sluiceway.{what}", "prefect.resource.name": what.partition(".")[2] or what}
    emit_event(name, resource, payload={key: value for key, value in told.items() if value is not None})


def asset_key(output: Path) -> str:
    """Name an output as Prefect names assets; what may not stand there is told apart by a digest.

    >>> asset_key(Path("/data/a b"))
    'file:///data/a_b-a99e1709'
    """
    place = str(output)
    plain = re.sub(r"[^\w./~+=:@,-]", "_", place)
    if plain != place or len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}-{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return f"file://{plain}"


def _publish(output: Path, told: dict[str, Figure]) -> None:
    succeeded = told.get("status") == "ok"
    if succeeded:
        announce(PUBLISHED, f"output.{output}", **told)
    asset = Asset(key=asset_key(output), properties=AssetProperties(name=str(told["output_id"])))
    AssetContext(
        downstream_assets={asset},
        direct_asset_dependencies=_read_for(output),
        materialized_by="sluiceway",
        materialization_metadata={asset.key: _payload(told)},
    ).emit_events(Completed() if succeeded else Failed())


def _payload(told: dict[str, Figure]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}


def _read_for(output: Path) -> set[Asset]:
    """Give what was read for an output and has a place; of very many, the first."""
    try:
        manifest: Manifest = manifests.read(manifests.path_of(output))
    except (SluicewayError, OSError):
        # The manifest of a step of a running job lies elsewhere.
        return set()
    places = [place_of_input(output, each.path) for each in manifest.inputs or () if each.path is not None]
    return {Asset(key=asset_key(each)) for each in places[:_MOST_NAMED]}


def _what(event: Event) -> str:
    """Say what an event is about."""
    named = event.figures
    if "output" in named:
        return f"output.{named['output']}"
    if event.run_id is not None:
        return f"run.{event.run_id}"
    kept = named.get("key") or named.get("artifact")
    return "scores" if kept is None else f"object.{kept}"
