"""The work itself failed, or what it left behind cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.trouble.letter import SluicewayError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True, eq=False)
class OutcomeBroken(SluicewayError):
    """A job's outcome file is damaged or half-written."""

    text: str
    reason: str

    def __str__(self) -> str:
        """Show how the file begins and what is wrong with it."""
        return (
            f"a job's outcome file cannot be read ({self.reason}); it begins: {self.text!r}. It counts for nothing: "
            "how the job ended is asked of Slurm instead."
        )


@dataclass(kw_only=True, eq=False)
class NothingScored(SluicewayError):
    """Every score that was asked for failed."""

    folder: Path
    failed: int
    reason: str

    def __str__(self) -> str:
        """Name the first reason, and where the others are."""
        return (
            f"none of {self.failed} scores has a result; the first, {self.reason}. "
            f"{str(self.folder / 'quality.parquet')!r} tells the reason of each."
        )


@dataclass(kw_only=True, eq=False)
class PublicationRefused(SluicewayError):
    """What an audit found keeps a release from being published."""

    dataset: str
    findings: tuple[str, ...]

    def __str__(self) -> str:
        """List what was found, and say that nothing was published."""
        listed = "".join(f"\n  - {each}" for each in self.findings[:20])
        more = f"\n  - {len(self.findings) - 20} more" if len(self.findings) > 20 else ""
        return (
            f"the release of {self.dataset} was not published, here or anywhere, because of {len(self.findings)} "
            f"findings:{listed}{more}\nWhat was published before is untouched. Mend what was found and publish again."
        )


@dataclass(kw_only=True, eq=False)
class OthersDisagree(SluicewayError):
    """Another program gives other sums for the same scores."""

    program: str
    scores: tuple[str, ...]
    folder: Path

    def __str__(self) -> str:
        """Name the scores, and where the differences are."""
        table = self.folder / f"compare_{self.program}.parquet"
        more = f" and {len(self.scores) - 5} more" if len(self.scores) > 5 else ""
        return (
            f"{self.program} gives other sums for {', '.join(self.scores[:5])}{more}, beyond what its printed digits "
            f"explain. {str(table)!r} tells the differences. The results are kept as they are; do not rely on them "
            "before it is known who is right."
        )


@dataclass(kw_only=True, eq=False)
class EnvironmentUnusable(SluicewayError):
    """What a payload is to run in cannot be made, sent or kept; nothing has run in it."""

    name: str
    where: str
    reason: str

    def __str__(self) -> str:
        """Name the environment, the place, and what came back."""
        return (
            f"the environment {self.name!r} cannot be used at {self.where}: {self.reason}. Nothing has run in it; "
            f"sluiceway env doctor {self.name} looks at all that it needs."
        )


@dataclass(kw_only=True, eq=False)
class RunFailed(SluicewayError):
    """A run ended, and its work is not done; its receipt says how."""

    run: str
    why: str
    folder: Path
    tail: str

    def __str__(self) -> str:
        """Name the run, how it ended, where everything of it lies, and the last lines it said."""
        return (
            f"the run {self.run} did not succeed: {self.why}. Everything of it is kept in {str(self.folder)!r}; "
            f"the same request starts a new attempt. The end of what it said:\n{self.tail or '(nothing on stderr)'}"
        )


@dataclass(kw_only=True, eq=False)
class StorageFailed(SluicewayError):
    """A disk could not hold or give what it was asked; nothing half-written is left."""

    what: str
    path: Path
    reason: str

    def __str__(self) -> str:
        """Name what was attempted, the file, and what the system said."""
        return (
            f"could not {self.what} {str(self.path)!r}: {self.reason}. Nothing half-written was left. Make room or "
            "check the disk, then run the same again: what was finished is kept."
        )


@dataclass(kw_only=True, eq=False)
class LedgerBroken(SluicewayError):
    """The list of all manifests is not as it was written."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file, and the first thing that is wrong with it."""
        return (
            f"the ledger {str(self.path)!r} is not as it was written: {self.reason}. Nothing was added to it. Put it "
            "back from a copy; or move it away to begin a new one, which knows nothing of the outputs before it."
        )


@dataclass(kw_only=True, eq=False)
class VerificationFailed(SluicewayError):
    """Outputs are not what their manifests say."""

    failed: int
    reason: str

    def __str__(self) -> str:
        """Name the first thing that is wrong, and what to do."""
        more = f" There are {self.failed - 1} more." if self.failed > 1 else ""
        return (
            f"{self.reason}.{more} What was changed cannot be relied on: compute it again, or put it back from a copy."
        )


@dataclass(kw_only=True, eq=False)
class ClaimLost(SluicewayError):
    """Somebody else has taken over the work; what was about to be written is refused."""

    key: str
    epoch: int
    holder: str

    def __str__(self) -> str:
        """Name the work and who has it now."""
        return (
            f"the claim on {self.key}, epoch {self.epoch}, was lost: it is held by {self.holder}. Nothing was written. "
            "Its lease ran out, so this process hung, or its clock is wrong; the work is being done elsewhere."
        )


@dataclass(kw_only=True, eq=False)
class PeerFailed(SluicewayError):
    """The same work was done elsewhere, and failed."""

    key: str
    owner: str
    failures: int
    reason: str

    def __str__(self) -> str:
        """Name who did it, and the cause."""
        return (
            f"the work {self.key} was done by {self.owner}, and failed {self.failures} times, the last time because "
            f"{self.reason} It would fail again here; change what it depends on, or reopen it."
        )
