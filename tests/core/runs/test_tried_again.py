"""Which failures are tried again, how often, and what the next attempt asks for: a table."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import PurePosixPath

import pytest

from sluiceway.core.runs.folder import RunFolder
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.request import Element, RunRequest
from sluiceway.core.runs.retries import Again, Change, Failed, Retries, decide
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.slurm.resources import Memory, Resources

MEMORY, TIME, NODE = EndingKind.OUT_OF_MEMORY, EndingKind.TIMEOUT, EndingKind.NODE_FAILURE


@pytest.mark.parametrize(
    ("failed", "change"),
    [
        (Failed(kind=MEMORY, asked=Resources(memory="200M")), Change(memory=Memory(400))),
        (Failed(kind=MEMORY, asked=Resources(memory_per_cpu="2G")), Change(memory_per_cpu=Memory(4096))),
        (Failed(kind=MEMORY, asked=Resources(), given_memory=Memory(500)), Change(memory=Memory(1000))),
        (Failed(kind=TIME, asked=Resources(time="1h")), Change(time=timedelta(hours=2))),
        (Failed(kind=TIME, asked=Resources(), elapsed=timedelta(minutes=10)), Change(time=timedelta(minutes=20))),
        (Failed(kind=TIME, asked=Resources(time="1h"), has_checkpoint=True), Change()),
        (Failed(kind=NODE, asked=Resources(), nodes="n3"), Change(exclude="n3")),
        (Failed(kind=NODE, asked=Resources(), nodes="n[3-4]"), Change()),
        (Failed(kind=NODE, asked=Resources(nodelist="n3"), nodes="n3"), Change()),
        (Failed(kind=NODE, asked=Resources()), Change()),
        (Failed(kind=EndingKind.PREEMPTED, asked=Resources()), Change()),
    ],
)
def test_each_cause_has_its_remedy(failed: Failed, change: Change) -> None:
    assert decide(Retries(), failed, (), Change()) == change


@pytest.mark.parametrize("kind", sorted(set(EndingKind) - {MEMORY, TIME, NODE, EndingKind.PREEMPTED}))
def test_what_is_no_fault_of_the_place_is_not_tried_again(kind: EndingKind) -> None:
    assert decide(Retries(), Failed(kind=kind, asked=Resources(memory="1G")), (), Change()) == f"{kind} is not retried"


@pytest.mark.parametrize(
    ("policy", "failed", "causes", "why"),
    [
        (Retries(most=2), Failed(kind=NODE, asked=Resources()), (MEMORY, TIME), "again 2 times already"),
        (Retries(bounds={NODE: 1}), Failed(kind=NODE, asked=Resources()), (NODE,), "1 times for node failure"),
        (Retries(), Failed(kind=MEMORY, asked=Resources(memory="0")), (), "all of its node's"),
        (Retries(), Failed(kind=MEMORY, asked=Resources()), (), "nobody knows how much memory"),
        (Retries(), Failed(kind=TIME, asked=Resources()), (), "nobody knows how much time"),
        (Retries(largest_memory=Memory(300)), Failed(kind=MEMORY, asked=Resources(memory="300M")), (), "the most"),
        (Retries(longest_time=timedelta(hours=1)), Failed(kind=TIME, asked=Resources(time="1h")), (), "the longest"),
    ],
)
def test_there_is_an_end_to_it(policy: Retries, failed: Failed, causes: tuple[EndingKind, ...], why: str) -> None:
    decided = decide(policy, failed, causes, Change())
    assert isinstance(decided, str)
    assert why in decided


def test_the_last_step_of_more_is_cut_to_what_may_be_asked_for() -> None:
    failed = Failed(kind=MEMORY, asked=Resources(memory="200M"))
    assert decide(Retries(largest_memory=Memory(300)), failed, (), Change()) == Change(memory=Memory(300))


def test_what_was_changed_before_stays_changed() -> None:
    before = Change(memory=Memory(400), exclude="n1")
    decided = decide(Retries(), Failed(kind=NODE, asked=Resources(), nodes="n3"), (MEMORY, NODE), before)
    assert decided == Change(memory=Memory(400), exclude="n1,n3")


@pytest.mark.parametrize(
    ("change", "asked", "then"),
    [
        (Change(memory=Memory(400)), Resources(memory="900M"), Resources(memory="900M")),
        (Change(memory=Memory(400)), Resources(memory_per_cpu="2G"), Resources(memory_per_cpu="2G")),
        (Change(memory=Memory(400)), Resources(cpus=2), Resources(cpus=2, memory="400M")),
        (Change(time=timedelta(hours=2)), Resources(time="1h"), Resources(time="2h")),
        (Change(exclude="n3"), Resources(exclude="n1,n3"), Resources(exclude="n1,n3")),
        (Change(exclude="n3"), Resources(nodelist="n3"), Resources(nodelist="n3")),
    ],
)
def test_a_change_is_the_least_that_is_asked_for(change: Change, asked: Resources, then: Resources) -> None:
    assert change.on(asked).options == then.options


def test_what_was_decided_is_read_as_it_was_written() -> None:
    change = Change(memory_per_cpu=Memory(400), time=timedelta(hours=30), exclude="n[1-2]")
    again = Again(attempt=3, causes=(MEMORY, NODE), change=change, why="it's so")
    assert Again.of(again.to_bytes()) == again


def test_an_element_finds_its_checkpoint_wherever_it_stands_in_the_next_array() -> None:
    folder = RunFolder(base=PurePosixPath("/home"), key=f"sha256:{'ab' * 32}")
    request = RunRequest(command=("true",))
    five, six = (Element(arguments=(each,), outputs=()) for each in "56")
    first = Attempt(request=request, folder=folder.attempt(1), place="west", elements=(five, six))
    second = Attempt(request=request, folder=folder.attempt(2), place="west", elements=(six,), since=1)

    def place(attempt: Attempt, index: int) -> str:
        found: str = json.loads(attempt.order(index))["checkpoint"]
        return os.path.normpath(attempt.folder.element(index).path / found)

    assert place(first, 1) == place(second, 0)
    assert place(first, 0) != place(first, 1)
