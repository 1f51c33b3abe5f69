"""A file server that shows new files late is waited for, and is never taken for a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import PendingVisibility
from sluiceway.core.runs.local_job import LocalJob
from sluiceway.core.runs.place import Local
from sluiceway.core.runs.run import await_end, collect, stage, submit
from sluiceway.core.runs.visibility import LIMIT, until_visible
from tests.clocks import SteppedClock
from tests.core.runs.here import Here


@contextmanager
def hidden(file: Path, clock: SteppedClock, seconds: float) -> Iterator[None]:
    """Hide a file for so many seconds of the clock: it is shown by whoever sleeps past its time."""
    aside = file.with_name(f".hidden-{file.name}")
    shown_at = clock.now() + timedelta(seconds=seconds)
    sleep = clock.sleep

    async def sleeping(duration: timedelta) -> None:
        await sleep(duration)
        if clock.now() >= shown_at and aside.exists():
            aside.rename(file)

    file.rename(aside)
    clock.sleep = sleeping  # type: ignore[method-assign]
    try:
        yield
    finally:
        clock.sleep = sleep  # type: ignore[method-assign]
        if aside.exists():
            aside.rename(file)


async def test_a_file_that_shows_late_is_waited_for(tmp_path: Path) -> None:
    clock, file = SteppedClock(), tmp_path / "made"
    file.touch()

    async def look() -> bool | None:
        return file.exists() or None

    with hidden(file, clock, 30):
        assert await until_visible(look, clock=clock, machine="here", source=file)
    assert timedelta(seconds=30) <= sum(clock.slept, timedelta()) < LIMIT


async def test_a_file_that_does_not_show_in_time_is_pending_and_not_failed(tmp_path: Path) -> None:
    """Red on: core/runs/visibility.py: `if clock.now() >= deadline:` -> `if True:`."""
    clock, file = SteppedClock(), tmp_path / "made"

    async def look() -> bool | None:
        return file.exists() or None

    with pytest.raises(PendingVisibility, match="pending_visibility"):
        await until_visible(look, clock=clock, machine="here", source=file)
    assert sum(clock.slept, timedelta()) >= LIMIT


@pytest.mark.parametrize("seconds", [20, 1000])
async def test_a_run_whose_output_shows_late_is_collected_when_it_does(place: Path, seconds: float) -> None:
    """Red on: core/runs/remains.py: `await _visible(` -> `(lambda *_, **__: None)(`."""
    here = Here(place)
    request = here.request("echo made >made.txt", outputs=("made.txt",))
    attempt = await stage(request, runs=here.runs, host=here.host, place=Local())
    assert not hasattr(attempt, "outputs")
    job = await submit(attempt, runs=here.runs, host=here.host)
    ending = await await_end(attempt, job, host=here.host)
    clock = SteppedClock(time=here.runs.clock.now())
    late = type(here.runs)(home=here.runs.home, clock=clock)
    host: LocalJob = here.host
    with hidden(Path(attempt.folder.output("made.txt")), clock, seconds):
        if seconds > LIMIT.total_seconds():
            with pytest.raises(PendingVisibility):
                await collect(attempt, ending, runs=late, host=host)
            assert not Path(attempt.folder.run.receipt).exists()
        else:
            assert (await collect(attempt, ending, runs=late, host=host)).succeeded
    receipt = await here.run(request)
    assert (receipt.succeeded, receipt.attempt) == (True, 1)
