"""Everything that can be chosen for a refresh, as one value: the form in Prefect, the options of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluiceway.core.catalog.backlog import State
from sluiceway.core.errors import RequestInvalid
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.policy import NAMED, Policy

READERS: Final = "just-prs"
"""The policy of the tables that readers of the published data set expect."""
OWN: Final = "own"
"""What our own policy is called among the folders of results."""

# What a pattern would say to nobody but programmers.
_FORMS: Final = {
    "scores": "an id is PGS and six digits, such as PGS000001",
    "panel_name": "it is a part of file names, so letters, digits and _ . + - alone",
}


class RefreshOptions(BaseModel):
    """What is refreshed, on which panel, how, and what is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    panel: str = Field(
        default="1000g",
        description="A panel that the catalogue offers (1000g, hgdp_1kg), which is fetched where it is not here; or "
        "what the names of a panel's files begin with.",
    )
    panel_name: str | None = Field(
        default=None,
        pattern=r"^[\w.+-]+$",
        description="What the panel is called in the names of published files; by default its own name.",
    )
    build: Build = Field(default=Build.GRCH38, description="The build of the panel and of the scoring files.")
    population: str | None = Field(
        default=None, description="The sample file's column of populations, where it is not found by its name."
    )
    unrelated: Path | None = Field(
        default=None, description="A list of people to leave out of the distributions as relatives."
    )
    scores: tuple[Annotated[str, Field(pattern=r"^PGS\d{6}$")], ...] = Field(
        default=(), description="Only these ids, such as PGS000001; none means every score of the catalogue."
    )
    policy: Policy = Field(
        default=NAMED["catalogue"], description="How our own tables are scored; readers' tables follow just-prs."
    )
    out: Path = Field(default=Path("data/output/refresh"), description="The folder for plans, results and data sets.")
    only: tuple[State, ...] = Field(
        default=(),
        description="Do only what is in these states, such as missing, failed, damaged; without new and revised among "
        "them, the catalogue is not asked. None means everything.",
    )
    use_cache: bool = Field(
        default=True, description="Take results that are here; without it, every score is scored again."
    )
    retry_failed: bool = Field(default=False, description="Try again what has failed as often as it may.")
    attempts: int = Field(
        default=3, ge=1, le=100, description="How often a score that fails is tried, over all refreshes."
    )
    chunk: int = Field(
        default=500, ge=1, le=10_000, description="So many scores are brought and scored at a time, by each policy."
    )
    on: str = Field(
        default="local",
        description="Where ranges are scored: local, dask, dask:ADDRESS of a scheduler, or the name of a cluster.",
    )
    workers: int = Field(default=2, ge=1, le=4_096, description="Threads, or Dask's workers on this machine.")
    memory: str | None = Field(default=None, description="How much memory to take, such as 16G.")
    publish: bool = Field(default=True, description="Publish the data sets when the audit lets them pass.")
    hub: str | None = Field(default=None, description="The block Hub with which to publish to the hub, too.")
    completeness: float = Field(
        default=0.9, ge=0, le=1, description="The share of the catalogue's scores that must have a result to publish."
    )
    allow_partial: bool = Field(default=False, description="Publish below that share, too, and say that it is partial.")
    dry_run: bool = Field(default=False, description="Show the plan, and do nothing.")

    @property
    def policies(self) -> dict[str, Policy]:
        """The policies by which scores are scored, by the names of their folders."""
        if not self.publish or self.policy == NAMED[READERS]:
            return {OWN: self.policy} if self.policy != NAMED[READERS] else {READERS: self.policy}
        return {READERS: NAMED[READERS], OWN: self.policy}

    @property
    def asks(self) -> bool:
        """Whether the catalogue is asked what it has now, or what was seen last is good enough."""
        return not self.only or bool({State.NEW, State.REVISED}.intersection(self.only))


def read(**chosen: Any) -> RefreshOptions:
    """Give options; RequestInvalid names the first that cannot be used."""
    try:
        return RefreshOptions(**chosen)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "options"
        reason = _FORMS.get(name, wrong["msg"])
        raise RequestInvalid(what=f"--{name.replace('_', '-')}", value=str(wrong["input"]), reason=reason) from error
