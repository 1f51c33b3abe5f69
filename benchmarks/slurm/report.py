"""Tables of what was measured."""

from __future__ import annotations

from statistics import mean, median
from typing import TYPE_CHECKING

from benchmarks.scoring.report import table
from benchmarks.slurm.login_node import SESSION
from benchmarks.slurm.outcome import DAGSTER, OURS, SUBMITIT, Outcome, middle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.slurm.outcome import Rate


def verdict(outcome: Outcome) -> str:
    """What was aimed at, and what came of it."""
    few, many = outcome.rates[0], [each for each in outcome.rates if each.name == OURS][-1]
    steady = f"{few.sessions:.0f} with {few.jobs} job, {many.sessions:.0f} with {many.jobs}"
    rows = [
        ("a job that does nothing, beyond Slurm itself", "below 1 s", f"{outcome.overhead(OURS):.2f} s"),
        ("commands for an hour, whatever the number of jobs", "constant", steady),
    ]
    ours, theirs = outcome.rate(OURS, 20), outcome.rate(DAGSTER, 20)
    if ours is not None and theirs is not None:
        times = f"{theirs.sessions / ours.sessions:.0f} times fewer over SSH, " if ours.sessions else ""
        times += f"{theirs.programs / ours.programs:.0f} times fewer of Slurm's" if ours.programs else ""
        rows.append(("commands beside dagster-slurm, 20 jobs", "5 times fewer", times))
    return table(("what", "aim", "measured"), rows)


def noops(outcome: Outcome) -> str:
    """A job that does nothing: how long, beyond sbatch, and what was asked for it."""
    rows = []
    for name, seconds in outcome.noop.items():
        beyond = "" if name == "sbatch" else f"{outcome.overhead(name):.2f}"
        submitted, ended = _asked(outcome.submitted[name]), _asked(outcome.ended[name])
        rows.append((name, middle(seconds), beyond, submitted, ended))
    head = ("", "seconds to the verdict", "beyond sbatch", "asked until submitted", "asked in all")
    return table(head, rows)


def rates(outcome: Outcome) -> str:
    """What is asked in an hour while nothing happens."""
    head = ("", "jobs", "commands over SSH for an hour", "Slurm's for an hour", "counted", "connections")
    return table(head, [_rate(each) for each in outcome.rates])


def lags(outcome: Outcome) -> str:
    """How late a line is heard."""
    return table(("", "seconds until a line is heard"), [(name, middle(each)) for name, each in outcome.lag.items()])


def maps(outcome: Outcome) -> str:
    """How long a map takes."""
    bare = median(outcome.mapped["sbatch"])
    rows = [
        (name, f"{median(each):.0f}", f"{median(each) / bare:.2f}", f"{median(each) / outcome.items * 1000:.0f}")
        for name, each in outcome.mapped.items()
    ]
    return table(("", f"seconds for {outcome.items} items", "of sbatch's", "ms for an item"), rows)


def setting(outcome: Outcome) -> str:
    """Where, when and beside what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    loads = ", ".join(f"{each:.1f}" for each in outcome.loads)
    return f"{outcome.machine}; {outcome.date}; {versions}. Load at the beginning of each part: {loads}."


BLOCKS: dict[str, Callable[[Outcome], str]] = {
    "setting": setting, "verdict": verdict, "noops": noops, "rates": rates, "lags": lags, "maps": maps,
}  # fmt: skip


def _rate(rate: Rate) -> tuple[str, ...]:
    over = "" if rate.name == SUBMITIT else f"{rate.sessions:,.0f}"
    counted = f"{_counted(rate.asked)} in {rate.seconds:.0f} s"
    jobs = f"{rate.jobs:,} {rate.state}"
    return rate.name, jobs, over, f"{rate.programs:,.0f}", counted, str(rate.connections)


def _asked(rounds: list[dict[str, int]]) -> str:
    """Write means by kind."""
    kinds = {kind for each in rounds for kind in each}
    return _counted({kind: mean(each.get(kind, 0) for each in rounds) for kind in kinds})


def _counted(asked: Mapping[str, float]) -> str:
    """Write counts by kind, sessions first."""
    ordered = sorted(asked.items(), key=lambda each: (each[0] != SESSION, each[0]))
    return ", ".join(f"{count:.3g} {'over SSH' if kind == SESSION else kind}" for kind, count in ordered)
