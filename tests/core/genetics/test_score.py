"""The engine beside the obvious slow scorer, over random panels and scores."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sluiceway.core.genetics import score as engine
from sluiceway.core.genetics.alleles import allele_code, packed_keys
from sluiceway.core.genetics.match import Entries, Reason, match
from sluiceway.core.genetics.model import Model
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.rows import NO_ROWS, Rows
from sluiceway.core.genetics.score import Batch
from tests.core.genetics import oracle
from tests.core.genetics.oracle import Row, Site

SAMPLES = 7
INDELS = ["ACG", "T" * 40, "TT"]


class Memory:
    """Genotypes that are held in memory; counts what is read."""

    def __init__(self, sites: list[Site]) -> None:
        self._sites = sites
        self.read: list[int] = []

    def hardcalls(self, variants: NDArray[np.uint32], out: NDArray[np.int8]) -> None:
        out[:] = [[-9 if call is None else sum(call) for call in self._sites[each].calls] for each in variants]
        self.read += variants.tolist()

    def dosages(self, variants: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
        out[:] = [[-9 if call is None else sum(call) for call in self._sites[each].calls] for each in variants]
        self.read += variants.tolist()

    def alleles(self, variants: NDArray[np.uint32]) -> NDArray[np.int32]:
        self.read += variants.tolist()
        calls = [[call or (-9, -9) for call in self._sites[each].calls] for each in variants]
        return np.array(calls, np.int32).reshape(len(variants), -1)


def entries_of(sites: list[Site]) -> Entries:
    rows = [(site, number, variant) for variant, site in enumerate(sites) for number in range(1, len(site.alts) + 1)]
    ref = np.array([allele_code(site.ref) for site, _, _ in rows], np.uint64)
    alt = np.array([allele_code(site.alts[number - 1]) for site, number, _ in rows], np.uint64)
    key = packed_keys(
        np.ones(len(rows), np.uint8), np.array([site.position for site, _, _ in rows], np.uint32), ref, alt
    )
    order = np.argsort(key, kind="stable")
    return Entries(
        key=key[order],
        ref=ref[order],
        alt=alt[order],
        variant=np.array([variant for _, _, variant in rows], np.uint32)[order],
        allele=np.array([number for _, number, _ in rows], np.uint8)[order],
        multiallelic=np.array([len(site.alts) > 1 for site, _, _ in rows])[order],
        frequency=np.array([site.share(number) for site, number, _ in rows])[order],
        missing=np.array([site.calls.count(None) for site, _, _ in rows], np.uint32)[order],
    )


def rows_of(scores: list[list[Row]]) -> Rows:
    lines = [(number, line, row) for number, score in enumerate(scores) for line, row in enumerate(score)]
    n = len(lines)
    effect = np.array([allele_code(row.effect) for _, _, row in lines], np.uint64)
    other = np.array([allele_code(row.other) for _, _, row in lines], np.uint64)
    position = np.array([row.position for _, _, row in lines], np.uint32)
    rows = NO_ROWS._replace(
        key=packed_keys(np.ones(n, np.uint8), position, effect, other),
        effect=effect,
        other=other,
        weight=np.array([row.counts[2] for _, _, row in lines], float),
        counts=np.array([row.counts for _, _, row in lines], float).reshape(n, 3),
        row=np.array([line for _, line, _ in lines], np.uint32),
        score=np.array([number for number, _, _ in lines], np.uint32),
        model=np.array([model_of(row) for _, _, row in lines], np.uint8),
    )
    return rows.take(np.lexsort((rows.row, rows.key, rows.score)))


def model_of(row: Row) -> Model:
    if not row.is_dominance:
        return Model.DOSAGE
    return Model.DOMINANT if row.counts[1] else Model.RECESSIVE


def random_site(dice: random.Random, position: int) -> Site:
    ref, *alts = dice.sample(["A", "C", "G", "T", *INDELS], dice.choice([2, 2, 2, 3]))
    common = dice.random()
    calls: list[tuple[int, int] | None] = [(0, len(alts))]
    for _ in range(SAMPLES - 1):
        alleles = [dice.randint(1, len(alts)) if dice.random() < common else 0 for _ in range(2)]
        calls.append(None if dice.random() < 0.15 else (min(alleles), max(alleles)))
    return Site(position=position, ref=ref, alts=tuple(alts), calls=calls)


def random_row(dice: random.Random, sites: list[Site]) -> Row:
    site = dice.choice(sites)
    alleles = [site.ref, dice.choice(site.alts)]
    dice.shuffle(alleles)
    if dice.random() < 0.3 and all(each in oracle.COMPLEMENT for each in alleles):
        alleles = [oracle.COMPLEMENT[each] for each in alleles]
    weight = dice.uniform(-1, 1)
    model = dice.randrange(4)
    counts = [
        (0.0, weight, 2 * weight),
        (0.0, weight, weight),
        (0.0, 0.0, weight),
        (dice.random(), dice.random(), dice.random()),
    ][model]
    other = None if dice.random() < 0.15 else alleles[1] if dice.random() < 0.9 else "GGG"
    position = site.position if dice.random() < 0.9 else site.position + 1
    return Row(position=position, effect=alleles[0], other=other, counts=counts, is_dominance=model in {1, 2})


def scored(scores: list[list[Row]], sites: list[Site], **changes: object) -> tuple[engine.Partial, Memory]:
    genotypes = Memory(sites)
    batch = Batch(scores=len(scores), samples=SAMPLES, policy=Policy.model_validate(changes))
    rows, entries = rows_of(scores), entries_of(sites)
    return engine.score_range(rows, entries, genotypes, ploidy=Ploidy.AUTOSOME, batch=batch), genotypes


@pytest.mark.parametrize("missing", ["mean", "zero", "skip"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_sum_is_the_slow_scorers(missing: str, seed: int) -> None:
    dice = random.Random(seed)
    positions = dice.sample(range(1, 60), 20)
    sites = sorted((random_site(dice, dice.choice(positions)) for _ in range(25)), key=lambda site: site.position)
    scores = [[random_row(dice, sites) for _ in range(dice.randint(1, 30))] for _ in range(3)]
    found, _ = scored(scores, sites, missing=missing)
    slow = [[oracle.score(rows, sites, sample, missing=missing) for sample in range(SAMPLES)] for rows in scores]
    assert found.diploid is not None
    np.testing.assert_allclose(found.diploid, slow, rtol=0, atol=1e-12)


@pytest.mark.parametrize("copies", ["centred", "standardised"])
@pytest.mark.parametrize("missing", ["mean", "zero", "skip"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_centred_and_standardised_sums_are_the_slow_scorers(missing: str, copies: str, seed: int) -> None:
    dice = random.Random(seed)
    sites = [random_site(dice, position) for position in range(1, 30)]
    drawn = [[random_row(dice, sites) for _ in range(40)] for _ in range(3)]
    scores = [[row for row in rows if row.counts[0] == 0 and 2 * row.counts[1] == row.counts[2]] for rows in drawn]
    found, _ = scored(scores, sites, missing=missing, copies=copies)
    slow = [
        [oracle.score(rows, sites, sample, missing=missing, copies=copies) for sample in range(SAMPLES)]
        for rows in scores
    ]
    assert found.diploid is not None
    np.testing.assert_allclose(found.diploid, slow, rtol=0, atol=1e-12)


def test_the_weight_that_lacks_calls_is_what_a_person_lacks_on_average() -> None:
    dice = random.Random(3)
    sites = [random_site(dice, position) for position in range(1, 400)]
    scores = [
        [replace(random_row(dice, sites), counts=(0.0, 1.0, 2.0), is_dominance=False) for _ in range(90)]
        for _ in range(3)
    ]
    found, _ = scored(scores, sites)
    assert found.missing.sum() > 50
    assert found.missing_mass == pytest.approx(found.missing.mean(axis=1))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_reasons_add_up_to_the_rows_and_each_variant_is_read_once(seed: int) -> None:
    dice = random.Random(seed)
    sites = [random_site(dice, position) for position in range(1, 40)]
    scores = [[random_row(dice, sites) for _ in range(40)] for _ in range(4)]
    found, genotypes = scored(scores, sites, multiallelic="keep", ambiguous="keep")
    assert found.reasons.sum(axis=1).tolist() == [40] * 4
    assert len(genotypes.read) == len(set(genotypes.read))


@pytest.mark.parametrize("alone", [0, 1, 2])
def test_a_score_has_the_same_bits_alone_and_in_company(alone: int) -> None:
    dice = random.Random(5)
    sites = [random_site(dice, position) for position in range(1, 3000)]
    scores = [[random_row(dice, sites) for _ in range(500)] for _ in range(3)]
    together, _ = scored(scores, sites)
    lonely, _ = scored([scores[alone]], sites)
    assert together.diploid is not None
    assert lonely.diploid is not None
    assert together.diploid[alone].tobytes() == lonely.diploid[0].tobytes()


def site(position: int, ref: str, *alts: str, alleles: str = "00 01 11 0. 01 00 11") -> Site:
    calls = [None if "." in pair else (int(pair[0]), int(pair[1])) for pair in alleles.split()]
    return Site(position=position, ref=ref, alts=alts, calls=calls)


def row(effect: str, other: str | None, *, position: int = 5) -> Row:
    return Row(position=position, effect=effect, other=other, counts=(0.0, 1.0, 2.0))


RULES: list[tuple[str, list[Row], list[Site], dict[str, object], list[Reason]]] = [
    ("effect is ALT", [row("G", "A")], [site(5, "A", "G")], {}, [Reason.EXACT]),
    ("effect is REF", [row("A", "G")], [site(5, "A", "G")], {}, [Reason.SWAPPED]),
    ("other strand", [row("C", "T")], [site(5, "A", "G")], {}, [Reason.FLIPPED]),
    ("other strand, effect is REF", [row("T", "C")], [site(5, "A", "G")], {}, [Reason.FLIPPED_SWAPPED]),
    ("no flips wanted", [row("C", "T")], [site(5, "A", "G")], {"flip": False}, [Reason.OTHER_ALLELES]),
    ("no other allele", [row("G", None)], [site(5, "A", "G")], {}, [Reason.ONE_ALLELE]),
    ("palindrome", [row("A", "T")], [site(5, "A", "T")], {}, [Reason.AMBIGUOUS]),
    ("palindrome kept", [row("A", "T")], [site(5, "A", "T")], {"ambiguous": "keep"}, [Reason.SWAPPED]),
    ("several ALTs", [row("G", "A")], [site(5, "A", "G", "C")], {}, [Reason.MULTIALLELIC]),
    ("several ALTs kept", [row("C", "A")], [site(5, "A", "G", "C")], {"multiallelic": "keep"}, [Reason.EXACT]),
    ("split site", [row("C", "A")], [site(5, "A", "G"), site(5, "A", "C")], {}, [Reason.EXACT]),
    ("twice the same", [row("G", "A")] * 2, [site(5, "A", "G")], {}, [Reason.DUPLICATE] * 2),
    ("first kept", [row("G", "A")] * 2, [site(5, "A", "G")], {"duplicates": "first"}, [Reason.EXACT, Reason.DUPLICATE]),
    ("all added", [row("G", "A")] * 2, [site(5, "A", "G")], {"duplicates": "sum"}, [Reason.EXACT, Reason.EXACT]),
    ("both strands of one", [row("G", "A"), row("C", "T")], [site(5, "A", "G")], {}, [Reason.DUPLICATE] * 2),
    ("not there", [row("G", "A", position=6)], [site(5, "A", "G")], {}, [Reason.NOT_IN_PANEL]),
    ("a third allele", [row("T", "A")], [site(5, "A", "G")], {}, [Reason.OTHER_ALLELES]),
    ("indel", [row("AC", "A")], [site(5, "A", "AC")], {}, [Reason.EXACT]),
    ("indels do not flip", [row("TG", "T")], [site(5, "A", "AC")], {}, [Reason.OTHER_ALLELES]),
    ("long indels differ", [row("A" * 40 + "C", "A")], [site(5, "A", "A" * 40 + "G")], {}, [Reason.OTHER_ALLELES]),
    ("nobody called", [row("G", "A")], [site(5, "A", "G", alleles="0. 0.")], {}, [Reason.NO_CALLS]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "sites", "changes", "reasons"), [each[1:] for each in RULES], ids=[each[0] for each in RULES]
)
def test_a_row_gets_its_reason(
    rows: list[Row], sites: list[Site], changes: dict[str, object], reasons: list[Reason]
) -> None:
    entries = (
        entries_of([each for each in sites if each.called]) if all(each.called for each in sites) else nobody_called()
    )
    packed = rows_of([rows])
    found = match(packed, entries, Policy.model_validate(changes))
    assert [Reason(each) for each in found.reason[np.argsort(packed.row)]] == reasons


def nobody_called() -> Entries:
    return entries_of([site(5, "A", "G")])._replace(frequency=np.array([np.nan]))


@pytest.mark.parametrize(
    ("told", "of_alt", "reason", "kind"),
    [
        (0.8, 0.8, Reason.EXACT, 1),
        (0.2, 0.8, Reason.FLIPPED_SWAPPED, 2),
        (0.55, 0.8, Reason.AMBIGUOUS, 1),
        (0.8, 0.55, Reason.AMBIGUOUS, 1),
        (np.nan, 0.8, Reason.AMBIGUOUS, 1),
    ],
)
def test_a_palindromic_row_is_decided_by_frequency(told: float, of_alt: float, reason: Reason, kind: int) -> None:
    rows = rows_of([[row("T", "A")]])._replace(frequency=np.array([told], np.float32))
    entries = entries_of([site(5, "A", "T")])._replace(frequency=np.array([of_alt]))
    found = match(rows, entries, Policy(ambiguous="frequency"))
    assert (Reason(found.reason[0]), int(found.type[0])) == (reason, kind)
