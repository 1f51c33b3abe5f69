"""Scores, panels and their rules cannot be used as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.trouble.letter import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True, eq=False)
class NotCanonical(UsageProblem):
    """A parameter has no one form as JSON, so a key made of it would mean nothing."""

    where: str
    value: str
    reason: str

    def __str__(self) -> str:
        """Name the place, the value and what is allowed."""
        return (
            f"{self.where} holds {self.value}: {self.reason}. Parameters may be text, finite numbers, true, false, "
            "none, lists, and tables whose names are text."
        )


@dataclass(kw_only=True, eq=False)
class RegionUnreadable(UsageProblem):
    """A stretch of the genome is not written as one."""

    text: str

    def __str__(self) -> str:
        """Show how one is written."""
        return f"{self.text!r} is no region. Write a chromosome, or chromosome:first-last such as 11:69M-70M."


@dataclass(kw_only=True, eq=False)
class PolicyInvalid(UsageProblem):
    """A policy that was named or written cannot be followed."""

    where: str
    reason: str

    def __str__(self) -> str:
        """Name the policy and what is wrong with it."""
        return f"the policy {self.where} cannot be followed: {self.reason}. docs/scoring.md lists every choice."


@dataclass(kw_only=True, eq=False)
class PanelUnusable(UsageProblem):
    """A reference panel's files cannot be used together."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and the reason."""
        return (
            f"the reference panel {str(self.path)!r} cannot be used: {self.reason}. A panel is .pgen with .pvar or "
            ".pvar.zst and .psam, or .bed with .bim and .fam, all with one prefix."
        )


@dataclass(kw_only=True, eq=False)
class ChainUnusable(UsageProblem):
    """A chain file cannot lead positions from one build to another."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and the reason."""
        return (
            f"the chain file {str(self.path)!r} cannot be used: {self.reason}. UCSC's hg19ToHg38.over.chain.gz and "
            "hg38ToHg19.over.chain.gz can."
        )


@dataclass(kw_only=True, eq=False)
class ScoringFileBroken(UsageProblem):
    """A scoring file cannot be read; the batch goes on without it."""

    path: Path
    reason: str
    line: int | None = None

    @property
    def said(self) -> str:
        """The reason, with the line where one is known; the same wherever the file lies."""
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"

    def __str__(self) -> str:
        """Name the file, the line where one is known, and the reason."""
        where = f"{str(self.path)!r}" if self.line is None else f"{str(self.path)!r}, line {self.line}"
        return f"the scoring file {where} cannot be used: {self.reason}. Its scores are left out; the others go on."


@dataclass(kw_only=True, eq=False)
class ScoreNotKept(UsageProblem):
    """A catalogue id has no scoring file on this machine."""

    scores: tuple[str, ...]
    folder: Path
    build: str | None

    def __str__(self) -> str:
        """Name the ids, the folder, and the name that a file must have there."""
        more = f" and {len(self.scores) - 5} more" if len(self.scores) > 5 else ""
        name = f"{self.scores[0]}_hmPOS_{self.build or 'GRCh38'}.txt.gz"
        return (
            f"no scoring file of {', '.join(self.scores[:5])}{more} is in {str(self.folder)!r}. Put the catalogue's "
            f"harmonised file there under its own name, such as {name}, or name a file instead of an id; online, "
            f"'sluiceway catalog pull {self.scores[0]}' brings it."
        )


@dataclass(kw_only=True, eq=False)
class ScoreUnknown(UsageProblem):
    """The catalogue does not list a score of that id."""

    scores: tuple[str, ...]
    release: str

    def __str__(self) -> str:
        """Name the ids, and the release that was looked at."""
        more = f" and {len(self.scores) - 5} more" if len(self.scores) > 5 else ""
        return (
            f"the catalogue of {self.release} lists no {', '.join(self.scores[:5])}{more}. Check the id; "
            "'sluiceway catalog refresh' asks whether there is a newer release."
        )


@dataclass(kw_only=True, eq=False)
class MetadataBroken(UsageProblem):
    """A sheet of the catalogue's metadata cannot be read."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the sheet, the reason, and what is used meanwhile."""
        return (
            f"the catalogue's metadata {str(self.path)!r} cannot be used: {self.reason}. The metadata that were here "
            "before stay as they are; 'sluiceway catalog refresh' brings the sheet again."
        )


@dataclass(kw_only=True, eq=False)
class CatalogOffline(UsageProblem):
    """Something of the catalogue is not on this machine, and nobody may be asked for it."""

    what: str
    folder: Path

    def __str__(self) -> str:
        """Name what is missing, and how to have it."""
        return (
            f"{self.what} is not in {str(self.folder)!r}, and this is offline. Do it once without --offline and "
            "without SLUICEWAY_OFFLINE, and it is kept."
        )
