"""An invented panel and random scores, given to plink2 --score and to the engine: the same sums and the same counts.

Weights are small whole numbers, so that plink2 prints sums whole wherever nothing is imputed; its six digits are all
there is to compare with elsewhere.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import Reference
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.genetics.variants import GenotypesCounted
from tests.conftest import Missing
from tests.core.genetics.scored import assert_printed_as, counted, opened, scored, sscore
from tests.panels import Row, write_pgen

pytestmark = pytest.mark.plink2

VARIANTS, PEOPLE = 3_000, 150
EVERY = tuple(Ploidy)
SEVERAL = "0/2 1/2 1/2 2/2 0/1 . ."
POLICY = Policy(ambiguous="keep", flip=False, multiallelic="keep")
Effect = Literal["alt", "ref", "either"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Rows of a score at some of the panel's entries; a weight of 0 says that a score lacks the row."""

    entries: NDArray[np.intp]
    is_ref: NDArray[np.bool_]
    weights: NDArray[np.int64]


class Live:
    """A panel whose rows are named v0, v1 and so on, and plink2 beside it."""

    def __init__(self, prefix: Path, *, genotypes: GenotypesCounted = "hardcalls") -> None:
        self.folder = prefix.parent
        self.prefix = prefix
        self.reference: Reference = opened(prefix, self.folder, genotypes=genotypes)
        self.table = self.reference.table

    def draw(self, seed: int, *, effect: Effect = "either", scores: int = 1, ploidies: tuple[Ploidy, ...]) -> Drawn:
        """Draw one entry of each of two thirds of the rows; the first score has them all."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(np.flatnonzero(np.isin(self.table.ploidy, ploidies)))
        _, first = np.unique(self.table.variant[order], return_index=True)
        entries = order[first]
        is_special = self.table.multiallelic[entries] | (self.table.ploidy[entries] != Ploidy.AUTOSOME)
        entries = entries[(rng.random(entries.size) < 0.67) | is_special]
        weights = rng.integers(1, 10, (scores, entries.size)) * rng.choice([-1, 1], (scores, entries.size))
        weights[1:] *= rng.random((scores - 1, entries.size)) < 0.5
        is_ref = {"alt": 1.0, "either": 0.5, "ref": 0.0}[effect] <= rng.random(entries.size)
        return Drawn(entries=entries, is_ref=is_ref, weights=weights)

    def ours(self, drawn: Drawn, policy: Policy, *, model: str = "") -> list[ScoreResult]:
        """Write each score as a file of the catalogue's form, and score it."""
        names = self.table.names(drawn.entries)
        effect = pl.Series(np.where(drawn.is_ref, names["ref"], names["alt"]))
        other = pl.Series(np.where(drawn.is_ref, names["alt"], names["ref"]))
        files = []
        for number, weights in enumerate(drawn.weights):
            file = self.folder / f"ours_{number}.txt"
            rows = names.select(
                pl.col("chromosome").str.replace("PAR.", "X").alias("chr_name"),
                pl.col("position").alias("chr_position"),
                effect.alias("effect_allele"), other.alias("other_allele"), pl.Series("effect_weight", weights),
                *([pl.lit("True").alias(f"is_{model}")] if model else []),
            )  # fmt: skip
            if policy.match == "id":
                # Whatever it says of positions, it may as well be wrong.
                rows = rows.with_columns(
                    pl.col("chr_position").reverse(),
                    rsID=pl.format("v{}", pl.Series(self.table.variant[drawn.entries])),
                )
            written = rows.filter(pl.Series(weights != 0))
            file.write_text("#genome_build=GRCh38\n" + written.write_csv(separator="\t"))
            files.append(file)
        return scored(self.reference, files, policy, self.folder)

    def theirs(
        self, drawn: Drawn, frequencies: NDArray[np.float64] | None, *options: str, coding: int = 2
    ) -> pl.DataFrame:
        """Run plink2 on all scores at once, with these frequencies of the entries' ALT alleles, or with its own."""
        names = self.table.names(drawn.entries)
        ids = [f"v{row}" for row in self.table.variant[drawn.entries]]
        alleles = np.where(drawn.is_ref, names["ref"], names["alt"])
        columns = {f"s{number}": weights for number, weights in enumerate(drawn.weights)}
        score = self.folder / "theirs.txt"
        pl.DataFrame({"ID": ids, "A": alleles, **columns}).write_csv(score, separator="\t")
        if frequencies is not None:
            self._write_frequencies(frequencies)
        command = [
            "plink2", "--pfile", str(self.prefix), "--threads", "1", "--memory", "700", "--out", str(score),
            *(["--read-freq", str(self.folder / "own.afreq")] if frequencies is not None else []),
            "--xchr-model", str(coding),
            "--score", str(score), "1", "2", "header-read", "cols=+scoresums,+denom", *options,
            "--score-col-nums", *(str(3 + number) for number in range(len(columns))),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(ids)} variant{'s' * (len(ids) > 1)} processed" in done.stdout
        return sscore(score.with_name(score.name + ".sscore"))

    def _write_frequencies(self, frequencies: NDArray[np.float64]) -> None:
        order = np.lexsort((self.table.allele, self.table.variant))
        names = self.table.names(order).with_columns(ID=pl.format("v{}", pl.Series(self.table.variant[order])))
        told = names.with_columns(frequency=pl.Series([repr(each) for each in frequencies[order].tolist()])).group_by(
            pl.col("chromosome").alias("#CHROM"), "ID", pl.col("ref").alias("REF"), maintain_order=True
        )
        rows = told.agg(ALT=pl.col("alt").str.join(","), ALT_FREQS=pl.col("frequency").str.join(","))
        rows.with_columns(OBS_CT=2 * PEOPLE).write_csv(self.folder / "own.afreq", separator="\t", quote_style="never")


def _name_rows(pvar: Path) -> None:
    lines = pvar.read_text().splitlines()
    head = [each for each in lines if each.startswith("#")]
    rows = [each.split("\t") for each in lines[len(head) :]]
    named = ["\t".join((*row[:2], f"v{at}", *row[3:])) for at, row in enumerate(rows)]
    pvar.write_text("\n".join([*head, *named]) + "\n")


@pytest.fixture(scope="module")
def live(missing: Missing, tmp_path_factory: pytest.TempPathFactory) -> Live:
    if shutil.which("plink2") is None:
        missing.part("plink2", why="there is no plink2", get="apt-get install plink2")
    prefix = tmp_path_factory.mktemp("live") / "panel"
    make_panel(prefix, variants=VARIANTS, people=PEOPLE, seed=11)
    _name_rows(prefix.with_suffix(".pvar"))
    return Live(prefix)


@pytest.fixture(scope="module")
def imputed(live: Live) -> Live:
    """The same panel with dosages, which plink2 prefers to calls."""
    prefix = live.folder / "imputed"
    make_panel(prefix, variants=VARIANTS, people=PEOPLE, seed=11, dosages=True)
    _name_rows(prefix.with_suffix(".pvar"))
    return Live(prefix, genotypes="dosages")


@pytest.fixture(scope="module")
def odd(live: Live) -> Live:
    """Two alleles where there is one copy, people of unknown sex, and sites with several ALTs on every chromosome."""
    places = ("1:100", "X:50000000", "X:50000100", "Y:10000000", "Y:10000100", "MT:100", "MT:200")
    rows = [
        Row(place=place, ref="A", alt="G,T" if at % 2 else "G", calls=SEVERAL if at % 2 else "0/1 0/1 0/1 1/1 1/1 . .")
        for at, place in enumerate(places)
    ]
    return Live(write_pgen(live.folder / "odd", "#IID SEX\nm1 1\nf1 2\nu1 0\nm2 1\nu2 0\nm3 1\nu3 0", rows))


def test_the_panel_has_every_kind_of_place_and_missing_calls(live: Live) -> None:
    drawn = live.draw(1, ploidies=EVERY).entries
    assert set(live.table.ploidy[drawn].tolist()) == set(Ploidy)
    assert {"PAR1", "PAR2"} <= set(live.table.names(drawn)["chromosome"])
    assert live.table.multiallelic[drawn].sum() > 10
    assert live.table.missing[drawn].sum() > 500


@pytest.mark.parametrize("coding", [1, 2])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
def test_missing_calls_count_what_the_frequency_expects(live: Live, effect: Effect, coding: int) -> None:
    drawn = live.draw(2, effect=effect, ploidies=EVERY)
    (ours,) = live.ours(drawn, POLICY)
    theirs = live.theirs(drawn, live.table.frequency, coding=coding)
    assert_printed_as(ours.people[f"sum_{coding}"], theirs["s0_SUM"])
    assert counted(ours, coding=coding, skip=False) == theirs["DENOM"].to_list()
    assert counted(ours, coding=coding, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("coding", [1, 2])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
def test_skipped_calls_are_in_neither_sum_nor_denominator(live: Live, effect: Effect, coding: int) -> None:
    drawn = live.draw(3, effect=effect, ploidies=EVERY)
    (ours,) = live.ours(drawn, POLICY.model_copy(update={"missing": "skip"}))
    theirs = live.theirs(drawn, live.table.frequency, "no-mean-imputation", coding=coding)
    assert ours.people[f"sum_{coding}"].to_list() == theirs["s0_SUM"].to_list()
    assert counted(ours, coding=coding, skip=True) == theirs["DENOM"].to_list() == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
def test_rows_by_their_ids_have_the_sums_of_plink2_which_knows_no_other_way(live: Live, effect: Effect) -> None:
    drawn = live.draw(10, effect=effect, ploidies=EVERY)
    (ours,) = live.ours(drawn, POLICY.model_copy(update={"match": "id", "missing": "skip"}))
    theirs = live.theirs(drawn, live.table.frequency, "no-mean-imputation")
    assert ours.people["sum_2"].to_list() == theirs["s0_SUM"].to_list()
    assert counted(ours, skip=True) == theirs["DENOM"].to_list() == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
def test_no_copies_for_missing_calls_is_plink2_with_effect_alleles_that_nobody_has(live: Live, effect: Effect) -> None:
    drawn = live.draw(4, effect=effect, ploidies=EVERY)
    (ours,) = live.ours(drawn, POLICY.model_copy(update={"missing": "zero"}))
    never = np.zeros(live.table.key.size)
    never[drawn.entries] = drawn.is_ref
    theirs = live.theirs(drawn, never)
    assert ours.people["sum_2"].to_list() == theirs["s0_SUM"].to_list()
    assert counted(ours, skip=False) == theirs["DENOM"].to_list()


@pytest.mark.parametrize("gap", ["mean", "skip"])
def test_several_scores_at_once_have_the_sums_of_one_run(live: Live, gap: str) -> None:
    """plink2 counts a row that a score lacks as a weight of 0, so denominators are the union's there, ours our own."""
    drawn = live.draw(5, scores=4, ploidies=EVERY)
    ours = live.ours(drawn, POLICY.model_copy(update={"missing": gap}))
    theirs = live.theirs(drawn, live.table.frequency, *(["no-mean-imputation"] if gap == "skip" else []))
    for number, each in enumerate(ours):
        assert_printed_as(each.people["sum_2"], theirs[f"s{number}_SUM"])
    assert [sum(each.used.values()) for each in ours] == (drawn.weights != 0).sum(axis=1).tolist()


@pytest.mark.parametrize("gap", ["mean", "skip"])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
@pytest.mark.parametrize("model", ["dominant", "recessive"])
def test_dominant_and_recessive_rows_are_plink2s(live: Live, model: str, effect: Effect, gap: str) -> None:
    """plink2 refuses these models on X, Y and MT; the PAR has two copies in everybody."""
    drawn = live.draw(6, effect=effect, ploidies=(Ploidy.AUTOSOME,))
    (ours,) = live.ours(drawn, POLICY.model_copy(update={"missing": gap}), model=model)
    theirs = live.theirs(drawn, live.table.frequency, model, *(["no-mean-imputation"] if gap == "skip" else []))
    assert_printed_as(ours.people["sum_2"], theirs["s0_SUM"])
    assert counted(ours, skip=gap == "skip") == theirs["DENOM"].to_list()
    assert counted(ours, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("ploidy", [Ploidy.Y, Ploidy.MT])
def test_one_copy_counts_once(live: Live, ploidy: Ploidy) -> None:
    drawn = live.draw(7, ploidies=(ploidy,))
    (ours,) = live.ours(drawn, POLICY)
    theirs = live.theirs(drawn, live.table.frequency)
    assert_printed_as(ours.people["sum_2"], theirs["s0_SUM"])
    assert counted(ours, skip=False) == theirs["DENOM"].to_list()
    assert counted(ours, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("gap", ["mean", "skip"])
@pytest.mark.parametrize("coding", [1, 2])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
def test_odd_calls_and_unknown_sexes_count_as_in_plink2(odd: Live, effect: Effect, coding: int, gap: str) -> None:
    drawn = odd.draw(8, effect=effect, ploidies=EVERY)
    assert drawn.entries.size >= 6
    (ours,) = odd.ours(drawn, POLICY.model_copy(update={"missing": gap}))
    theirs = odd.theirs(drawn, odd.table.frequency, *(["no-mean-imputation"] if gap == "skip" else []), coding=coding)
    assert_printed_as(ours.people[f"sum_{coding}"], theirs["s0_SUM"])
    assert counted(ours, coding=coding, skip=gap == "skip") == theirs["DENOM"].to_list()
    assert counted(ours, coding=coding, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("gap", ["mean", "skip"])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
@pytest.mark.parametrize("model", ["", "dominant", "recessive"])
def test_dosages_count_as_in_plink2(imputed: Live, model: str, effect: Effect, gap: str) -> None:
    drawn = imputed.draw(9, effect=effect, ploidies=(Ploidy.AUTOSOME,) if model else EVERY)
    policy = POLICY.model_copy(update={"missing": gap, "genotypes": "dosages"})
    (ours,) = imputed.ours(drawn, policy, model=model)
    options = [*([model] if model else []), *(["no-mean-imputation"] if gap == "skip" else [])]
    theirs = imputed.theirs(drawn, imputed.table.frequency, *options)
    assert_printed_as(ours.people["sum_2"], theirs["s0_SUM"])
    assert counted(ours, skip=gap == "skip") == theirs["DENOM"].to_list()
    assert counted(ours, skip=True) == theirs["ALLELE_CT"].to_list()


@pytest.mark.parametrize("gap", ["mean", "skip"])
@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
@pytest.mark.parametrize(("copies", "word"), [("centred", "center"), ("standardised", "variance-standardize")])
def test_centred_and_standardised_copies_are_plink2s(
    live: Live, copies: str, word: str, effect: Effect, gap: str
) -> None:
    """Where copies are centred, the mean of a missing call is 0; plink2 adds its frequency all the same.

    plink2 does not standardise on X and MT, nor where only people who do not count in frequencies have the allele.
    """
    drawn = live.draw(13, effect=effect, ploidies=EVERY if copies == "centred" else (Ploidy.AUTOSOME,))
    share = live.table.frequency[drawn.entries]
    varies = (share > 0) & (share < 1) & ~live.table.multiallelic[drawn.entries]
    if copies == "standardised":
        drawn = Drawn(entries=drawn.entries[varies], is_ref=drawn.is_ref[varies], weights=drawn.weights[:, varies])
    (ours,) = live.ours(drawn, POLICY.model_copy(update={"missing": gap, "copies": copies}))
    theirs = live.theirs(drawn, live.table.frequency, word, "no-mean-imputation")
    assert_printed_as(ours.people["sum_2"], theirs["s0_SUM"])
    assert counted(ours, skip=True) == theirs["DENOM"].to_list()


@pytest.mark.parametrize("effect", ["alt", "ref", "either"])
@pytest.mark.parametrize("panel", ["live", "imputed"])
def test_missing_calls_count_what_plink2s_own_frequencies_expect(
    panel: str, effect: Effect, request: pytest.FixtureRequest
) -> None:
    """plink2 takes frequencies from founders, who are the unrelated people here: of dosages where there are any."""
    on: Live = request.getfixturevalue(panel)
    assert on.table.missing.sum() > 500
    drawn = on.draw(12, effect=effect, ploidies=EVERY)
    (ours,) = on.ours(drawn, POLICY.model_copy(update={"genotypes": "dosages" if panel == "imputed" else "hardcalls"}))
    assert_printed_as(ours.people["sum_2"], on.theirs(drawn, None)["s0_SUM"])
