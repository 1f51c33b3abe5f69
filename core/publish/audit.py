"""What an audit lets pass, and what it found: what keeps a score out of a release, and what keeps the release back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

Severity = Literal["BLOCK", "ERROR", "WARN"]

_ORDER: Final[tuple[Severity, ...]] = ("BLOCK", "ERROR", "WARN")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an audit lets pass.

    Attributes:
        completeness: The share of the catalogue's scores that must have been scored; less blocks.
        allow_partial: Publish below that, too; the release then says that it is partial.
        match_rate: Scores of which a smaller share of rows matched are left out.
        low_match: Below this share a score's status is low_match.
        spot_checks: So many scores are worked out again from everybody's sums.
        canaries: So many people of each population are looked up in the tables as readers do.
        collapsed: The share of scores that may be left out because canaries stand outside of every distribution.
        accept_moved: Publish scores that moved since the last release for no other reason than our own code.
    """

    completeness: float = 0.9
    allow_partial: bool = False
    match_rate: float = 0.5
    low_match: float = 0.1
    spot_checks: int = 50
    canaries: int = 3
    collapsed: float = 0.01
    accept_moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was found: it blocks the release, keeps scores out of it, or is worth knowing."""

    severity: Severity
    code: str
    said: str
    n: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line."""
        some = f": {', '.join(self.examples)}{', …' if self.n > len(self.examples) else ''}" if self.examples else ""
        return f"{self.code}: {self.said}{some}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything that was found.

    Attributes:
        findings: All of it, the gravest first.
        issues: A line per score and population that something is wrong with, as readers of the data set know them.
        flags: A line per score that no real person fits, as readers of the catalogue's data set know them.
        coverage: The share of the catalogue's scores that were scored.
        is_partial: Whether that is less than the rules ask for.
        moved: A line per score that differs from the last release: by how much, and why.
    """

    findings: tuple[Finding, ...]
    issues: pl.DataFrame
    flags: pl.DataFrame
    coverage: float
    is_partial: bool
    moved: pl.DataFrame

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What keeps the release from being published."""
        return tuple(each for each in self.findings if each.severity == "BLOCK")


def about(severity: Severity, code: str, said: str, scores: Iterable[str]) -> list[Finding]:
    """Give what was found of these scores as one finding; nothing where there is no score."""
    found = list(dict.fromkeys(scores))
    if not found:
        return []
    return [Finding(severity=severity, code=code, said=said, n=len(found), examples=tuple(found[:_SHOWN]))]


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Put what blocks before the rest."""
    return tuple(sorted(findings, key=lambda each: (_ORDER.index(each.severity), each.code)))
