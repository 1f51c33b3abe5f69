"""The tables that a run of the benchmark gives, as Markdown."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.scoring.outcome import marginal_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scoring.outcome import Outcome

BESIDE: Final = (
    ("sluiceway, cold", "gnomon, cold"),
    ("sluiceway, warm", "gnomon, warm"),
    ("sluiceway, warm", "gnomon, warm, matches kept"),
    ("sluiceway, warm", "plink2, single"),
    ("sluiceway, warm", "plink2, multi"),
    ("sluiceway, cold", "just-prs, cold"),
    ("sluiceway, warm", "just-prs, warm"),
    ("sluiceway, warm", "just-prs, warm, PRS_GENO_CHUNK_SIZE=4000"),
    ("sluiceway, warm", "sluiceway, warm with one thread"),
    ("sluiceway, warm with match log", "sluiceway, warm"),
)
ASKED: Final = {
    50: {
        ("sluiceway, cold", "gnomon, cold"): 1.3,
        ("sluiceway, warm", "gnomon, warm"): 1.6,
        ("sluiceway, warm", "plink2, multi"): 4.0,
        ("sluiceway, warm", "just-prs, warm"): 20.0,
    },
    200: {
        ("sluiceway, cold", "gnomon, cold"): 2.5,
        ("sluiceway, warm", "gnomon, warm"): 3.0,
        ("sluiceway, warm", "plink2, multi"): 4.0,
    },
}
"""How many times our CPU seconds are to be in those of another, by how many scores there are."""
MOST_US: Final = {"sluiceway, cold": 1.7, "sluiceway, warm": 1.0}
MOST_GB: Final = {50: 1.0, 200: 1.5}


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    rules = ["---"] * len(heads)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *lines))


def measured(outcome: Outcome) -> str:
    """What was measured, and how often ours is in the others."""
    return "\n\n".join(part for part in (_heading(outcome), _tools(outcome), _ratios(outcome)) if part)


def _heading(outcome: Outcome) -> str:
    loads = sorted(each["load"] for each in outcome.taken)
    extent = outcome.extent
    return (
        f"{outcome.scores} scores of {extent['rows']:,} rows, {extent['pairs']:,} of which are of "
        f"{extent['needed_variants']:,} of the panel's {extent['panel_variants']:,} variants; "
        f"{extent['people']:,} people.\n{outcome.machine}; {outcome.date}; load before runs "
        f"{loads[0]:.1f} to {loads[-1]:.1f}. Median [smallest-largest]."
    )


def _tools(outcome: Outcome) -> str:
    heads = ("tool", "runs", "wall s", "CPU s", "peak GB", "median / worst distance, SD", "inside")
    lines = []
    for name in outcome.names():
        cells = [_spread(outcome.values(name, figure)) for figure in ("wall_s", "cpu_s", "peak_gb")]
        count = len(outcome.values(name, "wall_s"))
        inside = next(each["inside"] for each in outcome.taken if each["name"] == name)
        lines.append((name, str(count), *cells, _distance(outcome, name), inside))
    return table(heads, lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "failed"
    digits = 2 if max(values) < 10 else 1
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def _distance(outcome: Outcome, name: str) -> str:
    tool = name if name in outcome.agreement else name.partition(",")[0]
    found = None if name == "sluiceway, panel" else outcome.agreement.get(tool)
    return f"{found['median']:.1e} / {found['worst']:.1e}" if found else ""


def _ratios(outcome: Outcome) -> str:
    lines = []
    for ours, theirs in BESIDE:
        cpu, wall = (outcome.ratio(ours, theirs, figure) for figure in ("cpu_s", "wall_s"))
        if cpu is not None and wall is not None:
            lines.append((f"{ours} / {theirs}", f"{cpu:.3f}", f"{wall:.3f}"))
    return table(("one / other", "CPU", "wall"), lines) if lines else ""


def verdict(outcomes: Sequence[Outcome]) -> str:
    """What was asked for beside what was reached."""
    lines = [line for outcome in outcomes for line in (*_speed(outcome), *_memory(outcome))]
    lines += [line for pair in pairwise(outcomes) for line in _each(*pair)]
    return table(("asked for", "at most", "reached", ""), lines)


def _speed(outcome: Outcome) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for (ours, theirs), times in ASKED.get(outcome.scores, {}).items():
        ratio = outcome.ratio(ours, theirs, "cpu_s")
        if ratio is not None:
            said = f"CPU, {ours} / {theirs}, {outcome.scores} scores"
            lines.append((said, f"1/{times:g}", f"1/{1 / ratio:.2f}", _judged(ratio, 1 / times)))
    return lines


def _memory(outcome: Outcome) -> list[tuple[str, ...]]:
    most = MOST_GB.get(outcome.scores)
    peaks = [peak for mode in ("cold", "warm") for peak in outcome.values(f"sluiceway, {mode}", "peak_gb")]
    if most is None or not peaks:
        return []
    said = f"peak memory, {outcome.scores} scores"
    return [(said, f"{most:g} GB", f"{max(peaks):.2f} GB", _judged(max(peaks), most))]


def _each(smaller: Outcome, larger: Outcome) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name, most in MOST_US.items():
        cost = marginal_us(smaller, larger, name)
        if cost is not None:
            said = f"CPU for each pair more, {name}, {smaller.scores} to {larger.scores} scores"
            lines.append((said, f"{most:g} us", f"{cost:.2f} us", _judged(cost, most)))
    return lines


def _judged(value: float, most: float) -> str:
    return "reached" if value <= most else f"missed by {100 * (value / most - 1):.0f} %"


def marginal(smaller: Outcome, larger: Outcome) -> str:
    """What each pair more costs each tool: more CPU seconds by more pairs."""
    lines: list[tuple[str, ...]] = []
    for name in larger.names():
        cost = marginal_us(smaller, larger, name)
        if cost is not None and name != "sluiceway, panel":
            seconds = [f"{outcome.median(name, 'cpu_s'):.1f}" for outcome in (larger, smaller)]
            lines.append((name, *seconds, f"{larger.pairs(name) - smaller.pairs(name):,}", f"{cost:.2f}"))
    heads = ("tool", f"CPU s, {larger.scores}", f"CPU s, {smaller.scores}", "pairs more", "CPU us for each pair more")
    return table(heads, lines)
