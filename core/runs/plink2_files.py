"""What plink2 reads to work out the same sums: a panel of the needed variants, and each score's matched rows.

Variants are called by their row in the genotypes and people by their place, so that ids that are missing or given twice
do not matter. People who do not count in frequencies are given parents, for plink2 takes frequencies from founders.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.genetics.ids import packer
from sluiceway.core.genetics.match import match
from sluiceway.core.genetics.model import Model
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.samples import UNKNOWN
from sluiceway.core.genetics.score import scored_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.reference import Reference

MODELS: Final[dict[int, str]] = {Model.ADDITIVE: "", Model.DOMINANT: "dominant", Model.RECESSIVE: "recessive"}
"""plink2's word for each way of counting that it knows."""

_LABELS: Final = {Ploidy.X: "X", Ploidy.Y: "Y", Ploidy.MT: "MT"}
_AUTOSOMES: Final = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a score counts on a panel: a variant, one of its alleles, a weight and a model for each row.

    Attributes:
        table: Columns variant, ref, alt (all of the variant's), allele (the effect allele), ploidy, weight, model.
        complex: How many rows need several variants at once.
        knows_sexes: Whether everybody's sex is known.
    """

    table: pl.DataFrame
    complex: int
    knows_sexes: bool

    def why_not(self, policy: Policy) -> str | None:
        """Tell why plink2 cannot count the same; none where it can."""
        ploidy, model = self.table["ploidy"], self.table["model"]
        cannot = {
            "rows that need several variants": self.complex > 0,
            "a score without a matched row": self.table.is_empty(),
            "rows with a weight for each dosage": (model == Model.DOSAGE).any(),
            "dominant or recessive rows on X, Y or MT": ((model != Model.ADDITIVE) & (ploidy != Ploidy.AUTOSOME)).any(),
            "rows on X or Y by frequencies of people whose sex is not known": policy.missing == "mean"
            and not self.knows_sexes
            and ploidy.is_in([Ploidy.X, Ploidy.Y]).any(),
            "standardised copies on X, Y or MT": policy.copies == "standardised" and (ploidy != Ploidy.AUTOSOME).any(),
            "missing calls as anything but nothing, where copies are centred": policy.missing != "skip"
            and policy.copies != "plain",
            "men's X once, where copies are centred": policy.male_x == 1
            and policy.copies != "plain"
            and (ploidy == Ploidy.X).any(),
            "missing calls as no copy, where rows count every allele of a variant": policy.missing == "zero"
            and self.never is None,
        }
        return next((what for what, is_so in cannot.items() if is_so), None)

    @property
    def is_distinct(self) -> bool:
        """Whether no two rows are of the same variant and allele, which plink2 would refuse."""
        return not self.table.select("variant", "allele", "model").is_duplicated().any()

    @property
    def never(self) -> pl.DataFrame | None:
        """Give frequencies by which no effect allele is expected of anybody; none where a variant has no other."""
        found = self.table.group_by("variant", maintain_order=True).agg(
            pl.col("ref", "alt").first(), effect=pl.col("allele").unique()
        )
        lines = []
        for variant, ref, alt, effect in found.iter_rows():
            other = next((each for each in (ref, *alt.split(",")) if each not in effect), None)
            if other is None:
                return None
            lines.append((variant, ref, alt, ",".join("1" if each == other else "0" for each in alt.split(","))))
        return pl.DataFrame(lines, schema=["variant", "ref", "alt", "frequency"], orient="row")


def counted(reference: Reference, written: pl.DataFrame, score: ParsedScore, policy: Policy) -> Counted:
    """Give what a score counts on a panel, whose sites these are."""
    entries = reference.all_entries
    packed = packer(reference.table, entries, policy)(score.rows, 0)
    rows, found = scored_rows(packed.rows, match(packed.rows, entries, policy), entries, policy)
    entry = found.entry[found.is_matched]
    variant = reference.table.variant[entry]
    alt, is_ref = reference.table.names(entry)["alt"], pl.Series(found.type[found.is_matched] % 2 == 0)
    table = written[variant].select(
        "ref",
        "alt",
        allele=pl.when(is_ref).then(pl.col("ref")).otherwise(alt),
        variant=pl.Series(variant),
        ploidy=pl.Series(reference.table.ploidy[entry]),
        weight=pl.Series(rows.weight[found.is_matched]),
        model=pl.Series(rows.model[found.is_matched]),
    )
    return Counted(
        table=table,
        complex=len(score.complex) if policy.counts_complex_rows else 0,
        knows_sexes=not (reference.panel.samples.table["sex"] == UNKNOWN).any(),
    )


def write_score(rows: pl.DataFrame, path: Path) -> None:
    """Write rows of one model: the variant, the allele, the weight; rows alike are added."""
    added = rows.group_by("variant", "allele", maintain_order=True).agg(pl.col("weight").sum())
    added.select(ID=_name("variant"), A=pl.col("allele"), W=pl.col("weight")).write_csv(path, separator="\t")


def write_frequencies(lines: pl.DataFrame, path: Path) -> None:
    """Write frequencies of ALT alleles as --read-freq takes them."""
    columns = {"#CHROM": pl.lit("1"), "ID": _name("variant"), "REF": pl.col("ref"), "ALT": pl.col("alt")}
    table = lines.select(**columns, ALT_FREQS=pl.col("frequency"), OBS_CT=pl.lit(2))
    table.write_csv(path, separator="\t", quote_style="never")


def write_panel(reference: Reference, written: pl.DataFrame, wanted: NDArray[np.uint32], folder: Path) -> bool:
    """Write twin.pvar, twin.psam and wanted.txt for a panel's genotypes; not where chromosomes are in pieces."""
    labels = _labels(reference, wanted)
    if labels is None:
        return False
    place = pl.int_range(1, pl.len() + 1)
    columns = {"POS": place, "ID": pl.format("v{}", place - 1), "REF": pl.col("ref"), "ALT": pl.col("alt")}
    table = written.select(labels.alias("#CHROM"), **columns)
    table.write_csv(folder / "twin.pvar", separator="\t", quote_style="never")
    (folder / "wanted.txt").write_text("".join(f"v{each}\n" for each in wanted.tolist()))
    parent = pl.when(pl.col("unrelated")).then(pl.lit("0")).otherwise(pl.lit("parent"))
    people = reference.panel.samples.table.select(
        **{"#IID": pl.format("i{}", pl.int_range(pl.len())), "PAT": parent, "MAT": parent},
        SEX=pl.col("sex").cast(pl.String).replace(str(UNKNOWN), "NA"),
    )
    people.write_csv(folder / "twin.psam", separator="\t")
    return True


def _labels(reference: Reference, wanted: NDArray[np.uint32]) -> pl.Series | None:
    """Give each row a chromosome of the right ploidy: which one does not matter, but plink2 wants each in one piece."""
    kind = np.full(reference.table.n_variants, -1, np.int64)
    kind[reference.table.variant] = reference.table.ploidy
    is_wanted = np.zeros(kind.size, np.bool_)
    is_wanted[wanted] = True
    # What is not wanted is of the kind of what comes before.
    places = np.flatnonzero(is_wanted)
    last = np.maximum(np.searchsorted(places, np.arange(kind.size), "right") - 1, 0)
    kind = kind[places][last]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(kind)) + 1])
    autosomes = count(1)
    labels = [_LABELS.get(Ploidy(each)) or str(next(autosomes)) for each in kind[starts]]
    if len(set(labels)) < len(labels) or str(_AUTOSOMES + 1) in labels:
        return None
    return pl.Series(np.repeat(labels, np.diff([*starts, kind.size])))


def _name(column: str) -> pl.Expr:
    return pl.format("v{}", pl.col(column))
