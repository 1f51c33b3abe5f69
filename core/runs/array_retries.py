"""What becomes of an array's elements that failed for no reason of their own: they alone are made again.

Each element has its own count of causes. What those that are made again ask for is enough for all of them, for they
are one array. What was decided is written down before that is staged, as for a single run (`core.runs.retries`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.events import tell
from sluiceway.core.runs.retries import Again, Change, decide, failed, kept_change, may_be_retried, since
from sluiceway.core.store.durable import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.runs.array import ArrayHost
    from sluiceway.core.runs.host import Attempt
    from sluiceway.core.runs.request import Element
    from sluiceway.core.runs.retries import Failed, Retries
    from sluiceway.core.slurm.job import Ending, EndingKind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The elements that are tried again, with why, and what was written down for them."""

    again: Again
    elements: tuple[Element, ...]


async def next_elements(
    attempt: Attempt, endings: Mapping[int, Ending], *, host: ArrayHost, policy: Retries
) -> Chosen | None:
    """Decide which elements of an attempt are made again, and write it down; none where there are none."""
    before = await asyncio.to_thread(kept_change, attempt.folder)
    change = Change() if before is None else before.change
    items: dict[int, tuple[EndingKind, ...]] = {}
    chosen, kinds = [], set()
    for index, each in (await _failed(attempt, endings, host)).items():
        causes = _causes(attempt.elements[index], before)
        decided = decide(policy, each, causes, Change() if before is None else before.change)
        if isinstance(decided, str):
            tell(log, "no further attempt", run_id=attempt.folder.run.run_id, element=index, because=decided)
            continue
        change = change.joined(decided)
        chosen.append(attempt.elements[index])
        kinds.add(each.kind)
        items |= dict.fromkeys(map(int, attempt.elements[index].arguments), (*causes, each.kind))
    if not chosen:
        return None
    again = _again(attempt, change, items, kinds, n_elements=len(chosen))
    await asyncio.to_thread(write_whole, Path(attempt.folder.run.again), again.to_bytes())
    return Chosen(again=again, elements=tuple(chosen))


def _again(
    attempt: Attempt,
    change: Change,
    items: Mapping[int, tuple[EndingKind, ...]],
    kinds: set[EndingKind],
    *,
    n_elements: int,
) -> Again:
    number, total = attempt.folder.number, len(attempt.elements)
    why = f"{n_elements} of {total} elements of attempt {number} ended: {', '.join(sorted(kinds))}; again, {change}"
    tell(log, "another attempt", level=logging.WARNING, run_id=attempt.folder.run.run_id, because=why)
    return Again(attempt=number + 1, causes=tuple(sorted(kinds)), change=change, why=why, items=items)


def _causes(element: Element, before: Again | None) -> tuple[EndingKind, ...]:
    """Give why there were attempts at an element before: of its items, the one that has had most."""
    known = {} if before is None else before.items
    return max((known.get(int(item), ()) for item in element.arguments), key=len, default=())


async def _failed(attempt: Attempt, endings: Mapping[int, Ending], host: ArrayHost) -> dict[int, Failed]:
    """Gather what is known of the elements that may be tried again."""
    folder = attempt.folder
    maybe = await asyncio.to_thread(
        lambda: [index for index, each in endings.items() if may_be_retried(each.kind, folder.element(index))]
    )
    if not maybe:
        return {}
    asked, first = await asyncio.to_thread(lambda: (host.asked(folder), since(folder)))
    used = await host.used_by(folder, maybe)
    found = {}
    for index in maybe:
        has_checkpoint = await host.has_checkpoint(folder, first, attempt.checkpoint(index))
        found[index] = failed(endings[index].kind, asked, used.get(index), has_checkpoint=has_checkpoint)
    return found
