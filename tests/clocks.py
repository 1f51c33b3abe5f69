"""A clock that a test steps: sleeping moves it, and nobody waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class SteppedClock:
    """Time that passes only by sleeping."""

    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    slept: list[timedelta] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, duration: timedelta) -> None:
        self.slept.append(duration)
        self.time += duration
        await asyncio.sleep(0)
