"""What is written down of work that failed, so that a retry budget outlives restarts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How often a piece of work has failed, and how it did the last time."""

    attempts: int
    reason: str
    permanent: bool
    last: datetime


def write_failure(path: Path, failure: Failure, *, key: str) -> None:
    """Write a note of a failure in place of the one before."""
    with Storing("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, str | int | bool] = {
        "key": key,
        "attempts": failure.attempts,
        "reason": failure.reason,
        "permanent": failure.permanent,
        "last": failure.last.isoformat(),
    }
    write_whole(path, sealed(document))


def read_failure(path: Path, *, key: str) -> Failure | None:
    """Read a note of a failure; one that cannot be read is told, and counts as none."""
    try:
        content = content_of(path)
        if content is None:
            return None
        document = unsealed(content, name=path.name)
    except (Damage, OSError) as error:
        tell(log, "failure note unreadable", level=logging.WARNING, key=key, reason=str(error))
        return None
    return Failure(
        attempts=document["attempts"],
        reason=document["reason"],
        permanent=document["permanent"],
        last=datetime.fromisoformat(document["last"]),
    )
