"""One score as rows that can be matched, and the parquet file in which they are kept.

The rows are sorted by key, so that they meet a panel's variants in one pass. What is not rows — the header, the complex
rows, the notes — is in the file's footer as JSON, so a score is one file.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.catalog.complex_rows import ComplexRow, Component
from sluiceway.core.catalog.header import Header
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.model import Model
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sluiceway.core.genetics.build import Build

TYPED: Final = (
    "row_nr", "key", "effect", "other", "weight", "model", "weight_0", "weight_1", "weight_2", "frequency", "ratio",
)  # fmt: skip
"""The columns that are numbers, in their order."""

_FOOTER: Final = "sluiceway.score"
# Zstandard's first level: half the time of its third for a twentieth more bytes.
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedScore:
    """One score of a scoring file: its header, its rows, and what is worth knowing about them."""

    name: str
    header: Header
    is_harmonised: bool
    rows: pl.DataFrame
    complex: tuple[ComplexRow, ...]
    notes: tuple[str, ...]

    @property
    def build(self) -> Build | None:
        """The build of the positions in the rows."""
        return self.header.harmonised_build if self.is_harmonised else self.header.genome_build

    @property
    def accession(self) -> str:
        """The name with the build to which it was harmonised."""
        return f"{self.name}_hmPOS_{self.build}" if self.is_harmonised and self.build else self.name


def write_table(score: ParsedScore, path: Path) -> None:
    """Write a score as parquet; the same score always gives the same bytes."""
    footer = {_FOOTER: json.dumps(_document(score), sort_keys=True, ensure_ascii=False)}
    score.rows.write_parquet(path, compression="zstd", compression_level=_LEVEL, statistics=False, metadata=footer)


def read_table(path: Path | bytes, columns: Sequence[str] | None = None) -> ParsedScore:
    """Read a score that write_table wrote, with all columns or these."""
    try:
        footer = pl.read_parquet_metadata(_source(path))[_FOOTER]
        rows = frames.read_parquet(_source(path), columns=None if columns is None else list(columns))
        return _score(json.loads(footer), with_text(rows))
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        from pathlib import Path  # noqa: PLC0415

        where = Path("(bytes)") if isinstance(path, bytes) else path
        raise ScoringFileBroken(path=where, reason=f"it is no table of a score: {error!r}") from error


def with_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Give rows with their text where it is kept as numbers: words by a list of them, and ids by what follows rs."""
    words = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Enum)]
    rows = rows.with_columns(pl.col(words).cast(pl.String)) if words else rows
    if rows.schema.get("rsid") == pl.UInt64:
        number = pl.col("rsid")
        rows = rows.with_columns(pl.when(number > 0).then(pl.lit("rs") + number.cast(pl.String)).alias("rsid"))
    return rows


def content_digest(score: ParsedScore) -> str:
    """Give the digest of what a score says: its name, header, complex rows, and every number of its rows."""
    said = {key: value for key, value in _document(score).items() if key != "notes"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode())
    for name in TYPED:
        if name in score.rows.columns:
            column = score.rows[name]
            digest.update(f"{name} {column.dtype} {len(column)}\n".encode())
            digest.update(column.rechunk().to_numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _source(path: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(path) if isinstance(path, bytes) else path


def _document(score: ParsedScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "header": score.header.raw,
        "is_harmonised": score.is_harmonised,
        "complex": [asdict(each) for each in score.complex],
        "notes": score.notes,
    }


def _score(document: Mapping[str, Any], rows: pl.DataFrame) -> ParsedScore:
    return ParsedScore(
        name=document["name"],
        header=Header.from_raw(document["header"]),
        is_harmonised=document["is_harmonised"],
        rows=rows,
        complex=tuple(_complex(each) for each in document["complex"]),
        notes=tuple(document["notes"]),
    )


def _complex(written: Mapping[str, Any]) -> ComplexRow:
    parts = tuple(tuple(Component(**each) for each in part) for part in written["parts"])
    return ComplexRow(row_nr=written["row_nr"], model=Model(written["model"]), weight=written["weight"], parts=parts)
