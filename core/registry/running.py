"""What is being made right now, as the registry says: for `status`, which works without a registry, too."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sluiceway.core.events import tell
from sluiceway.core.registry.background import blocking
from sluiceway.core.registry.coalesce import PATIENCE, UNUSABLE
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import has_registry, identity_of
from sluiceway.core.registry.runs import running_places

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


def running_in(home: Path) -> dict[str, str]:
    """Give the folders that are being written right now, and the keys of the work; none where nobody can tell."""
    if not has_registry(home):
        return {}
    try:
        return blocking(_running(home))
    except UNUSABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        tell(log, "what is running is not known", level=logging.WARNING, reason=reason)
        return {}


async def _running(home: Path) -> dict[str, str]:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        async with await registry_at(home) as database, database.reading() as connection:
            return await running_places(connection, await asyncio.to_thread(identity_of, home))
