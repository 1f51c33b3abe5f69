"""What the whole catalogue would take on one build: an estimate from measured stages, with its arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.scoring.profile import REST, STAGES
from benchmarks.scoring.report import table
from benchmarks.scoring.stages import GROWS_WITH, MADE_ONCE

if TYPE_CHECKING:
    from benchmarks.scoring.stages import Stages

EXTENT: Final = {
    "panel_variants": 75e6,
    "rows": 2.0e9,
    "needed_variants": 26e6,
    "certain_pairs": 1.8e9,
    "scores": 5_300,
}
"""Variants of 1000 Genomes in whole; 62 GB of files at some 30 bytes a row; of 35 million sites, those in the panel."""
BATCH: Final = 512
"""The most scores that go over the panel together."""
AGAIN: Final = -(-int(EXTENT["scores"]) // BATCH)
"""How often the panel is read: no batch needs more than all of its needed variants."""


def seconds(stages: Stages) -> dict[str, float]:
    """CPU seconds of every stage for the whole catalogue."""
    return {stage: _times(stage) * stages.each_us(stage) / 1e6 for stage in STAGES}


def _times(stage: str) -> float:
    return EXTENT[GROWS_WITH[stage]] * (AGAIN if stage == "decode" else 1)


def measured(stages: Stages) -> str:
    """Where our CPU seconds went, and what each of what they grow with takes."""
    lines: list[tuple[str, ...]] = []
    for stage in STAGES:
        nothing, warm = stages.of(stage)
        unit = f"{stages.each_us(stage):,.3g} us for each of {stages.amount(stage):,} {_said(stage)}"
        lines.append((stage, f"{nothing:.2f}", f"{warm:.2f}", unit))
    lines.append((REST, *(f"{each:.2f}" for each in stages.of(REST)), ""))
    lines.append(("sum", *(f"{sum(each.values()):.1f}" for each in stages.seconds.values()), ""))
    return table((f"stage, {stages.scores} scores", "CPU s from nothing", "CPU s warm", "so much"), lines)


def each_more(smaller: Stages, larger: Stages) -> str:
    """What each pair more costs by the stages of two sizes, the panel's table left out."""
    pairs = larger.extent["certain_pairs"] - smaller.extent["certain_pairs"]
    lines = []
    for name in larger.seconds:
        many, few = (
            sum(cost for stage, cost in each.seconds[name].items() if stage != "prepare the panel")
            for each in (larger, smaller)
        )
        lines.append((name, f"{many:.1f}", f"{few:.1f}", f"{pairs:,}", f"{(many - few) / pairs * 1e6:.2f}"))
    heads = (
        "one worker",
        f"CPU s, {larger.scores}",
        f"CPU s, {smaller.scores}",
        "pairs more",
        "CPU us for each pair more",
    )
    return table(heads, lines)


def estimate(stages: Stages) -> str:
    """The whole catalogue, stage by stage."""
    found = seconds(stages)
    lines = []
    for stage, cost in found.items():
        times = f"{AGAIN} x " if stage == "decode" else ""
        sum_of = f"{times}{EXTENT[GROWS_WITH[stage]]:,.0f} {_said(stage)} x {stages.each_us(stage):,.3g} us"
        lines.append((stage, sum_of, f"{cost:,.0f}"))
    once = sum(found[stage] for stage in MADE_ONCE)
    lines.append(("all, from nothing", "", f"{sum(found.values()):,.0f}"))
    lines.append(
        (
            "all, warm",
            "without what is made once: the panel's table and those of scores",
            f"{sum(found.values()) - once:,.0f}",
        )
    )
    return table(("stage", "arithmetic", "CPU s"), lines)


def _said(stage: str) -> str:
    return GROWS_WITH[stage].replace("certain_", "").replace("_", " ")
