"""Genotypes of a panel: pgenlib, which knows neither chromosomes nor sexes, with our errors and our count of its work.

A haploid call is 0 or 2 in these files, as plink2 writes it. In .bed files the first allele column of the .bim is ALT
and the second REF, as plink2 has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pgenlib
import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics import sites

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.genetics.build import Region
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.genetics.variants import VariantTable

    Variants = NDArray[np.uint32]

MISSING: Final = -9
"""What stands where nobody was called."""


def open_genotypes(panel: Panel, offsets: NDArray[np.uintp] | None) -> pgenlib.PgenReader:
    """Open a panel's genotypes.

    Args:
        panel: The panel.
        offsets: Where each row's alleles begin; needed where a row has several ALT alleles.
    """
    try:
        return pgenlib.PgenReader(
            str(panel.genotypes).encode(),
            raw_sample_ct=panel.samples.n,
            variant_ct=panel.n_variants,
            allele_idx_offsets=offsets,
        )
    except (RuntimeError, OSError) as error:
        raise unreadable(panel.genotypes, error) from error


def unreadable(path: Path, error: BaseException) -> PanelUnusable:
    """Give our error for one of pgenlib, whose texts are bytes."""
    said = error.args[0] if error.args else error
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return PanelUnusable(path=path, reason=f"its genotypes cannot be read: {text.strip()}")


class GenotypeReader:
    """Reads rows of genotypes of everybody; one reader belongs to one thread.

    Attributes:
        decoded: How many rows were decoded so far.
    """

    def __init__(self, panel: Panel, table: VariantTable | None = None) -> None:
        self.decoded = 0
        self._path = panel.genotypes
        offsets = table.offsets if table is not None else _offsets(panel)
        self._n = panel.samples.n
        self._reader = open_genotypes(panel, offsets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def hardcalls(self, variants: Variants, out: NDArray[np.int8]) -> None:
        """Write ALT copies, or MISSING, of rows with one ALT allele: a line of `out` per row, a column per person."""
        self._read("read_list", variants, out)

    def dosages(self, variants: Variants, out: NDArray[np.float32]) -> None:
        """Write expected ALT copies, or MISSING, of rows with one ALT allele; whole ones where there is no dosage."""
        self._read("read_dosages_list", variants, out)

    def alleles(self, variants: Variants) -> NDArray[np.int32]:
        """Give both alleles of everybody, beside each other: 0 for REF, 1 for the first ALT, or MISSING."""
        out = np.empty((variants.size, 2 * self._n), np.int32)
        self._read("read_alleles_list", variants, out)
        return out

    def phased(self, variants: Variants) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Give the alleles, and of whom it is known which parent's is first; two equal alleles need no knowing."""
        out = np.empty((variants.size, 2 * self._n), np.int32)
        known = np.empty((variants.size, self._n), np.bool_)
        self._read("read_alleles_and_phasepresent_list", variants, out, known)
        return out, known

    def _read(self, method: str, variants: Variants, *out: NDArray[np.generic]) -> None:
        if not variants.size:
            return
        try:
            getattr(self._reader, method)(np.ascontiguousarray(variants, np.uint32), *out)
        except RuntimeError as error:
            raise unreadable(self._path, error) from error
        self.decoded += variants.size


def _offsets(panel: Panel) -> NDArray[np.uintp] | None:
    return sites.allele_offsets([sites.allele_counts(batch["alt"]) for batch in sites.batches(panel.variants)])


def copies(reader: GenotypeReader, table: VariantTable, rows: NDArray[np.intp], n_samples: int) -> NDArray[np.int8]:
    """Give everybody's copies, or MISSING, of the ALT allele of each of these rows of a variant table."""
    out = np.full((rows.size, n_samples), MISSING, np.int8)
    several = np.asarray(table.multiallelic[rows])
    plain = np.flatnonzero(~several)
    read = np.empty((plain.size, n_samples), np.int8)
    reader.hardcalls(table.variant[rows[plain]], read)
    out[plain] = read
    for at in np.flatnonzero(several):
        pairs = reader.alleles(table.variant[rows[[at]]]).reshape(n_samples, 2)
        counted = (pairs == table.allele[rows[at]]).sum(axis=1, dtype=np.int8)
        out[at] = np.where(pairs[:, 0] < 0, np.int8(MISSING), counted)
    return out


def genotype_frame(
    panel: Panel, table: VariantTable, region: Region, samples: Sequence[str] | None = None
) -> pl.DataFrame:
    """Give the variants of a region with a column of ALT copies for each of these people, or for everybody."""
    rows = table.rows_in(region)
    everybody = panel.samples.table["sample"].to_list()
    places = {sample: at for at, sample in enumerate(everybody)}
    wanted = everybody if samples is None else list(dict.fromkeys(samples))
    for sample in wanted:
        if sample not in places:
            raise PanelUnusable(path=panel.samples_file, reason=f"the sample {sample!r} is not in it")
    with GenotypeReader(panel, table) as reader:
        found = copies(reader, table, rows, panel.samples.n)
    columns = {sample: pl.Series(found[:, places[sample]]).replace(MISSING, None) for sample in wanted}
    return table.names(rows).hstack(pl.DataFrame(columns, schema=dict.fromkeys(wanted, pl.Int8)))
