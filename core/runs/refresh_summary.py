"""How a refresh went, in numbers that people and programs read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from sluiceway.core.publish.snapshot import Published

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshSummary:
    """How it went.

    Attributes:
        out: The folder of the refresh.
        release: The date of the catalogue's release, as far as it tells.
        n_total: The scores of the release that were meant.
        n_ok: Those whose result can be relied on, by our own policy.
        n_failed: Those without a result; each is a row with a reason.
        n_cached: Those whose result was here before.
        n_asked: The questions to the catalogue for its release and metadata.
        planned: How many scores were found in each state.
        brought: The files that were brought.
        scored: The results that were made, by all policies.
        withdrawn: The scores that the catalogue has no more.
        left_open: How many scores wait for a refresh without `only`; the tables stay as they were.
        published: The data sets, as they are published now.
        is_new: Whether tables were written.
        resources: What each step used.
    """

    out: Path
    release: str | None
    n_total: int
    n_ok: int
    n_failed: int
    n_cached: int
    n_asked: int
    planned: Mapping[str, int]
    brought: int
    scored: int
    withdrawn: tuple[str, ...]
    left_open: int
    published: tuple[Published, ...]
    is_new: bool
    resources: Sequence[Mapping[str, Any]]

    @property
    def coverage(self) -> float:
        """The share of the scores that have a result."""
        return (self.n_total - self.n_failed) / self.n_total if self.n_total else 0.0

    @property
    def did_nothing(self) -> bool:
        """Whether everything was as it should be, and the hub was not asked."""
        released = any(each.is_new or each.commit is not None for each in self.published)
        return not (self.is_new or self.brought or self.scored or released)

    @property
    def said(self) -> str:
        """Say it in a sentence."""
        if self.did_nothing and not self.left_open:
            failed = f", of which {self.n_failed} have no result and say why" if self.n_failed else ""
            return f"Nothing to do: {self.n_total} scores are as the catalogue has them{failed}; the tables are whole."
        waits = f"; {self.left_open} wait for a refresh of everything" if self.left_open else ""
        return f"{self.brought} files brought, {self.scored} results made{waits}."

    def document(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "out": str(self.out),
            "release": self.release,
            "n_total": self.n_total,
            "n_ok": self.n_ok,
            "n_failed": self.n_failed,
            "n_cached": self.n_cached,
            "coverage": self.coverage,
            "n_asked": self.n_asked,
            "planned": dict(self.planned),
            "brought": self.brought,
            "scored": self.scored,
            "withdrawn": list(self.withdrawn),
            "left_open": self.left_open,
            "did_nothing": self.did_nothing,
            "published": [each.as_json() for each in self.published],
            "resources": [dict(each) for each in self.resources],
        }


def counted(quality: pl.DataFrame) -> tuple[int, int, int]:
    """Count all scores of a table of quality, those that can be relied on, and those without a result."""
    counts = Counter(quality["status"])
    return quality.height, counts["ok"], counts["failed"]


def counts_text(counts: Mapping[str, int]) -> str:
    """Say how many there are of each kind.

    >>> counts_text({"new": 2, "current": 5})
    '2 new, 5 current'
    """
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "no score"


def resource_lines(summary: RefreshSummary) -> list[dict[str, Any]]:
    """Give a line for each task with what it used, those of one name together, and a line for all of it."""
    names = dict.fromkeys(each["task"] for each in summary.resources)
    lines = [_used(name, [each for each in summary.resources if each["task"] == name]) for name in names]
    return [*lines, _used("all", summary.resources)]


def _used(name: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    memory = max((each["peak_memory_bytes"] or 0 for each in steps), default=0)
    return {
        "task": name,
        "times": len(steps),
        "seconds": round(sum(each["wall_seconds"] or 0 for each in steps), 2),
        "processor seconds": round(sum(each["cpu_seconds"] or 0 for each in steps), 2),
        "peak memory, MiB": round(memory / _MEBIBYTE),
        "read, MiB": round(sum(each["bytes_read"] or 0 for each in steps) / _MEBIBYTE, 1),
    }
