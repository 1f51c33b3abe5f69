"""Rows matched by id: the place is the panel's, the alleles are compared as ever."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sluiceway.core.genetics.alleles import allele_code
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.ids import id_codes, pack_by_id, panel_ids, sorted_ids
from sluiceway.core.genetics.match import Reason, match
from sluiceway.core.genetics.match_log import match_log
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.score import Batch, score_range
from tests.core.genetics import oracle
from tests.core.genetics.oracle import Site
from tests.core.genetics.scored import opened, scored
from tests.core.genetics.test_score import INDELS, SAMPLES, Memory, entries_of
from tests.panels import Row, write_pgen

BY_ID = Policy(match="id")
NAMES = ["rs1", "rs22", "rs333", "1:5:A:G", "HLA*x"]
Named = tuple[str | None, str, str | None]
"""A row as its id, its effect allele and its other allele."""


def table_of(rows: list[Named], weights: list[float] | None = None) -> pl.DataFrame:
    names, effects, others = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "row_nr": np.arange(len(rows), dtype=np.uint32),
            "key": np.zeros(len(rows), np.uint64),
            "effect": np.array([allele_code(each) for each in effects], np.uint64),
            "other": np.array([allele_code(each) for each in others], np.uint64),
            "weight": np.array(weights or [1.0] * len(rows)),
            "model": np.zeros(len(rows), np.uint8),
            "rsid": pl.Series(names, dtype=pl.String),
        }
    )


def site(position: int, ref: str, *alts: str) -> Site:
    return Site(position=position, ref=ref, alts=alts, calls=[(0, 0), (0, 1), (0, len(alts))])


def reasons(rows: list[Named], sites: list[tuple[str, Site]], policy: Policy = BY_ID) -> list[Reason]:
    entries = entries_of([each for _, each in sites])
    ids = sorted_ids([pl.Series([sites[variant][0] for variant in entries.variant], dtype=pl.String)])
    packed = pack_by_id(table_of(rows), 0, policy, ids=ids, entries=entries)
    found = match(packed.rows, entries, policy)
    told = dict(zip(packed.rows.row.tolist(), found.reason.tolist(), strict=True))
    told.update(zip(packed.left.row.tolist(), packed.reason.tolist(), strict=True))
    return [Reason(told[row]) for row in range(len(rows))]


RULES: list[tuple[str, list[Named], list[tuple[str, Site]], list[Reason]]] = [
    ("effect is ALT", [("rs1", "G", "A")], [("rs1", site(5, "A", "G"))], [Reason.EXACT]),
    ("effect is REF", [("rs1", "A", "G")], [("rs1", site(5, "A", "G"))], [Reason.SWAPPED]),
    ("other strand", [("rs1", "C", "T")], [("rs1", site(5, "A", "G"))], [Reason.FLIPPED]),
    ("no other allele", [("rs1", "G", None)], [("rs1", site(5, "A", "G"))], [Reason.ONE_ALLELE]),
    ("an id that is no rs number", [("1:5:A:G", "G", "A")], [("1:5:A:G", site(5, "A", "G"))], [Reason.EXACT]),
    ("one of several ids", [("rs22", "G", "A")], [("rs1;rs22", site(5, "A", "G"))], [Reason.EXACT]),
    ("no id", [(None, "G", "A"), (".", "G", "A")], [(".", site(5, "A", "G"))], [Reason.NO_ID] * 2),
    ("id not there", [("rs2", "G", "A")], [("rs22", site(5, "A", "G"))], [Reason.NOT_IN_PANEL]),
    ("a third allele", [("rs1", "T", "A")], [("rs1", site(5, "A", "G"))], [Reason.OTHER_ALLELES]),
    ("one id at a split site", [("rs1", "C", "A")], [("rs1", site(5, "A", "G")), ("rs1", site(5, "A", "C"))],
     [Reason.EXACT]),
    ("the allele of another id there", [("rs1", "C", "A")], [("rs1", site(5, "A", "G")), ("rs2", site(5, "A", "C"))],
     [Reason.OTHER_ALLELES]),
    ("the second id there", [("rs2", "C", "A")], [("rs1", site(5, "A", "G")), ("rs2", site(5, "A", "C"))],
     [Reason.EXACT]),
    ("an id at two places", [("rs1", "G", "A")], [("rs1", site(5, "A", "G")), ("rs1", site(6, "A", "G"))],
     [Reason.SEVERAL_PLACES]),
    ("two ids of one variant", [("rs1", "G", "A"), ("rs2", "G", "A")], [("rs1;rs2", site(5, "A", "G"))],
     [Reason.DUPLICATE] * 2),
    ("two records of one id", [("rs1", "G", "A")], [("rs1", site(5, "A", "G"))] * 2, [Reason.EXACT]),
    ("palindrome", [("rs1", "A", "T")], [("rs1", site(5, "A", "T"))], [Reason.AMBIGUOUS]),
    ("several ALTs", [("rs1", "G", "A")], [("rs1", site(5, "A", "G", "C"))], [Reason.MULTIALLELIC]),
    ("no allele", [("rs1", "e4", "e3"), (None, "e4", "e3")], [("rs1", site(5, "A", "G"))], [Reason.BAD_ALLELE] * 2),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "sites", "expected"), [each[1:] for each in RULES], ids=[each[0] for each in RULES])
def test_a_row_gets_its_reason(rows: list[Named], sites: list[tuple[str, Site]], expected: list[Reason]) -> None:
    assert reasons(rows, sites) == expected


def test_ids_differ_as_their_text_does() -> None:
    names = ["rs1", "rs01", "RS1", "rs10", "1", "rs", "rs1 ", "rs" + "9" * 18, "rs" + "9" * 19]
    assert len(set(id_codes(pl.Series(names)).tolist())) == len(names)
    assert id_codes(pl.Series([None, ".", ""], dtype=pl.String)).tolist() == [0, 0, 0]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_sum_is_that_of_the_slow_scorer_told_ids_for_positions(seed: int) -> None:
    dice = random.Random(seed)
    sites, names = [], []
    for position in sorted(dice.choices(range(1, 30), k=20)):
        ref, alt = dice.sample(["A", "C", "G", "T", *INDELS], 2)
        calls = [dice.choice([(0, 0), (0, 1), (1, 1), None]) for _ in range(SAMPLES)]
        sites.append(Site(position=position, ref=ref, alts=(alt,), calls=[(0, 1), *calls[1:]]))
        names.append(dice.choice([*NAMES, f"rs{1000 + position}", f"v{position}"]))
    rows: list[Named] = []
    for _ in range(30):
        alleles = dice.sample([(each := dice.choice(sites)).ref, each.alts[0]], 2)
        flip = dice.random() < 0.3 and all(allele in oracle.COMPLEMENT for allele in alleles)
        effect, other = ([oracle.COMPLEMENT[allele] for allele in alleles] if flip else alleles)[:2]
        rows.append((dice.choice(names), effect, other if dice.random() < 0.8 else None))
    weights = [dice.uniform(-1, 1) for _ in rows]
    entries = entries_of(sites)
    ids = sorted_ids([pl.Series([names[variant] for variant in entries.variant])])
    packed = pack_by_id(table_of(rows, weights), 0, BY_ID, ids=ids, entries=entries)
    batch = Batch(scores=1, samples=SAMPLES, policy=BY_ID)
    found = score_range(packed.rows, entries, Memory(sites), ploidy=Ploidy.AUTOSOME, batch=batch)
    places = {
        name: {each.position for each, named in zip(sites, names, strict=True) if named == name} for name in names
    }
    number = {name: at for at, name in enumerate(places)}
    by_name = [
        Site(position=number[name], ref=each.ref, alts=each.alts, calls=each.calls)
        for each, name in zip(sites, names, strict=True)
    ]
    slow = [
        oracle.Row(position=number[name or ""], effect=effect, other=other, counts=(0.0, weight, 2 * weight))
        for (name, effect, other), weight in zip(rows, weights, strict=True)
        if len(places[name or ""]) == 1
    ]
    expected = [oracle.score(slow, by_name, sample, missing="mean") for sample in range(SAMPLES)]
    assert found.diploid is not None
    np.testing.assert_allclose(found.diploid[0], expected, rtol=0, atol=1e-12)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    rows = [
        Row(place="1:100", ref="A", alt="G", calls="0/1 1/1 0/0"),
        Row(place="2:100", ref="C", alt="T", calls="0/0 0/1 ."),
    ]
    return write_pgen(tmp_path / "toy", "#IID SEX\na 1\nb 2\nc 1", rows)


def test_a_score_of_another_build_is_scored_where_the_panel_has_its_ids(prefix: Path, tmp_path: Path) -> None:
    file = tmp_path / "other_build.txt"
    file.write_text(
        "#pgs_id=P\n#genome_build=NCBI36\nrsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n"
        "v1\t9\t7\tT\tC\t1\nv0\t9\t8\tG\tA\t10\nv7\t1\t100\tG\tA\t100\n"
    )
    reference = opened(prefix, tmp_path, Build.GRCH38)
    (result,) = scored(reference, [file], Policy(match="id", missing="zero"), tmp_path)
    assert result.people["sum_2"].to_list() == [10.0, 21.0, 0.0]
    assert {name: n for name, n in result.reasons.items() if n} == {"exact": 2, "not_in_panel": 1}


def test_the_log_says_where_the_panel_has_an_id(prefix: Path, tmp_path: Path) -> None:
    from sluiceway.core.catalog.scoring_file import read_scoring_file  # noqa: PLC0415

    file = tmp_path / "ids.txt"
    file.write_text("rsID\teffect_allele\tother_allele\teffect_weight\nv1\tC\tT\t1\nv7\tC\tT\t1\nv0\tC\tT\t1\n")
    (score,) = read_scoring_file(file)
    log = match_log(opened(prefix, tmp_path), score, BY_ID)
    assert log.select("row_nr", "chr_name", "chr_position", "id", "reason").rows() == [
        (0, "2", 100, "v1", "swapped"),
        (1, None, None, None, "not_in_panel"),
        (2, "1", 100, "v0", "flipped"),
    ]


def test_ids_of_parts_are_those_of_the_whole() -> None:
    ids = pl.Series(["rs5", ".", "rs3;rs5", "x", None, "rs1", "rs3"])
    whole, parts = sorted_ids([ids]), sorted_ids([ids[:3], ids[3:4], ids[4:]])
    assert [column.tolist() for column in parts] == [column.tolist() for column in whole]
    assert whole.entry.tolist() == [5, 2, 6, 0, 2, 3]


def test_ids_are_written_once_and_anew_where_they_are_damaged(prefix: Path, tmp_path: Path) -> None:
    """Red on: core/genetics/ids.py: `if digest_of_file(file) == _digest_in(file):` -> `if True:`."""
    table = opened(prefix, tmp_path).table
    first = [column.tolist() for column in panel_ids(table)]
    (file,) = table.folder.glob("ids-*.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert [column.tolist() for column in panel_ids(table)] == first
    assert list(table.folder.glob("ids-*.npy")) == [file]


def test_an_id_names_one_variant_and_so_cannot_match_every_one() -> None:
    with pytest.raises(ValidationError, match="an id names one variant"):
        Policy(match="id", no_other_allele="every")
