"""What the main job reads, in two forms: by content alone for its report, and with paths for its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from sluiceway.core.genetics.panel import digest_of_panel
from sluiceway.core.provenance.inputs import input_at
from sluiceway.core.provenance.manifest import Input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.catalog.library import Library
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.provenance.tree import Cache
    from sluiceway.core.runs.planned import Planned
    from sluiceway.core.runs.reference_scoring import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read.

    Attributes:
        told: The panel, and the scores that could be read, by digests of what counts in them: the same everywhere.
        seen: Every file by its content, with its path as seen from the folder of results.
    """

    told: tuple[Input, ...]
    seen: tuple[Input, ...]

    @classmethod
    def by(cls, asked: Asked, panel: Panel, planned: Sequence[Planned], library: Library, cache: Cache) -> Self:
        """Look at the files of a run; one that no longer holds what was scored goes without a path."""
        told = [Input(role="panel", digest=panel.digest, name=panel.prefix.name)]
        told += [Input(role="score", digest=each.score.digest, name=each.name) for each in planned if each.score]
        seen = [*_panel(asked, panel, cache), *_scores(asked, planned, library, cache)]
        if asked.unrelated is not None:
            seen.append(input_at(asked.unrelated, role="relatives", read=None, beside=asked.out, cache=cache))
        return cls(told=tuple(told), seen=tuple(seen))


def _panel(asked: Asked, panel: Panel, cache: Cache) -> Iterator[Input]:
    contents: dict[str, str] = {}

    def note(part: str, content: str) -> bool:
        contents[part] = content
        return True

    found = [
        input_at(
            file, role="panel", read=None, name=file.name, beside=asked.out, cache=cache, is_it=partial(note, part)
        )
        for part, file in panel.files.items()
    ]
    if digest_of_panel(contents) == panel.digest:
        yield from found
    else:
        yield Input(role="panel", digest=panel.digest, name=panel.prefix.name)


def _scores(asked: Asked, planned: Sequence[Planned], library: Library, cache: Cache) -> Iterator[Input]:
    for each in planned:
        score = each.score
        if each.source is None:
            if score is not None:
                yield Input(role="score", digest=score.digest, name=each.name)
            continue
        yield input_at(
            each.source,
            role="score",
            read=None if score is None else score.digest,
            name=each.name,
            beside=asked.out,
            cache=cache,
            is_it=(lambda _: True) if score is None else partial(library.is_of, score),
        )
