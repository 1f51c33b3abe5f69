"""What became of a scoring file's rows, in words for a reader who knows no code of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MATCHED: Final = "matched"
EXCLUDED: Final = "excluded"
UNMATCHED: Final = "unmatched"
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a reason is told: whether its rows were matched, excluded or unmatched, a few words, and a sentence."""

    status: str
    title: str
    text: str


REASONS: Final = {
    "exact": Wording(MATCHED, "as written", "The effect allele is the panel's ALT, the other allele its REF."),
    "swapped": Wording(MATCHED, "alleles swapped", "The effect allele is the panel's REF, the other allele its ALT."),
    "flipped": Wording(MATCHED, "other strand", "The alleles fit once both are read on the other strand."),
    "flipped_swapped": Wording(
        MATCHED, "other strand, swapped", "The alleles fit once read on the other strand, with REF and ALT swapped."
    ),
    "one_allele": Wording(
        MATCHED, "effect allele alone", "The file names no other allele; the effect allele was found at the place."
    ),
    "complex": Wording(
        MATCHED, "several variants", "The row counts haplotypes or an interaction; each variant it needs was found."
    ),
    "ambiguous": Wording(
        EXCLUDED,
        "strand cannot be told",
        "The alleles are A/T or C/G, which read the same on both strands, so which one carries the effect is unsure.",
    ),
    "multiallelic": Wording(
        EXCLUDED, "several ALT alleles", "The panel has more than two alleles here, and the policy leaves those out."
    ),
    "duplicate": Wording(
        EXCLUDED, "same variant twice", "Several rows of the score lead to one variant of the panel."
    ),
    "no_other_allele": Wording(
        EXCLUDED, "no other allele", "The file does not say against which allele the effect was measured."
    ),
    "ratio_only": Wording(
        EXCLUDED, "only a ratio given", "The row has an odds or hazard ratio but no weight, and the policy takes none."
    ),
    "several_places": Wording(
        EXCLUDED, "id at several places", "The panel gives the row's id to variants at several places."
    ),
    "no_place": Wording(
        UNMATCHED, "no position", "The row has no position on the panel's genome build: it was not given, or not found."
    ),
    "bad_allele": Wording(
        UNMATCHED, "allele is no sequence", "An allele is not written in A, C, G and T: an HLA type, a marker, a dash."
    ),
    "same_alleles": Wording(UNMATCHED, "both alleles alike", "The effect allele and the other allele are the same."),
    "no_weight": Wording(UNMATCHED, "no weight", "The row has no weight that is a number."),
    "not_scored_model": Wording(
        UNMATCHED, "model not supported", "The row asks for a way of counting alleles that is not carried out."
    ),
    "not_in_panel": Wording(
        UNMATCHED, "not in the panel", "The panel has no variant at this position, or with this id."
    ),
    "other_alleles": Wording(
        UNMATCHED,
        "other alleles there",
        "The panel has a variant at this position, or with this id, but with other alleles.",
    ),
    "no_id": Wording(UNMATCHED, "no id", "The row names no id, and rows are matched by id."),
    "no_calls": Wording(UNMATCHED, "nobody was called", "The variant is there, but no person has a genotype for it."),
}  # fmt: skip
"""Each reason that is known here; there may be others, see `wording`."""

STATUSES: Final = {
    "ok": ("✓", "ok", "matched well enough, and people differ"),
    "low_match": ("!", "low match", "too few of its rows are in the panel; its distribution is of another score"),
    "zero_variance": ("=", "no variance", "everybody has the same value, so nobody can be placed"),
    "failed": ("✕", "failed", "was not computed"),
}
"""Each status of a score: a sign, a name, and what it means."""


def wording(reason: str) -> Wording:
    """Give the words for a reason, or as much as its name tells where it is not known here.

    >>> wording("not_yet_thought_of").title
    'not yet thought of'
    """
    unknown = Wording(OTHER, reason.replace("_", " "), "This version of the report has no words for this reason.")
    return REASONS.get(reason, unknown)
