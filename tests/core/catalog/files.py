"""Scoring files as a test needs them: a few lines, the rest made valid."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from sluiceway.core.catalog.score_table import ParsedScore
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.genetics.alleles import MAX_POSITION, POSITION_SHIFT

HEADER = {"format_version": "2.0", "pgs_id": "PGS000001", "genome_build": "GRCh37"}
HARMONISED = {**HEADER, "HmPOS_build": "GRCh38"}
PLAIN = {"chr_name": "1", "chr_position": "1000", "effect_allele": "A", "other_allele": "G", "effect_weight": "0.5"}
PLACED = {**PLAIN, "hm_chr": "2", "hm_pos": "2000"}


def text_of(rows: Sequence[Mapping[str, str]], header: Mapping[str, str]) -> str:
    """The text of a file with these rows; a row lacks what it does not name."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"#{key}={value}" for key, value in header.items()]
    lines += ["\t".join(columns), *("\t".join(row.get(name, "") for name in columns) for row in rows)]
    return "\n".join(lines) + "\n"


def write(path: Path, *rows: Mapping[str, str], header: Mapping[str, str] = HEADER) -> Path:
    """Write a file with these rows, packed where its name says so."""
    text = text_of(rows, header).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def parse(folder: Path, *rows: Mapping[str, str], header: Mapping[str, str] = HEADER) -> ParsedScore:
    """The only score of a file with these rows."""
    (score,) = read_scoring_file(write(folder / "score.txt", *rows, header=header))
    return score


def places(score: ParsedScore) -> list[tuple[int, int]]:
    """Chromosome and position of each row, in the file's order."""
    keys = score.rows.sort("row_nr")["key"].to_list()
    return [(key >> 59, key >> POSITION_SHIFT & MAX_POSITION) for key in keys]
