"""The rows of invented scoring files: each kind, made from an invented panel's variants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Self

import numpy as np
import pgenlib
import polars as pl

from sluiceway.core.genetics.alleles import complement
from sluiceway.core.genetics.synthetic_sites import APOE, LENGTHS
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.genetics.build import Build

AUTHORS: Final = ("rsID", "chr_name", "chr_position", "effect_allele", "other_allele", "effect_weight")
NAMED_ONLY: Final = ("rsID", "effect_allele", "other_allele", "effect_weight")

Kind = Literal["plain", "palindromic", "indel", "several", "split", "monomorphic", "X", "PAR", "Y", "MT"]

_PALINDROMES: Final = ("AT", "TA", "CG", "GC")
_LOOKED_AT: Final = 30_000
_SHIFT: Final = 1_234
_FLAGS: Final = ("True", "true", "1", "TRUE")
_NOTHING: Final = pl.lit(None, pl.String)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """An invented panel's variants as scores are made of them, and one score's random numbers."""

    variants: pl.DataFrame
    build: Build
    rng: np.random.Generator

    @classmethod
    def read(cls, prefix: Path, *, seed: int) -> Self:
        """Read a panel, and how frequent its alleles are."""
        path = next(each for end in (".pvar", ".pvar.zst") if (each := prefix.with_name(prefix.name + end)).is_file())
        header = "\n".join(
            frames.read_csv(path, separator="\x01", has_header=False, quote_char=None, n_rows=40).to_series()
        )
        build = next(each for each, lengths in LENGTHS.items() if f"<ID=1,length={lengths[0]}>" in header)
        variants = frames.read_csv(path, separator="\t", comment_prefix="##", schema_overrides={"#CHROM": pl.String})
        return cls(variants=_told_apart(variants, prefix), build=build, rng=np.random.default_rng(seed))

    def each(self, scores: int) -> list[Self]:
        """Give the panel once for each score, with random numbers of its own, so scores do not depend on each other."""
        return [replace(self, rng=rng) for rng in self.rng.spawn(scores)]

    def rows(self, count: int, kind: Kind = "plain") -> pl.DataFrame:
        """Give rows about variants of one kind, as many as there are and at most this many, in the panel's order.

        The authors' positions are on another build; the effect allele is ALT in half of the rows.
        """
        found = self.variants.filter(pl.col("kind") == kind)
        chosen = found[np.sort(self.rng.choice(found.height, min(count, found.height), replace=False))]
        swapped = pl.Series("swapped", self.rng.random(chosen.height) < 0.5)
        weights = pl.Series("weight", self.rng.normal(0, 0.1, chosen.height).round(6))
        return chosen.with_columns(swapped, weights).select(
            pl.col("ID").alias("rsID"), pl.col("chromosome").alias("chr_name"),
            (pl.col("POS") + _SHIFT).alias("chr_position"),
            pl.when("swapped").then("REF").otherwise("ALT").alias("effect_allele"),
            pl.when("swapped").then("ALT").otherwise("REF").alias("other_allele"),
            pl.col("weight").alias("effect_weight"), pl.lit("ENSEMBL").alias("hm_source"),
            pl.col("ID").alias("hm_rsID"), pl.col("chromosome").alias("hm_chr"), pl.col("POS").alias("hm_pos"),
            _NOTHING.alias("hm_inferOtherAllele"),
            pl.when("swapped").then(1 - pl.col("frequency")).otherwise("frequency").alias("frequency"),
        )  # fmt: skip


def _told_apart(variants: pl.DataFrame, prefix: Path) -> pl.DataFrame:
    """Give each variant's kind and chromosome, and the frequency of ALT."""
    ref, alt, contig = pl.col("REF"), pl.col("ALT"), pl.col("#CHROM")
    frequency = pl.Series("frequency", _frequencies(variants, prefix))
    kind = (
        pl.when(contig.is_in(["X", "Y", "MT"])).then(contig)
        .when(alt.str.contains(",")).then(pl.lit("several"))
        .when(pl.struct("#CHROM", "POS").is_duplicated()).then(pl.lit("split"))
        .when(contig.str.starts_with("PAR")).then(pl.lit("PAR"))
        .when((ref.str.len_chars() > 1) | (alt.str.len_chars() > 1)).then(pl.lit("indel"))
        .when(pl.col("frequency").is_in([0.0, 1.0])).then(pl.lit("monomorphic"))
        .when(~pl.col("frequency").is_between(0.01, 0.99)).then(pl.lit("rare"))
        .when((ref + alt).is_in(_PALINDROMES)).then(pl.lit("palindromic"))
        .otherwise(pl.lit("plain"))
    )  # fmt: skip
    chromosome = pl.when(contig.str.starts_with("PAR")).then(pl.lit("X")).otherwise(contig).alias("chromosome")
    told = variants.with_columns(frequency).filter(pl.col("frequency").is_not_null() & (pl.col("ID") != "."))
    return told.with_columns(chromosome, kind.alias("kind")).filter(~pl.col("ID").is_in(["rs429358", "rs7412"]))


def _frequencies(variants: pl.DataFrame, prefix: Path) -> list[float | None]:
    """Give the frequency of the first ALT; of a very large panel only some rows are looked at."""
    counts = np.zeros(4, np.uint32)
    alleles = variants["ALT"].str.count_matches(",", literal=True).to_numpy().astype(np.uint64) + np.uint64(2)
    offsets = np.concatenate([[np.uint64(0)], np.cumsum(alleles)]).astype(np.uintp)
    frequencies: list[float | None] = [None] * variants.height
    autosomal = int((~variants["#CHROM"].is_in(["PAR1", "X", "PAR2", "Y", "MT"])).sum())
    rows = (*range(0, autosomal, max(1, autosomal // _LOOKED_AT)), *range(autosomal, variants.height))
    with pgenlib.PgenReader(
        str(prefix.with_name(prefix.name + ".pgen")).encode(), allele_idx_offsets=offsets
    ) as reader:
        for row in rows:
            reader.count(row, counts)
            _, one, two, _ = counts.tolist()
            frequencies[row] = (one + 2 * two) / max(2 * int(counts[:3].sum()), 1)
    return frequencies


def effect_is_ref(panel: Panel) -> pl.DataFrame:
    """Give rows whose effect allele is the panel's REF."""
    rows = panel.rows(80).join(panel.variants.select(pl.col("ID").alias("rsID"), "REF", "ALT"), on="rsID", how="left")
    return rows.with_columns(effect_allele="REF", other_allele="ALT").drop("REF", "ALT")


def other_strand(panel: Panel) -> pl.DataFrame:
    """Give rows with both alleles complemented."""
    alleles = pl.col("effect_allele", "other_allele")
    return panel.rows(80).with_columns(alleles.map_elements(complement, return_dtype=pl.String))


def _every(nth: int, at: int = 0) -> pl.Expr:
    return pl.int_range(pl.len()) % nth == at


def other_allele_empty(panel: Panel) -> pl.DataFrame:
    """Give rows some of which name one allele only."""
    return panel.rows(90).with_columns(other_allele=pl.when(~_every(3)).then("other_allele"))


def other_allele_inferred(panel: Panel) -> pl.DataFrame:
    """Give rows whose other allele stands in hm_inferOtherAllele, for every fourth among others."""
    inferred = pl.when(_every(4)).then(pl.concat_str("other_allele", pl.lit("/"), _a_third())).otherwise("other_allele")
    return panel.rows(80).with_columns(other_allele=_NOTHING, hm_inferOtherAllele=inferred)


def _a_third() -> pl.Expr:
    """Give a base that is neither allele of a row."""
    pair = pl.col("effect_allele") + pl.col("other_allele")
    return pl.coalesce(pl.when(~pair.str.contains(base)).then(pl.lit(base)) for base in "ACGT")


def frequencies(panel: Panel) -> pl.DataFrame:
    """Give palindromic rows with frequencies; every third is told for the other strand, and some are near one half."""
    rows = panel.rows(120, "palindromic")
    told = pl.when(_every(3)).then(1 - pl.col("frequency")).otherwise("frequency").round(4)
    return rows.with_columns(allelefrequency_effect=pl.when(_every(10, 1)).then(0.5).otherwise(told)).drop("frequency")


def multiallelic(panel: Panel) -> pl.DataFrame:
    """Give rows about one of several ALTs, however the panel writes them."""
    rows = pl.concat([panel.rows(40, "several"), panel.rows(40, "split")])
    alts = pl.col("effect_allele", "other_allele").str.split(",")
    return rows.with_columns(pl.when(_every(2)).then(alts.list.first()).otherwise(alts.list.last()))


def several_other_alleles(panel: Panel) -> pl.DataFrame:
    """Give rows that name two other alleles, joined in either way."""
    by_stroke, by_comma = (pl.concat_str("other_allele", pl.lit(between), _a_third()) for between in "/,")
    return panel.rows(60).with_columns(
        other_allele=pl.when(_every(3)).then(by_stroke).when(_every(3, 1)).then(by_comma).otherwise("other_allele")
    )


def repeated(panel: Panel) -> pl.DataFrame:
    """Give rows, some of them again, and some again the other way round."""
    rows = panel.rows(60)
    turned = rows[10:20].with_columns(effect_allele="other_allele", other_allele="effect_allele")
    return pl.concat([rows, rows[:10], turned])


def flagged(panel: Panel, flag: Literal["is_dominant", "is_recessive"]) -> pl.DataFrame:
    """Give rows half of which carry a flag, in each of its spellings."""
    rows = panel.rows(80)
    spelled = [_FLAGS[row // 2 % 4] if row % 2 else "False" for row in range(rows.height)]
    return rows.with_columns(pl.Series(flag, spelled))


def dosage_weights(panel: Panel) -> pl.DataFrame:
    """Give rows with a weight for each dosage, no two in a line; every second has effect_weight too."""
    rows = panel.rows(80)
    weights = {f"dosage_{dosage}_weight": panel.rng.normal(0, 0.1, rows.height).round(6) for dosage in range(3)}
    return rows.with_columns(pl.when(_every(2)).then("effect_weight"), **{n: pl.Series(w) for n, w in weights.items()})


def interactions(panel: Panel) -> pl.DataFrame:
    """Give additive rows, and rows about two variants, or three, together."""
    rows = panel.rows(70)
    joined = [_joined(rows[start : start + size]) for start, size in ((0, 2), (3, 2), (6, 2), (9, 2), (12, 3))]
    text = [rows.cast({"chr_position": pl.String, "hm_pos": pl.String}), *joined]
    flag = pl.when(pl.col("rsID").str.contains("_x_")).then(pl.lit("True")).otherwise(pl.lit("False"))
    return pl.concat(text).with_columns(is_interaction=flag)


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    names = ["rsID", "chr_name", "chr_position", "effect_allele", "other_allele", "hm_rsID", "hm_chr", "hm_pos"]
    together = rows.with_columns(pl.col(names).cast(pl.String).str.join("_x_"))
    return together[:1]


def _without_place(rows: list[dict[str, object]]) -> pl.DataFrame:
    empty = dict.fromkeys(("rsID", "chr_name", "chr_position", "other_allele", "hm_source", "hm_chr", "hm_pos"))
    return pl.DataFrame([{**empty, "is_haplotype": "False", "is_diplotype": "False", **row} for row in rows])


def apoe(panel: Panel) -> pl.DataFrame:
    """Give APOE's haplotypes by name and by their two variants, and its diplotypes."""
    kind = {"locus_name": "APOE", "variant_type": "APOE_allele", "hm_source": "Unknown"}
    haplotypes = [("e2", -0.47), ("e3", 0.0), ("e4", 1.12)]
    diplotypes = [("e2/e2", -0.9), ("e2/e4", 0.6), ("e3/e4", 1.2), ("e4/e4", 2.5)]
    named = [
        {**kind, "effect_allele": name, "effect_weight": weight, "is_haplotype": "True"} for name, weight in haplotypes
    ]
    paired = [
        {**kind, "effect_allele": name, "effect_weight": weight, "is_diplotype": "True"} for name, weight in diplotypes
    ]
    first, second = APOE[panel.build]
    joined = {
        **kind, "rsID": "rs429358_x_rs7412", "chr_name": "19_x_19", "hm_chr": "19_x_19", "hm_source": "ENSEMBL",
        "chr_position": f"{first + _SHIFT}_x_{second + _SHIFT}", "hm_pos": f"{first}_x_{second}",
        "effect_allele": "C_x_C", "other_allele": "T_x_T", "effect_weight": 0.31, "is_haplotype": "True",
    }  # fmt: skip
    text = panel.rows(30).cast({"chr_position": pl.String, "hm_pos": pl.String})
    special = _without_place([*named, *paired]).cast(dict.fromkeys(("rsID", "chr_name", "chr_position"), pl.String))
    return pl.concat([text, special, pl.DataFrame([joined])], how="diagonal_relaxed")


def hla(panel: Panel) -> pl.DataFrame:
    """Give HLA alleles, counted where present; the catalogue writes P and N for present and absent."""
    names = ("HLA-A*02:01", "HLA-B*27:05", "HLA-DQB1*06:02", "HLA-DRB1*15:01")
    kind = {"variant_type": "HLA_allele", "effect_allele": "P", "other_allele": "N", "hm_source": "Unknown"}
    rows = [
        {**kind, "rsID": name, "locus_name": name[:5], "effect_weight": 0.25 * number}
        for number, name in enumerate(names)
    ]
    return pl.concat([panel.rows(30), _without_place(rows)], how="diagonal_relaxed")


def unplaced(panel: Panel) -> pl.DataFrame:
    """Give rows a quarter of which have no harmonised place; their authors' place is another variant's here."""
    lost = _every(4)
    return panel.rows(80).with_columns(
        pl.when(lost).then(pl.lit("Unknown")).otherwise("hm_source").alias("hm_source"),
        pl.when(lost).then("hm_pos").otherwise("chr_position").alias("chr_position"),
        pl.when(~lost).then(pl.col("hm_rsID", "hm_chr", "hm_pos")),
    )


def unknown_contigs(panel: Panel) -> pl.DataFrame:
    """Give rows some of which are on no chromosome."""
    names = pl.Series(["8_KI270821v1_alt", "HSCHR6_MHC_COX", "Un", "0"])
    rows = panel.rows(60)
    odd = pl.Series([names[row // 5 % 4] if row % 5 == 0 else None for row in range(rows.height)], dtype=pl.String)
    return rows.with_columns(pl.coalesce(odd, "hm_chr").alias("hm_chr"), pl.coalesce(odd, "chr_name").alias("chr_name"))


def sex_chromosomes(panel: Panel) -> pl.DataFrame:
    """Give rows about X, its PAR, Y and MT, after some about the others."""
    kinds: tuple[Kind, ...] = ("plain", "X", "PAR", "Y", "MT")
    return pl.concat([panel.rows(25, kind) for kind in kinds])


def odds_ratios(panel: Panel) -> pl.DataFrame:
    """Give rows without effect_weight."""
    return panel.rows(60).with_columns(OR=pl.col("effect_weight").exp().round(4)).drop("effect_weight")


def monomorphic(panel: Panel) -> pl.DataFrame:
    """Give rows about variants that everybody has alike; a panel with none gives rows that it does not have."""
    rows = panel.rows(40, "monomorphic")
    return rows if rows.height else absent(panel)


def absent(panel: Panel) -> pl.DataFrame:
    """Give rows between the panel's variants."""
    return _moved_away(panel.rows(40))


def _moved_away(rows: pl.DataFrame) -> pl.DataFrame:
    """Put rows where no invented panel has variants: all of them begin after the first 10,000 bases."""
    beside = pl.col("hm_pos") % 9_000 + 1
    return rows.with_columns(
        hm_pos=beside, rsID=pl.lit("rs39999999") + pl.int_range(pl.len()).cast(pl.String)
    ).with_columns(hm_rsID="rsID")


def mostly_absent(panel: Panel) -> pl.DataFrame:
    """Give rows of which two in five are in the panel."""
    rows = panel.rows(100)
    return pl.concat([rows[:40], _moved_away(rows[40:])])


def same_alleles(panel: Panel) -> pl.DataFrame:
    """Give rows, every fifth of which says one allele twice."""
    return panel.rows(60).with_columns(other_allele=pl.when(_every(5)).then("effect_allele").otherwise("other_allele"))


def lower_case(panel: Panel) -> pl.DataFrame:
    """Give rows in lower case."""
    return panel.rows(60).with_columns(pl.col("effect_allele", "other_allele").str.to_lowercase())


def symbolic(panel: Panel) -> pl.DataFrame:
    """Give rows, half of which have alleles that are no bases."""
    rows = panel.rows(40)
    odd = [("-", "A"), ("N", "C"), ("D", "I"), ("I", "D"), ("<DEL>", "G")]
    pairs = [odd[row // 2 % 5] if row % 2 else (None, None) for row in range(rows.height)]
    effect, other = (pl.Series([pair[side] for pair in pairs], dtype=pl.String) for side in (0, 1))
    return rows.with_columns(
        pl.coalesce(effect, "effect_allele").alias("effect_allele"),
        pl.coalesce(other, "other_allele").alias("other_allele"),
    )


def chromosome_spellings(panel: Panel) -> pl.DataFrame:
    """Give rows whose chromosomes are spelled in other ways."""
    rows = pl.concat([panel.rows(60), panel.rows(10, "X"), panel.rows(10, "PAR"), panel.rows(5, "MT")])
    name = pl.col("hm_chr")
    spelled = (
        pl.when(name == "MT").then(pl.lit("chrM"))
        .when((name == "X") & _every(3)).then(pl.lit("XY"))
        .when((name == "X") & _every(3, 1)).then(pl.lit("23"))
        .when((name.str.len_chars() == 1) & (name != "X") & _every(2)).then(pl.lit("0") + name)
        .otherwise(pl.lit("chr") + name)
    )  # fmt: skip
    return rows.with_columns(hm_chr=spelled)


def extreme_weights(panel: Panel) -> pl.DataFrame:
    """Give rows with weights of every size."""
    return _weights(
        panel.rows(40), ["0", "-0.0", "1e-17", "-2.5E-08", "1234567.875", "+0.5", ".25", "-1", "7e3", "0.1"]
    )


def no_number(panel: Panel) -> pl.DataFrame:
    """Give rows, one of which has a word where its weight should be."""
    rows = panel.rows(40)
    return _weights(rows, ["0.1"] * 20 + ["heavy"] + ["0.1"] * 19)


def _weights(rows: pl.DataFrame, weights: list[str]) -> pl.DataFrame:
    return rows.with_columns(effect_weight=pl.Series([weights[row % len(weights)] for row in range(rows.height)]))


def unknown_columns(panel: Panel) -> pl.DataFrame:
    """Give rows with a hazard ratio, a note with a comma and quotes in it, and two columns of no standard."""
    return panel.rows(40).with_columns(
        HR=pl.col("effect_weight").exp().round(4),
        variant_description=pl.lit('said to be "invented", and is'),
        posterior=pl.lit(0.5),
        laboratory=pl.lit("none"),
    )


def moved(panel: Panel) -> pl.DataFrame:
    """Give rows at the places of another build."""
    return panel.rows(60).with_columns(chr_position="hm_pos", hm_pos="chr_position")


def custom(panel: Panel) -> pl.DataFrame:
    """Give rows with two scores' weights side by side."""
    rows = panel.rows(60).with_columns(chr_position="hm_pos")
    second = pl.Series(panel.rng.normal(0, 0.1, rows.height).round(6))
    return rows.select(*AUTHORS[:5], effect_weight_A="effect_weight", effect_weight_B=second)


def dominant_and_recessive(panel: Panel) -> pl.DataFrame:
    """Give rows, one of which carries both flags."""
    both = pl.when(_every(40, 7)).then(pl.lit("True")).otherwise(pl.lit("False"))
    return panel.rows(40).with_columns(is_dominant=both, is_recessive=both)


def two_dosage_weights(panel: Panel) -> pl.DataFrame:
    """Give rows without a weight for two copies."""
    return dosage_weights(panel).drop("effect_weight", "dosage_2_weight")
