"""Terms times genotypes: the same bits alone and in company, and as the obvious loop has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sluiceway.core.genetics.kernel import TERM, Terms
from sluiceway.core.genetics.product import MANY, Calls, Sums, add_block, list_calls

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Held = NDArray[np.int8] | NDArray[np.float32]

SLOTS = 700
PEOPLE = 300
SIGN = {np.int8: 0x8080808080808080, np.float32: 0x8000000080000000}
SIZES = (MANY, MANY - 1, 600, 1, 400, 300, 257, 500, 40, 699)


def block(seed: int, kind: type[np.int8 | np.float32]) -> Any:
    """Copies of rare and of common alleles; some calls are missing."""
    rng = np.random.default_rng(seed)
    share = np.where(rng.random(SLOTS) < 0.3, 0.002, rng.random(SLOTS))
    held: Any = rng.binomial(2, share[:, None], (SLOTS, PEOPLE)).astype(kind)
    held[rng.random(held.shape) < 0.01] = -9
    return held


def terms_of(seed: int) -> list[NDArray[np.void]]:
    rng, scores = np.random.default_rng(seed), []
    for number, size in enumerate(SIZES):
        terms = np.zeros(size, TERM)
        terms["slot"] = np.sort(rng.choice(SLOTS, size, replace=False))
        terms["weight"], terms["fill"], terms["score"] = rng.normal(size=size), rng.normal(size=size), number
        scores.append(terms)
    return scores


def added(held: Held, scores: list[NDArray[np.void]]) -> Sums:
    """Add some scores' terms; the block's slots are those that they use."""
    terms = np.concatenate(scores)
    used = np.unique(terms["slot"])
    place = np.full(SLOTS, -1, np.int32)
    place[used] = np.arange(used.size)
    room = np.zeros(-(-used.size * PEOPLE * held.itemsize // 8), np.uint64)
    lines = room.view(held.dtype)[: used.size * PEOPLE].reshape(used.size, PEOPLE)
    lines[:] = held[used]
    is_sparse = np.maximum(held, 0).mean(axis=1)[used] < 0.05
    listed = SLOTS * PEOPLE
    calls = Calls(
        is_sparse, np.empty(used.size + 1, np.int64), np.empty(listed, np.int32), np.empty(listed, held.dtype)
    )
    list_calls(lines, room, np.uint64(SIGN[held.dtype.type]), calls)
    into = Sums(sums=np.zeros((len(SIZES), PEOPLE)), missing=np.zeros((len(SIZES), PEOPLE), np.int32))
    add_block(Terms(terms=terms, start=np.array([0, terms.size])), 0, place, lines, calls, into, SLOTS)
    return into


@pytest.mark.parametrize("kind", [np.int8, np.float32])
def test_scores_with_many_terms_and_with_few_are_as_the_obvious_loop_has_them(
    kind: type[np.int8 | np.float32],
) -> None:
    held, scores = block(1, kind), terms_of(2)
    into = added(held, scores)
    for number, terms in enumerate(scores):
        calls = held[terms["slot"]].astype(np.float64)
        counted = np.where(calls < 0, terms["fill"][:, None], terms["weight"][:, None] * calls)
        np.testing.assert_allclose(into.sums[number], counted.sum(axis=0), rtol=0, atol=1e-11)
        np.testing.assert_array_equal(into.missing[number], (calls < 0).sum(axis=0))


@pytest.mark.parametrize("kind", [np.int8, np.float32])
@pytest.mark.parametrize("company", [[0], [2, 5], [9, 4, 0], [0, 1, 2, 3, 4, 5], [4, 5, 6, 7, 8, 9]])
def test_a_score_has_the_same_bits_in_every_company(kind: type[np.int8 | np.float32], company: list[int]) -> None:
    held, scores = block(3, kind), terms_of(4)
    everybody, some = added(held, scores), added(held, [scores[each] for each in company])
    for number in company:
        assert some.sums[number].tobytes() == everybody.sums[number].tobytes()
        assert some.missing[number].tobytes() == everybody.missing[number].tobytes()
