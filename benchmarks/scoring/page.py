"""Writes the measured blocks of docs/benchmarks.md: `python -m benchmarks.scoring.page`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.page import DOCS, RESULTS, rewritten
from benchmarks.scoring import catalogue, report
from benchmarks.scoring.outcome import Outcome
from benchmarks.scoring.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = DOCS / "benchmarks.md"

BLOCKS: Final[dict[str, Callable[[], str]]] = {
    "verdict": lambda: report.verdict([_outcome("50"), _outcome("200")]),
    "50 scores": lambda: report.measured(_outcome("50")),
    "200 scores": lambda: report.measured(_outcome("200")),
    "marginal": lambda: report.marginal(_outcome("50"), _outcome("200")),
    "marginal stages": lambda: catalogue.each_more(_stages("stages-50"), _stages("stages-200")),
    "stages 50": lambda: catalogue.measured(_stages("stages-50")),
    "stages 200": lambda: catalogue.measured(_stages("stages-200")),
    "large 500": lambda: report.measured(_outcome("large-500")),
    "large 200": lambda: report.measured(_outcome("large-200")),
    "large marginal": lambda: report.marginal(_outcome("large-200"), _outcome("large-500")),
    "large stages": lambda: catalogue.measured(_stages("large-stages-500")),
    "catalogue": lambda: catalogue.estimate(_stages("large-stages-500")),
}


def renewed(page: str) -> str:
    """Give the page with every measured block written anew."""
    return rewritten(page, lambda name: BLOCKS[name]())


def _outcome(name: str) -> Outcome:
    return Outcome.read(RESULTS / f"scoring-{name}.json")


def _stages(name: str) -> Stages:
    return Stages.read(RESULTS / f"scoring-{name}.json")


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text()))


if __name__ == "__main__":
    main()
