"""What refreshes into one folder have done so far: only the reasons of the next plan are taken from it, never a result.

Without it, or where it is damaged, a refresh does the same work, and says less well why.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from sluiceway.core.catalog.backlog import Entry, Recipe
from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

NAME: Final = "refreshed.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """Of what the tables are that were laid out last.

    Attributes:
        panel: What the panel is called in the names of published files.
        scores: The scores that were asked for; none means every score of the catalogue.
        unscorable: Those of which nothing can be computed.
    """

    panel: str
    scores: tuple[str, ...] = ()
    unscorable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What was done.

    Attributes:
        scores: The scores that have results.
        recipes: The recipes by which they have them.
        laid_out: What the tables of each policy were made of.
        meant: Of what these tables are; an account of before that was kept has none.
        published: What was published last.
    """

    scores: Mapping[str, Entry] = field(default_factory=dict)
    recipes: Sequence[Recipe] = ()
    laid_out: Mapping[str, str] = field(default_factory=dict)
    meant: Meant | None = None
    published: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what refreshes into a folder have done; nothing where that cannot be read, which is told."""
        try:
            content = content_of(folder / NAME)
            document = {} if content is None else unsealed(content, name=NAME)
        except (Damage, OSError) as error:
            tell(log, "history of refreshes unreadable", level=logging.WARNING, folder=str(folder), reason=str(error))
            return cls()
        return cls._of(document) if document.get("version") == _VERSION else cls()

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self:
        return cls(
            scores={pgs_id: Entry(**each) for pgs_id, each in document["scores"].items()},
            recipes=tuple(Recipe(**each) for each in document["recipes"]),
            laid_out=document["laid_out"],
            meant=_meant(document.get("meant")),
            published=document["published"],
        )

    def write(self, folder: Path) -> None:
        """Write it, without recipes that no score has any more."""
        used = sorted({each.recipe for each in self.scores.values()})
        number = {old: new for new, old in enumerate(used)}
        document: dict[str, Any] = {
            "version": _VERSION,
            "scores": {pgs_id: {**asdict(each), "recipe": number[each.recipe]} for pgs_id, each in self.scores.items()},
            "recipes": [asdict(self.recipes[each]) for each in used],
            "laid_out": dict(self.laid_out),
            "meant": None if self.meant is None else asdict(self.meant),
            "published": self.published,
        }
        with Storing("write", folder / NAME):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / NAME, sealed(document))


def _meant(told: Mapping[str, Any] | None) -> Meant | None:
    if told is None:
        return None
    return Meant(panel=told["panel"], scores=tuple(told["scores"]), unscorable=tuple(told["unscorable"]))
