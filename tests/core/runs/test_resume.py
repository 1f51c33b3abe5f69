"""An interrupted run goes on behind the ranges that it had finished, and gives the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Staged, score_part
from sluiceway.core.genetics.score import Batch, Partial
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.genetics.totals import Totals
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@dataclass
class Counting:
    """Scores ranges here, notes which, and is interrupted before one more than it may."""

    may: int = 1_000
    scored: list[int] = field(default_factory=list)

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        for part in parts:
            if len(self.scored) == self.may:
                raise KeyboardInterrupt
            self.scored.append(part.number)
            yield score_part(reference, staged, part)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=3_000, people=40)
    make_scores(folder / "scores", folder / "panel")
    return folder


def run(synthetic: Path, out: Path, scorer: Counting, **changes: object) -> Summary:
    files = sorted((synthetic / "scores").iterdir())[:12]
    asked = Asked(**{"panel": synthetic / "panel", "scores": tuple(files), "out": out, **changes})  # type: ignore[arg-type]
    return ReferenceScoring(asked, clock=SystemClock(), scorer=scorer, keep_every=timedelta(0)).run()


def whole(synthetic: Path, place: Path) -> tuple[int, list[bytes]]:
    """What a run without a cache and without interruption reads and gives."""
    scorer = Counting()
    run(synthetic, place / "whole", scorer, use_cache=False)
    for left in (place / "home" / "store").iterdir():
        left.rename(place / f"aside-{left.name}")
    return len(scorer.scored), contents(place / "whole")


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in TABLES]


def interrupted(synthetic: Path, place: Path, *, after: int) -> Path:
    """Interrupt a run, and give the file that it leaves."""
    with pytest.raises(KeyboardInterrupt):
        run(synthetic, place / "out", Counting(may=after))
    (left,) = (place / "cache" / "totals").iterdir()
    return left


def test_ranges_that_were_finished_are_not_read_again(synthetic: Path, place: Path) -> None:
    of, expected = whole(synthetic, place)
    assert of > 2
    for after in range(1, of):
        interrupted(synthetic, place, after=after)
        scorer = Counting()
        run(synthetic, place / "out", scorer)
        assert scorer.scored == list(range(after, of))
        assert contents(place / "out") == expected
        assert list((place / "cache" / "totals").iterdir()) == []
        (place / "home" / "store").rename(place / f"store-{after}")


def test_fewer_scores_go_on_and_others_begin_anew(synthetic: Path, place: Path) -> None:
    of, expected = whole(synthetic, place)
    with pytest.raises(KeyboardInterrupt):
        run(synthetic, place / "out", Counting(may=2), limit=7)
    scorer = Counting()
    run(synthetic, place / "out", scorer)
    assert scorer.scored == [*range(2, of), *range(of)]
    assert contents(place / "out") == expected
    assert list((place / "cache" / "totals").iterdir()) == []


@pytest.mark.parametrize("at", [0.001, 0.5, 0.999, "cut", "empty"])
def test_damaged_totals_are_added_up_again(synthetic: Path, place: Path, at: float | str) -> None:
    """Red on: core/runs/checkpoints.py: `if _tagged(hashlib.sha256(body)) != self.digest:` -> `if False:`."""
    of, expected = whole(synthetic, place)
    left = interrupted(synthetic, place, after=2)
    content = bytearray(left.read_bytes())
    if isinstance(at, str):
        content = content[: len(content) // 2 if at == "cut" else 0]
    else:
        content[int(at * len(content))] ^= 64
    left.write_bytes(content)
    scorer = Counting()
    run(synthetic, place / "out", scorer)
    assert scorer.scored == list(range(of))
    assert contents(place / "out") == expected
    assert not left.exists()


def test_totals_of_which_every_result_is_there_are_removed(synthetic: Path, place: Path) -> None:
    left = interrupted(synthetic, place, after=2)
    content = left.read_bytes()
    run(synthetic, place / "out", Counting())
    left.write_bytes(content)
    run(synthetic, place / "out", Counting(may=0))
    assert not left.exists()


def test_without_the_cache_nothing_is_resumed(synthetic: Path, place: Path) -> None:
    interrupted(synthetic, place, after=2)
    scorer = Counting()
    run(synthetic, place / "out", scorer, use_cache=False)
    assert scorer.scored[0] == 0


def test_another_policy_does_not_go_on_with_these_totals(synthetic: Path, place: Path) -> None:
    interrupted(synthetic, place, after=2)
    scorer = Counting()
    run(synthetic, place / "out", scorer, policy=Policy(missing="zero"))
    assert scorer.scored[0] == 0


def test_totals_put_back_are_the_same_to_the_bit() -> None:
    chance = np.random.default_rng(7)
    sexes = np.array([1, 2, 0], np.uint8)
    totals, again = (Totals(Batch(scores=2, samples=3, policy=Policy()), sexes) for _ in range(2))
    totals.mass += chance.normal(size=totals.mass.shape)
    totals.reasons += 3
    again.restore({name: array.copy() for name, array in totals.state().items()})
    for name, array in totals.state().items():
        assert again.state()[name].tobytes() == array.tobytes()
        assert again.state()[name].dtype == array.dtype
