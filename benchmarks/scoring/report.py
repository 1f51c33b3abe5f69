"""What a run of the benchmark says: a table, ratios, JSON, and what it means for the whole catalogue.

`python -m benchmarks.scoring.report FILE [FILE]` prints the block for docs/benchmarks.md from the outcome of 50 scores
and, where it is given too, of 200.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

PAIRS: Final = {50: 4_936_693, 200: 13_166_217}
"""Matched rows, so multiplications of a weight by everybody's genotype, at full scale."""
ROWS: Final = {50: 5_196_517, 200: 13_859_177}
"""Rows of score files, at full scale."""

FULL_PAIRS, FULL_ROWS, FULL_UNION, FULL_PANEL, FULL_SCORES = 1.9e9, 2.0e9, 26e6, 75e6, 5_300
"""The catalogue on one build against a panel of whole genomes: an estimate, from sizes the catalogue's files have."""

_CATALOGUE: Final = (
    "The whole catalogue, {:,} scores of {:.1g} rows, against {:.0f} million variants, {:.0f} million of them needed "
    "(an estimate from rates, not a measurement):"
)

BESIDE: Final = (
    ("sluiceway, cold", "gnomon, cold"),
    ("sluiceway, warm", "gnomon, warm"),
    ("sluiceway, warm", "gnomon, warm, matches kept"),
    ("sluiceway, warm", "plink2, single"),
    ("sluiceway, warm", "plink2, multi"),
    ("sluiceway, cold", "just-prs, cold"),
    ("sluiceway, warm", "just-prs, warm"),
    ("sluiceway, warm", "just-prs, warm, PRS_GENO_CHUNK_SIZE=4000"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that was measured in one run of the benchmark."""

    machine: str
    date: str
    scores: int
    scale: float
    policy: str
    taken: list[dict[str, Any]]
    agreement: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, **measured: Any) -> Self:
        """Add this machine and this day to what was measured."""
        return cls(machine=_machine(), date=datetime.now(UTC).date().isoformat(), **measured)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an outcome that was kept."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Keep the outcome."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def names(self) -> list[str]:
        """The tools and modes in the order in which they first ran."""
        return list(dict.fromkeys(each["name"] for each in self.taken))

    def values(self, name: str, figure: str) -> list[float]:
        """One figure of every run of one tool and mode that went to its end."""
        return [each[figure] for each in self.taken if each["name"] == name and each["exit_code"] == 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """CPU seconds of our stages for one of what each is proportional to."""

    prepare_variant: float
    parse_row: float
    match_row: float
    decode_variant: float
    multiply_pair: float
    summarise_score: float

    def catalogue(self) -> dict[str, float]:
        """CPU seconds of each stage for the whole catalogue."""
        return {
            "prepare the panel, once": self.prepare_variant * FULL_PANEL,
            "parse, once": self.parse_row * FULL_ROWS,
            "match": self.match_row * FULL_ROWS,
            "decode": self.decode_variant * FULL_UNION,
            "multiply": self.multiply_pair * FULL_PAIRS,
            "distributions": self.summarise_score * FULL_SCORES,
        }


def markdown(outcome: Outcome, larger: Outcome | None = None, stages: Stages | None = None) -> str:
    """Give the block for docs/benchmarks.md."""
    parts = [_heading(outcome), _table(outcome), _ratios(outcome)]
    if larger:
        parts += [_heading(larger), _table(larger), _ratios(larger), _marginal(outcome, larger)]
    if stages:
        parts.append(_extrapolation(stages))
    return "\n\n".join(part for part in parts if part)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def _heading(outcome: Outcome) -> str:
    loads = sorted(each["load"] for each in outcome.taken)
    return (
        f"{outcome.scores} scores, scale {outcome.scale:g}, policy `{outcome.policy}`; {outcome.machine}; "
        f"{outcome.date}; load before runs {loads[0]:.1f} to {loads[-1]:.1f}. Median [smallest-largest]; peak memory "
        "is that of the largest single process."
    )


def _table(outcome: Outcome) -> str:
    lines = [
        "| tool | runs | wall s | CPU s | peak GB | median / worst distance, SD | inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in outcome.names():
        cells = [_spread(outcome.values(name, figure)) for figure in ("wall_s", "cpu_s", "peak_gb")]
        count = len(outcome.values(name, "wall_s"))
        inside = next(each["inside"] for each in outcome.taken if each["name"] == name)
        lines.append(f"| {name} | {count} | {' | '.join(cells)} | {_distance(outcome, name)} | {inside} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return "failed"
    digits = 2 if max(values) < 10 else 1
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def _distance(outcome: Outcome, name: str) -> str:
    tool = name if name in outcome.agreement else name.partition(",")[0]
    found = None if name == "sluiceway, panel" else outcome.agreement.get(tool)
    return f"{found['median']:.1e} / {found['worst']:.1e} ({found['score']})" if found else ""


def _ratios(outcome: Outcome) -> str:
    lines = ["| ours / theirs | CPU | wall |", "|---|---|---|"]
    for ours, theirs in BESIDE:
        figures = [(outcome.values(ours, each), outcome.values(theirs, each)) for each in ("cpu_s", "wall_s")]
        if all(mine and other for mine, other in figures):
            cells = " | ".join(f"{median(mine) / median(other):.3f}" for mine, other in figures)
            lines.append(f"| {ours} / {theirs} | {cells} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def marginal_us(smaller: Outcome, larger: Outcome, name: str) -> float | None:
    """CPU microseconds for each pair more, from 50 scores to 200; a pair is one weight times everybody's genotype."""
    few, many = smaller.values(name, "cpu_s"), larger.values(name, "cpu_s")
    if not few or not many:
        return None
    pairs = (PAIRS[larger.scores] - PAIRS[smaller.scores]) * larger.scale
    return (median(many) - median(few)) / pairs * 1e6


def _marginal(smaller: Outcome, larger: Outcome) -> str:
    lines = ["| tool | CPU microseconds for each pair more |", "|---|---|"]
    for name in larger.names():
        cost = marginal_us(smaller, larger, name)
        if cost is not None and name != "sluiceway, panel":
            lines.append(f"| {name} | {cost:.2f} |")
    cold, warm = (larger.values(f"sluiceway, {mode}", "cpu_s") for mode in ("cold", "warm"))
    if cold and warm:
        cost = (median(cold) - median(warm)) / ROWS[larger.scores] / larger.scale * 1e6
        lines.append(f"| sluiceway, what cold takes beyond warm, for each row | {cost:.2f} |")
    return "\n".join(lines)


def _extrapolation(stages: Stages) -> str:
    costs = stages.catalogue()
    cold = sum(costs.values()) - costs["prepare the panel, once"]
    warm = cold - costs["parse, once"]
    lines = [
        _CATALOGUE.format(FULL_SCORES, FULL_ROWS, FULL_PANEL / 1e6, FULL_UNION / 1e6),
        "",
        "| stage | CPU s |",
        "|---|---|",
        *(f"| {name} | {cost:,.0f} |" for name, cost in costs.items()),
        f"| all but the panel, cold / warm | {cold:,.0f} / {warm:,.0f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the block from outcomes that were kept, with our stages where a file of them is given by --stages."""
    named = [argument for argument in sys.argv[1:] if not argument.startswith("--stages=")]
    given = next((argument.split("=", 1)[1] for argument in sys.argv[1:] if argument.startswith("--stages=")), None)
    stages = Stages(**json.loads(Path(given).read_text())) if given else None
    outcomes = [Outcome.read(Path(each)) for each in named[:2]]
    print(markdown(outcomes[0], outcomes[1] if len(outcomes) > 1 else None, stages))


if __name__ == "__main__":
    main()
