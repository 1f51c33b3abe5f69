"""How a run of the main job went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sluiceway.core.errors import NothingScored
from sluiceway.core.runs import plink2

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How it went."""

    out: Path
    n_total: int
    n_ok: int
    n_failed: int
    n_cached: int
    quality: pl.DataFrame
    comparison: pl.DataFrame | None = None

    @classmethod
    def of(cls, out: Path, quality: pl.DataFrame, *, n_cached: int) -> Self:
        """Count what a table of quality says."""
        counts = Counter(quality["status"])
        return cls(
            out=out,
            n_total=quality.height,
            n_ok=counts["ok"],
            n_failed=counts["failed"],
            n_cached=n_cached,
            quality=quality,
        )

    @property
    def coverage(self) -> float:
        """The share of the scores that were asked for that have a result."""
        return (self.n_total - self.n_failed) / self.n_total if self.n_total else 0.0

    @property
    def is_failure(self) -> bool:
        """Whether there is no score that has a result."""
        return self.n_failed == self.n_total

    def require_some(self) -> None:
        """Raise NothingScored where every score failed."""
        if self.is_failure:
            name, reason = self.quality.select("pgs_id", "reason").row(0)
            raise NothingScored(folder=self.out, failed=self.n_failed, reason=f"{name}: {reason}")

    def require_agreement(self) -> None:
        """Raise OthersDisagree where scores were compared with another program's, and one differs."""
        if self.comparison is not None:
            plink2.require_agreement(self.comparison, self.out)
