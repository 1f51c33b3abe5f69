"""The arithmetic of the benchmark."""

from __future__ import annotations

import importlib
import time
from functools import reduce

import pytest

from benchmarks.scoring import catalogue, report
from benchmarks.scoring.outcome import Outcome, marginal_us
from benchmarks.scoring.profile import REST, STAGES, Stopwatch
from benchmarks.scoring.stages import GROWS_WITH, NOTHING, WARM, Stages

COLD, THEIRS = "sluiceway, cold", "gnomon, cold"


def outcome(scores: int, pairs: int, policy: str = "catalogue", **cpu: list[float]) -> Outcome:
    names = {"ours": COLD, "theirs": THEIRS}
    taken = [
        {"name": names[who], "inside": "all", "exit_code": 0, "wall_s": 2 * s, "cpu_s": s, "peak_gb": 0.9, "load": 1.0}
        for who, seconds in cpu.items()
        for s in seconds
    ]
    extent = {"rows": 0, "pairs": pairs, "certain_pairs": pairs // 2, "needed_variants": 0, "panel_variants": 0}
    return Outcome(
        machine="m", date="d", scores=scores, scale=1, policy=policy, extent={**extent, "people": 9}, taken=taken,
        agreement={},
    )  # fmt: skip


def test_a_ratio_is_of_medians() -> None:
    measured = outcome(50, 10, ours=[1, 2, 9], theirs=[4, 5, 100])
    assert measured.ratio(COLD, THEIRS, "cpu_s") == 2 / 5
    assert measured.ratio(COLD, "plink2, multi", "cpu_s") is None


def test_a_run_that_failed_counts_nothing() -> None:
    measured = outcome(50, 10, ours=[1, 3])
    measured.taken[1]["exit_code"] = 1
    assert measured.values(COLD, "cpu_s") == [1]
    measured.taken[0]["exit_code"] = 1
    assert measured.median(COLD, "cpu_s") is None
    assert "failed" in report.measured(measured)


@pytest.mark.parametrize(
    ("larger", "policy", "name", "us"),
    [
        (1_000_010, "catalogue", THEIRS, 4.0),
        # Half of the pairs read the same on both strands, and ours leaves those out.
        (1_000_010, "catalogue", COLD, 6.0),
        (1_000_010, "just-prs", COLD, 3.0),
        (10, "catalogue", COLD, None),
        (1_000_010, "catalogue", "plink2, multi", None),
    ],
)
def test_a_pair_more_costs_more_seconds_by_more_pairs(larger: int, policy: str, name: str, us: float | None) -> None:
    few = outcome(50, 10, policy, ours=[1], theirs=[3])
    many = outcome(200, larger, policy, ours=[4], theirs=[7])
    assert marginal_us(few, many, name) == us


@pytest.mark.parametrize(("ours", "said"), [(5, "1/2.00 | reached"), (10, "1/1.00 | missed by 30 %")])
def test_what_was_asked_for_stands_beside_what_was_reached(ours: float, said: str) -> None:
    assert said in report.verdict([outcome(50, 10, ours=[ours], theirs=[10])])


def test_the_catalogue_is_what_each_costs_times_how_many_there_are() -> None:
    once = dict.fromkeys([*STAGES, REST], 2.0)
    extent = {"panel_variants": 4, "rows": 10, "needed_variants": 2, "certain_pairs": 8}
    stages = Stages(machine="m", date="d", scores=5, extent=extent, seconds={NOTHING: once, WARM: once})
    found = catalogue.seconds(stages)
    assert found["prepare the panel"] == 75e6 * 2 / 4
    assert found["decode"] == 11 * 26e6 * 2 / 2
    assert found["tables"] == 5_300 * 2 / 5
    assert f"{sum(found.values()):,.0f}" in catalogue.estimate(stages)


def test_a_stage_s_seconds_are_without_those_of_a_stage_inside() -> None:
    watch, spent = Stopwatch(), 0.03

    def burn() -> None:
        end = time.thread_time() + spent
        while time.thread_time() < end:
            pass

    inner = watch.of("decode", burn)

    def around() -> None:
        burn()
        inner()
        inner()

    watch.of("multiply", around)()
    seconds = watch.seconds()
    assert seconds["decode"] == pytest.approx(2 * spent, rel=0.2)
    assert seconds["multiply"] == pytest.approx(spent, rel=0.2)


@pytest.mark.parametrize("function", [each for functions in STAGES.values() for each in functions])
def test_a_function_that_is_timed_is_there(function: str) -> None:
    module, _, name = function.partition(":")
    found = reduce(getattr, name.split("."), importlib.import_module(f"sluiceway.{module}"))
    assert callable(found)


def test_each_stage_grows_with_something() -> None:
    assert set(GROWS_WITH) == set(STAGES)
