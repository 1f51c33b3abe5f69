"""Scores as a run plans them: each with the key of its result, or with why it cannot be scored."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.events import tell
from sluiceway.core.genetics import results

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.catalog.library import KnownScore, Library
    from sluiceway.core.genetics.build import Build
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.provenance.software import Software

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A score that was asked for: its key, and its result where one is there; or why it cannot be scored."""

    name: str
    score: KnownScore | None
    key: str | None
    failure: str | None
    source: Path | None = None

    @property
    def n_rows(self) -> int:
        """How many rows it has, as far as they could be read."""
        return 0 if self.score is None else self.score.n_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Gives scores their keys, on one panel by one policy; `again` reads files that were broken before."""

    library: Library
    policy: Policy
    software: Software
    build: Build | None
    panel: str
    again: bool

    def scores_in(self, file: Path) -> list[Planned]:
        """Plan every score of a file; a file that cannot be used is one failure."""
        try:
            known = self.library.load(file, again=self.again)
        except ScoringFileBroken as error:
            tell(_log, "scoring file left out", level=logging.WARNING, file=str(file), reason=error.reason)
            # Where the file lies is not told: the same work gives the same bytes in any folder.
            failure = f"the scoring file cannot be used: {error.said}"
            return [Planned(name=file.name.partition(".")[0], score=None, key=None, failure=failure, source=file)]
        return [self._plan(score) for score in known]

    def _plan(self, score: KnownScore) -> Planned:
        build, policy = self.build, self.policy
        if policy.match == "position" and score.build is not None and build is not None and score.build is not build:
            said = f"the score is on {score.build}, the panel on {build}; use the harmonised file"
            return Planned(name=score.name, score=None, key=None, failure=said, source=score.source)
        key = results.result_key(score.digest_for(policy), self.panel, policy, self.software)
        return Planned(name=score.name, score=score, key=key, failure=None, source=score.source)
