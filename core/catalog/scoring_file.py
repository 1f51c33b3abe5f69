"""Reads a scoring file of the PGS Catalog, or one that somebody wrote in its form, into rows that can be matched.

Formats 1.0 and 2.0, with or without harmonised positions, packed or not, of one score or of several. A file that cannot
be read ends as ScoringFileBroken with one reason; what is odd but readable ends as a note.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog import text_table
from sluiceway.core.catalog.plain_rows import read_plain
from sluiceway.core.catalog.score_rows import Layout, read_rows
from sluiceway.core.catalog.score_table import ParsedScore, with_text
from sluiceway.core.catalog.text_table import DOSAGE_WEIGHTS, WEIGHT, TextTable, is_weight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluiceway.core.catalog.header import Header
    from sluiceway.core.catalog.score_rows import ScoreRows
    from sluiceway.core.catalog.text_table import Lines

_RATIOS: Final = ("OR", "HR")


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """One score of a file: its name, the column of its weights, and its rows."""

    name: str
    weight: str | None
    table: TextTable


def read_scoring_file(path: Path, *, md5: str | None = None) -> tuple[ParsedScore, ...]:
    """Give every score of a file: one, or one for each column effect_weight_{name}."""
    return tuple(replace(score, rows=with_text(score.rows)) for score in read_packed(path, md5=md5))


def read_packed(path: Path, *, md5: str | None = None) -> tuple[ParsedScore, ...]:
    """Give every score of a file as it is kept: some text may be kept as numbers."""
    lines = text_table.lines_of(path, md5=md5)
    harmonised = "hm_chr" in lines.columns and "hm_pos" in lines.columns
    build = lines.header.harmonised_build if harmonised else lines.header.genome_build
    own = partial(Layout.of, lines.columns, harmonised=harmonised, build=build)
    plain = read_plain(lines, own(weight=WEIGHT)) if lines.header.pgs_id or "accession" not in lines.columns else None
    if plain is not None:
        _refuse_unusable(lines)
        return (_parsed(lines.header.pgs_id or lines.stem, lines.header, plain, harmonised=harmonised),)
    table = text_table.read(lines)
    _refuse_unusable(lines)
    return tuple(
        _parsed(one.name, lines.header, read_rows(one.table, own(weight=one.weight)), harmonised=harmonised)
        for one in _scores(table)
    )


def _parsed(name: str, header: Header, found: ScoreRows, *, harmonised: bool) -> ParsedScore:
    notes = (*_file_notes(header, found.rows.height, harmonised=harmonised), *found.notes)
    return ParsedScore(
        name=name, header=header, is_harmonised=harmonised, rows=found.rows, complex=found.complex, notes=notes
    )


def _refuse_unusable(lines: Lines) -> None:
    columns = {*lines.columns}
    if "effect_allele" not in columns:
        lines.broken("it has no column effect_allele")
    placed = {"chr_name", "chr_position"} <= columns or {"hm_chr", "hm_pos"} <= columns
    if not placed and "rsID" not in columns and "hm_rsID" not in columns:
        lines.broken("it has neither the column rsID nor both chr_name and chr_position")
    if "HmPOS_build" in lines.header.raw and not {"hm_chr", "hm_pos"} <= columns:
        lines.broken("its header says that it is harmonised, but it lacks the column hm_chr or hm_pos")
    given = [name for name in DOSAGE_WEIGHTS if name in columns]
    if len(given) in (1, 2):
        lines.broken(f"it has {' and '.join(given)}, but weights by dosage need all three columns")
    if not given and not any(map(is_weight, columns)) and not {*_RATIOS} & columns:
        lines.broken("it has no column of weights: effect_weight, three dosage weights, OR or HR")


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


def _file_notes(header: Header, rows: int, *, harmonised: bool) -> Iterator[str]:
    if header.variants_number is not None and header.variants_number != rows:
        yield f"its header says {header.variants_number} variants, but it has {rows} rows"
    if harmonised and header.harmonised_build is None:
        yield "it has harmonised positions, but its header does not say on which build"
