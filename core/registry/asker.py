"""Who asks for a run: a person, and in Prefect a flow run and a task run; it is kept with what they asked for."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from sluiceway.core.registry.home import user


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whoever asks, as far as is known."""

    flow_run_id: str | None = None
    task_run_id: str | None = None


asking: ContextVar[Asker | None] = ContextVar("asking", default=None)
"""Whoever knows sets it: tasks, which know Prefect."""


def by_whom() -> dict[str, Any]:
    """Give who asks right now, as an intent has it."""
    return {"user": user(), **asdict(asking.get() or Asker())}
