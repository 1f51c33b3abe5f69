"""The text of a panel's variant file: .pvar as plink2 writes it, or .bim, plain or compressed."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import Build, chromosome_number
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLUMNS: Final = ("chromosome", "position", "id", "ref", "alt")
ROWS_AT_ONCE: Final = 200_000
"""How many rows are in memory at a time, whatever the panel's size."""

_IN_PVAR: Final = {"#CHROM": "chromosome", "POS": "position", "ID": "id", "REF": "ref", "ALT": "alt"}
_IN_BIM: Final = ("chromosome", "id", "centimorgans", "position", "alt", "ref")
_HEADER_LINES: Final = 20_000
_NO_SEPARATOR: Final = "\x01"

_LENGTHS: Final = {
    Build.GRCH36: (
        247249719, 242951149, 199501827, 191273063, 180857866, 170899992, 158821424, 146274826, 140273252, 135374737,
        134452384, 132349534, 114142980, 106368585, 100338915, 88827254, 78774742, 76117153, 63811651, 62435964,
        46944323, 49691432, 154913754,
    ),
    Build.GRCH37: (
        249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747,
        135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520,
        48129895, 51304566, 155270560,
    ),
    Build.GRCH38: (
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
        135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
        46709983, 50818468, 156040895,
    ),
}  # fmt: skip
"""The lengths of chromosomes 1 to 22 and X: no two builds share one, so that a single contig line tells the build."""

_BUILD_OF_CONTIG: Final = {
    (number, length): build for build, lengths in _LENGTHS.items() for number, length in enumerate(lengths, start=1)
}
_CONTIG: Final = re.compile(r"##contig=<(?:.*,)?ID=(?P<name>[^,>]+).*?\blength=(?P<length>\d+)")
_REFERENCE: Final = re.compile(r"(?:grch|ncbi|hg|hs|b|v)_?(?P<number>36|37|38|18|19)(?!\d)", re.IGNORECASE)


def lines(path: Path, *, first: int | None = None) -> list[str]:
    """Give a text file's lines, or the first of them, without empty ones; the file may be compressed."""
    try:
        read = _text(path, first=first).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PanelUnusable(path=path, reason=f"it cannot be read: {error}") from error
    return read.to_series().drop_nulls().to_list() if read.width else []


def batches(path: Path, *, rows: int = ROWS_AT_ONCE) -> Iterator[pl.DataFrame]:
    """Give chromosome, position, id, ref and alt of each row, in the file's order, about so many rows at a time."""
    head = lines(path, first=_HEADER_LINES)
    written = [line for line in head if not line.startswith("##")]
    is_empty = True
    try:
        for batch in _batches(path, written[0], rows) if written else ():
            read = batch.select(*COLUMNS).with_columns(pl.col("position").cast(pl.Int64))
            if read.height:
                is_empty = False
                yield read.with_columns(pl.col("chromosome", "id", "ref", "alt").fill_null("."))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PanelUnusable(path=path, reason=f"it cannot be read as a table of variants: {error}") from error
    if is_empty:
        raise PanelUnusable(path=path, reason="there is no variant in it")


def read_sites(path: Path) -> pl.DataFrame:
    """Give chromosome, position, id, ref and alt of all rows, in the file's order."""
    return pl.concat(batches(path))


def build_of_contig(name: str, length: int) -> Build | None:
    """Give the build on which a chromosome has this length; none where it has it on none, or is not 1 to 22 or X."""
    return _BUILD_OF_CONTIG.get((chromosome_number(name), length))


def told_build(path: Path) -> Build | None:
    """Give the build that a variant file's header tells; none where it tells none, or more than one."""
    head = [line for line in lines(path, first=_HEADER_LINES) if line.startswith("##")]
    contigs = [found for line in head if (found := _CONTIG.match(line))]
    by_length = {build_of_contig(each["name"], int(each["length"])) for each in contigs}
    if told := by_length - {None}:
        return told.pop() if len(told) == 1 else None
    texts = " ".join(line for line in head if line.startswith(("##reference=", "##contig=", "##assembly=")))
    by_name = {Build.parse(each if int(each) > 30 else f"hg{each}") for each in _REFERENCE.findall(texts)}
    return by_name.pop() if len(by_name) == 1 else None


def allele_counts(alts: pl.Series) -> NDArray[np.uint16]:
    """Give how many alleles each row has; where each has two, in no memory."""
    alleles = alts.str.count_matches(",", literal=True).to_numpy().astype(np.uint16) + np.uint16(2)
    return alleles if alleles.max(initial=2) > 2 else np.broadcast_to(np.uint16(2), alleles.shape)


def allele_offsets(counts: Sequence[NDArray[np.uint16]]) -> NDArray[np.uintp] | None:
    """Give where each row's alleles begin among all rows' alleles; none where every row has one ALT allele."""
    if all(each.max(initial=2) == 2 for each in counts):
        return None
    return np.cumsum(np.concatenate([np.zeros(1, np.uint16), *counts]), dtype=np.uintp)


def _batches(path: Path, line: str, rows: int) -> Iterator[pl.DataFrame]:
    """Read batches as they are written, with our names of their columns; this is the first line."""
    if line.startswith("#CHROM"):
        return _with_header(path, line).collect_batches(chunk_size=rows, lazy=True)
    names = list(_IN_BIM)
    # Centimorgans may be left out, and plink2 takes a .pvar without header to be ordered as a .bim.
    if len(line.split()) == len(names) - 1:
        names.remove("centimorgans")
    if len(line.split()) != len(names):
        raise PanelUnusable(path=path, reason=f"its first row has {len(line.split())} columns, not five or six")
    if "\t" in line:
        return _without(path, names).collect_batches(chunk_size=rows, lazy=True)
    return _between_spaces(path, names, rows)


def _with_header(path: Path, header: str) -> pl.LazyFrame:
    separator = "\t" if "\t" in header else " "
    lacking = _IN_PVAR.keys() - set(header.split(separator))
    if lacking:
        raise PanelUnusable(path=path, reason=f"its header lacks {', '.join(sorted(lacking))}")
    table = frames.scan_csv(path, separator=separator, comment_prefix="##", quote_char=None, infer_schema=False)
    return table.select(*_IN_PVAR).rename(_IN_PVAR)


def _without(source: Path | io.BytesIO, names: list[str]) -> pl.LazyFrame:
    return frames.scan_csv(
        source, has_header=False, new_columns=names, separator="\t", comment_prefix="#", quote_char=None,
        infer_schema=False, raise_if_empty=False,
    )  # fmt: skip


def _between_spaces(path: Path, names: list[str], rows: int) -> Iterator[pl.DataFrame]:
    """Read rows whose columns are apart by any white space, as many as there are in a batch of lines."""
    for batch in _text(path).collect_batches(chunk_size=rows, lazy=True):
        written = batch.to_series().drop_nulls().to_list()
        content = "\n".join("\t".join(each.split()) for each in written if not each.startswith("#"))
        if content:
            yield _without(io.BytesIO(content.encode()), names).collect()


def _text(path: Path, *, first: int | None = None) -> pl.LazyFrame:
    """Read a text file as one column of lines, null where one is empty."""
    return frames.scan_csv(
        path, has_header=False, separator=_NO_SEPARATOR, quote_char=None, infer_schema=False, n_rows=first,
        raise_if_empty=False,
    )  # fmt: skip
