"""Reads a scoring file of the PGS Catalog, or one that somebody wrote in its form, into rows that can be matched.

Formats 1.0 and 2.0, with or without harmonised positions, packed or not, of one score or of several. A file that cannot
be read ends as ScoringFileBroken with one reason; what is odd but readable ends as a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog import text_table
from sluiceway.core.catalog.score_rows import Layout, read_rows
from sluiceway.core.catalog.score_table import ParsedScore
from sluiceway.core.catalog.text_table import DOSAGE_WEIGHTS, WEIGHT, TextTable, is_weight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RATIOS: Final = ("OR", "HR")


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """One score of a file: its name, the column of its weights, and its rows."""

    name: str
    weight: str | None
    table: TextTable


def read_scoring_file(path: Path, *, md5: str | None = None) -> tuple[ParsedScore, ...]:
    """Give every score of a file: one, or one for each column effect_weight_{name}."""
    table = text_table.read(path, md5=md5)
    columns = table.frame.columns
    _refuse_unusable(table)
    harmonised = "hm_chr" in columns and "hm_pos" in columns
    build = table.header.harmonised_build if harmonised else table.header.genome_build
    scores = []
    for one in _scores(table):
        layout = Layout.of(columns, weight=one.weight, harmonised=harmonised, build=build)
        found = read_rows(one.table, layout)
        notes = (*_file_notes(one, harmonised=harmonised), *found.notes)
        scores.append(
            ParsedScore(
                name=one.name,
                header=table.header,
                is_harmonised=harmonised,
                rows=found.rows,
                complex=found.complex,
                notes=notes,
            )
        )
    return tuple(scores)


def _refuse_unusable(table: TextTable) -> None:
    columns = table.frame.columns
    if "effect_allele" not in columns:
        table.broken("it has no column effect_allele")
    placed = {"chr_name", "chr_position"} <= {*columns} or {"hm_chr", "hm_pos"} <= {*columns}
    if not placed and "rsID" not in columns and "hm_rsID" not in columns:
        table.broken("it has neither the column rsID nor both chr_name and chr_position")
    if "HmPOS_build" in table.header.raw and not {"hm_chr", "hm_pos"} <= {*columns}:
        table.broken("its header says that it is harmonised, but it lacks the column hm_chr or hm_pos")
    given = [name for name in DOSAGE_WEIGHTS if name in columns]
    if len(given) in (1, 2):
        table.broken(f"it has {' and '.join(given)}, but weights by dosage need all three columns")
    if not given and not any(map(is_weight, columns)) and not {*_RATIOS} & {*columns}:
        table.broken("it has no column of weights: effect_weight, three dosage weights, OR or HR")


def _scores(table: TextTable) -> Iterator[_One]:
    """Tell the scores of a file apart: by column, or in tables that were put together by their accession."""
    weights: list[str | None] = [each for each in table.frame.columns if is_weight(each)]
    for name, part in _parts(table):
        for weight in weights or [None]:
            suffix = "" if weight in (None, WEIGHT) else weight.removeprefix(f"{WEIGHT}_")
            own = name if not suffix else suffix if part is table else f"{name}_{suffix}"
            yield _One(name=own, weight=weight, table=part)


def _parts(table: TextTable) -> Iterator[tuple[str, TextTable]]:
    if table.header.pgs_id is not None or "accession" not in table.frame.columns:
        yield table.header.pgs_id or table.stem, table
        return
    accession = table.frame["accession"]
    if accession.null_count():
        table.broken("the row has no accession, so whose it is is not known", row=accession.is_null().arg_true()[0])
    for name in accession.unique().sort():
        yield name, table.only(accession == name)


def _file_notes(one: _One, *, harmonised: bool) -> Iterator[str]:
    header = one.table.header
    rows = one.table.frame.height
    if header.variants_number is not None and header.variants_number != rows:
        yield f"its header says {header.variants_number} variants, but it has {rows} rows"
    if harmonised and header.harmonised_build is None:
        yield "it has harmonised positions, but its header does not say on which build"
