"""Time as an argument: code that waits takes a Clock, so that a test steps it instead of sleeping."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What code that waits may ask of time."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    async def sleep(self, duration: timedelta) -> None:
        """Wait for a while."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(tz=UTC)

    async def sleep(self, duration: timedelta) -> None:
        """Wait for a while."""
        await asyncio.sleep(duration.total_seconds())
