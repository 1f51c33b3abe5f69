"""Events: one line for people and whole values for programs, told by one handler at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from sluiceway.core.events import ROOT, Event, show_by, tell

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kept(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    root = logging.getLogger(ROOT)
    before = root.handlers[:], root.level, root.propagate
    yield logging.getLogger(f"{ROOT}.core.test")
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def test_an_event_is_a_line_for_a_person_and_values_for_a_program(log: logging.Logger) -> None:
    kept = Kept()
    show_by(kept)
    tell(log, "job submitted", run_id="3f2a", job_id="812")
    (record,) = kept.records
    assert record.getMessage() == "job submitted run=3f2a job_id=812"
    assert record.__dict__["event"] == Event(step="job submitted", run_id="3f2a", figures={"job_id": "812"})


def test_an_event_names_the_function_that_told_it(log: logging.Logger) -> None:
    kept = Kept()
    show_by(kept)
    tell(log, "step")
    assert kept.records[0].funcName == "test_an_event_names_the_function_that_told_it"


def test_a_new_handler_takes_the_place_of_the_old_one(log: logging.Logger) -> None:
    first, second = Kept(), Kept()
    show_by(first)
    show_by(second)
    tell(log, "step")
    assert (len(first.records), len(second.records)) == (0, 1)


@pytest.mark.parametrize(("level", "told"), [("DEBUG", 1), ("INFO", 1), ("WARNING", 0)])
def test_an_event_is_told_from_its_level_on(log: logging.Logger, level: str, told: int) -> None:
    kept = Kept()
    show_by(kept, level=level)
    tell(log, "step")
    assert len(kept.records) == told
