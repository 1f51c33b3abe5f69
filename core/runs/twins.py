"""A name is asked for once in a batch: of two scores that are called alike, and are not the same, one can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluiceway.core.runs.planned import Planned


def without_twins(planned: Iterable[Planned]) -> list[Planned]:
    """Let a name be asked for once: the first stays, a later one of other content is a failure that says so."""
    seen: dict[str, Planned] = {}
    for each in planned:
        first = seen.setdefault(each.name, each)
        if first is not each and first.key != each.key:
            again = f"{each.name} (again)"
            reason = "another file of this batch has the same name and other content"
            seen.setdefault(again, replace(each, name=again, score=None, key=None, failure=reason))
    return list(seen.values())
