"""A function was called somewhere else, and what came of it cannot be had here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.trouble.letter import SluicewayError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True, eq=False)
class CallRaised(SluicewayError):
    """A function raised where it was called, and its exception cannot be had here; the cause says all of it."""

    run: str
    kind: str
    text: str
    reason: str

    def __str__(self) -> str:
        """Name the run, say what was raised, and why it is not raised here as itself."""
        return (
            f"the function of the run {self.run} raised {self.kind}: {self.text}. That exception itself cannot be "
            f"raised here: {self.reason}. The traceback there is part of this error's cause."
        )


@dataclass(kw_only=True, eq=False)
class AnswerUnreadable(SluicewayError):
    """A function returned, and what it returned cannot be had here."""

    run: str
    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the run and the file, and what is missing here."""
        return (
            f"the function of the run {self.run} returned, but its answer in {str(self.path)!r} cannot be read here: "
            f"{self.reason}. Return what this Python can import, or install what it needs here."
        )
