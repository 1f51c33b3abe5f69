"""A data set as a plain folder: versions side by side, and one name that leads to the newest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as it is published now.

    Attributes:
        dataset: Its name.
        number: The version's number, counted from 1.
        folder: The version's own folder; it never changes.
        is_new: Whether this call made it; otherwise the same was published before.
        is_partial: Whether it lacks more of the catalogue than the rules allow.
        changed: The files that differ from the version before, and those that are gone.
        commit: The hub's commit that has it; none where it was not published there.
    """

    dataset: str
    number: int
    folder: Path
    is_new: bool
    is_partial: bool
    changed: tuple[str, ...]
    commit: str | None = None
