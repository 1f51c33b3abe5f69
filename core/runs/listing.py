"""The runs that this machine knows of: what they are called, how far they are, and the one of a given name."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import RunUnknown
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.runs.local_job import is_alive
from sluiceway.core.runs.run import intent_of
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.runs.folder import AttemptFolder, RunFolder
    from sluiceway.core.runs.run import Runs

_NAME = re.compile(r"[0-9a-f]{64}")


class Standing(StrEnum):
    """How far a run is, as far as this machine can tell without asking another."""

    OK = "ok"
    FAILED = "failed"
    RUNNING = "running"
    ENDED = "ended"
    STAGED = "staged"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The latest attempt at a run."""

    run_id: str
    attempt: int
    standing: Standing
    place: str
    at: str
    what: str


def every_run(runs: Runs) -> list[Listed]:
    """Give every run whose attempt was staged, the latest first."""
    attempts = (runs.last(folder) for folder in _folders(runs))
    listed = (_listed(runs, attempt) for attempt in attempts if attempt is not None)
    return sorted((each for each in listed if each is not None), key=lambda each: each.at, reverse=True)


def every_attempt(runs: Runs) -> Iterator[AttemptFolder]:
    """Give every attempt that has a folder, in the order of a run's attempts."""
    for folder in _folders(runs):
        with contextlib.suppress(FileNotFoundError):
            yield from folder.attempts(each.name for each in Path(folder.path).iterdir())


def attempt_of(runs: Runs, name: str) -> tuple[AttemptFolder, str]:
    """Give the latest attempt at the one run whose name begins so, and its place; or raise RunUnknown."""
    found = [each for each in _folders(runs) if name and each.name.startswith(name.removeprefix("sha256:"))]
    if len(found) != 1:
        raise RunUnknown(name=name, reason=f"{len(found) or 'no'} runs here begin so")
    attempt = runs.last(found[0])
    intent = None if attempt is None else intent_of(attempt)
    if attempt is None or intent is None:
        raise RunUnknown(name=name, reason="it was never wholly staged")
    return attempt, intent["place"]


def _folders(runs: Runs) -> list[RunFolder]:
    folder = runs.home / RUNS
    names = (each.name for each in folder.iterdir()) if folder.is_dir() else ()
    return [runs.folder(f"sha256:{name}") for name in sorted(names) if _NAME.fullmatch(name)]


def _listed(runs: Runs, attempt: AttemptFolder) -> Listed | None:
    intent = intent_of(attempt)
    if intent is None:
        return None
    return Listed(
        run_id=attempt.run.run_id,
        attempt=attempt.number,
        standing=_standing(runs, attempt, place=intent["place"]),
        place=intent["place"],
        at=intent["at"],
        what=intent["what"],
    )


def _standing(runs: Runs, attempt: AttemptFolder, *, place: str) -> Standing:
    receipt = runs.receipt(attempt.run)
    if receipt is not None and receipt.attempt == attempt.number:
        return Standing.OK if receipt.succeeded else Standing.FAILED
    if place != "local":
        return Standing.AWAY
    if is_alive(attempt):
        return Standing.RUNNING
    return Standing.ENDED if content_of(Path(attempt.started)) else Standing.STAGED


def as_json(listed: list[Listed]) -> str:
    """Give a list of runs for programs."""
    return json.dumps([{name: getattr(each, name) for name in Listed.__slots__} for each in listed])
