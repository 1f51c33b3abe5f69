"""Every choice there is in matching and scoring, as one value; docs/scoring.md explains each.

The defaults are the catalogue calculator's. A policy is part of a result's content key, and is written out whole in its
manifest.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sluiceway.core.errors import InputMissing, PolicyInvalid

if TYPE_CHECKING:
    from pathlib import Path


class Policy(BaseModel):
    """How rows are matched to variants, and what a genotype that is missing counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Literal["position", "id"] = Field(
        default="position",
        description="Find a row's variant by its position and alleles, or by its id and alleles (not for rows that "
        "need several variants).",
    )
    ambiguous: Literal["drop", "keep", "frequency"] = Field(
        default="drop",
        description="Variants that read the same on both strands (A/T, C/G): leave out, take as they are, or decide by "
        "frequency and leave out those that cannot be decided.",
    )
    frequency_margin: float = Field(
        default=0.1, gt=0, lt=0.5, description="How far from one half both frequencies must be to decide a strand."
    )
    flip: bool = Field(default=True, description="Try the other strand where the alleles as written do not fit.")
    multiallelic: Literal["drop", "keep"] = Field(
        default="drop", description="Sites that the panel writes with several ALT alleles in one row."
    )
    duplicates: Literal["drop", "first", "sum"] = Field(
        default="drop",
        description="Several rows of one score at one variant: leave out all, take the first, add them.",
    )
    no_other_allele: Literal["one", "every", "drop"] = Field(
        default="one",
        description="Rows without other allele: match the best variant at their position, every variant that has the "
        "effect allele (only where the whole file lacks the column), or none.",
    )
    odds_ratios: Literal["refuse", "log"] = Field(
        default="refuse",
        description="Rows with an odds or hazard ratio alone: leave out, or weigh by its logarithm.",
    )
    missing: Literal["mean", "zero", "skip"] = Field(
        default="mean",
        description="A missing genotype counts what the panel's frequency expects, no effect allele, or nothing at all "
        "(and then the average is over fewer alleles).",
    )
    genotypes: Literal["hardcalls", "dosages"] = Field(
        default="hardcalls", description="Whole genotypes, or the panel's dosages where it has them."
    )
    copies: Literal["plain", "centred", "standardised"] = Field(
        default="plain",
        description="Count copies as they are, less what the panel's frequency expects, or that in standard deviations "
        "that it expects (of additive rows; others are then not scored).",
    )
    male_x: Literal[1, 2] = Field(
        default=2, description="What a man's one copy of X counts at most: one allele, or two as a woman's."
    )
    min_overlap: float = Field(
        default=0.75, ge=0, le=1, description="Scores with a smaller share of matched rows are marked low_match."
    )

    @property
    def counts_complex_rows(self) -> bool:
        """Whether rows that need several variants are scored: their parts have positions, and no one frequency."""
        return self.match == "position" and self.copies == "plain"

    @model_validator(mode="after")
    def _an_id_names_one_variant(self) -> Self:
        if self.match == "id" and self.no_other_allele == "every":
            # Pydantic's own kind of error: its text stands alone in ours.
            raise PydanticCustomError(
                "policy", "no_other_allele 'every' needs match 'position': an id names one variant"
            )
        return self


NAMED: Final = {
    "catalogue": Policy(),
    "just-prs": Policy(
        ambiguous="keep", flip=False, duplicates="sum", no_other_allele="every", missing="skip", min_overlap=0.0
    ),
}
"""Policies by name: the catalogue calculator's, and one that reproduces just-prs's sums."""


def read(where: str | Path, **changes: object) -> Policy:
    """Give a policy by its name, or from a TOML file, with these changes.

    >>> read("just-prs", missing="mean").missing
    'mean'
    """
    named = NAMED.get(str(where))
    written = named.model_dump() if named else _from_file(where)
    try:
        return Policy.model_validate({**written, **changes})
    except ValidationError as error:
        reason = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
        raise PolicyInvalid(where=str(where), reason=reason) from error


def _from_file(where: str | Path) -> dict[str, object]:
    from pathlib import Path  # noqa: PLC0415

    path = Path(where)
    if not path.is_file():
        if path.suffix:
            raise InputMissing(what="the policy", path=path)
        raise PolicyInvalid(where=str(where), reason=f"it is neither a file nor one of: {', '.join(NAMED)}")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyInvalid(where=str(where), reason=f"it is not TOML: {error}") from error
