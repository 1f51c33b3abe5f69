"""A folder of results as publishing reads it: whole, by a policy that is known, on the panel that is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.panel import digest_of_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.provenance.inputs import input_at
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.ledger import History
from sluiceway.core.provenance.tree import Looking, listing
from sluiceway.core.provenance.verify import Verdict, Verifier
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.provenance.tree import Cache

_COUNTS: Final = ("sluiceway.core.genetics.", "sluiceway.core.catalog.")
"""The modules that decide what a sum is."""
_LIBRARIES: Final = frozenset({"numpy", "numba", "pgenlib", "polars"})


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The labelled people of a panel: sample, superpopulation as it is published, sex, unrelated."""

    table: pl.DataFrame
    labels: Mapping[str, str]

    @classmethod
    def of(cls, panel: Panel) -> Self:
        """Give the people of a panel that stand for a population; those of none are in no published table."""
        written = panel.samples.table.filter(pl.col("population").is_not_null() & (pl.col("population") != "all"))
        labels = {label: label.upper() for label in written["population"].unique().sort()}
        if not labels:
            raise PanelUnusable(path=panel.prefix, reason="nobody in it stands for a population")
        if len(set(labels.values())) < len(labels):
            reason = f"labels of its populations differ by case only: {', '.join(labels)}"
            raise PanelUnusable(path=panel.prefix, reason=reason)
        named = written.with_columns(superpopulation=pl.col("population").replace_strict(labels))
        return cls(table=named.select("sample", "superpopulation", "sex", "unrelated"), labels=labels)

    @property
    def sizes(self) -> pl.DataFrame:
        """How many there are of each population: n_panel, and unrelated ones, n_panel_unrelated."""
        counted = (pl.len().alias("n_panel"), pl.col("unrelated").sum().alias("n_panel_unrelated"))
        return self.table.group_by("superpopulation").agg(*counted).sort("superpopulation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Results that are as they were sealed.

    Attributes:
        panel: The digest of the panel that was scored.
        code: The digest of our code, and of others', that decides what a sum is.
        sources: The digest of each score's file, or of the note that stands for it, by the score's id.
    """

    folder: Path
    policy: Policy
    panel: str
    code: str
    sources: Mapping[str, str]
    finished: datetime | None
    quality: pl.DataFrame
    distributions: pl.DataFrame

    @classmethod
    def read(cls, folder: Path, panel: Panel, cache: Cache | None = None) -> Self:
        """Read a folder of results.

        Raises:
            VerificationFailed: Its files are not what its manifest says, or it has none.
            PanelUnusable: The results are of another panel.
        """
        manifest = _sound(folder, cache)
        wanted = dict(manifest.parameters or {})
        wanted.pop("asked", None)
        return cls(
            folder=folder,
            policy=Policy.model_validate(wanted),
            panel=_same_panel(folder, manifest, panel, cache),
            code=_code(manifest),
            sources=dict(_sources(manifest)),
            finished=manifest.times.finished,
            quality=_named(frames.read_parquet(folder / "quality.parquet")),
            distributions=frames.read_parquet(folder / "distributions.parquet"),
        )

    @property
    def sums(self) -> pl.LazyFrame:
        """Everybody's sums: sample, pgs_id, sum, allele_ct."""
        return frames.scan_parquet(self.folder / "scores.parquet").select("sample", "pgs_id", "sum", "allele_ct")

    def variant_sets(self) -> pl.DataFrame:
        """Give of each score the digest of all that decides which variants count: its file, the panel, the policy."""
        policy = self.policy.model_dump(mode="json", exclude={"male_x", "min_overlap"})
        rows = [
            (pgs_id, content_key("variants", inputs={"score": digest, "panel": self.panel}, parameters=policy,
                                 modules={}, environment={}))
            for pgs_id, digest in self.sources.items()
        ]  # fmt: skip
        return pl.DataFrame(rows, schema={"pgs_id": pl.String, "variant_set_hash": pl.String}, orient="row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a release is made of: results by just-prs's policy, by our own where there are any, and the people."""

    compatible: Scored
    own: Scored | None
    people: People


def file_digest(file: Path, cache: Cache | None) -> str | None:
    """Give a file's digest as the inputs of a manifest have it."""
    return input_at(file, role="file", read=None, cache=cache).digest


def _sound(folder: Path, cache: Cache | None) -> Manifest:
    # The folder's own manifest is what counts here: results may have been brought from another machine.
    verifier = Verifier(history=History([]), cache=cache)
    manifest, found = verifier.manifest(folder)
    found = [] if manifest is not None else found
    found += [] if manifest is None else verifier.data(folder, manifest)
    Verdict(outputs=(folder,), findings=tuple(found), head=None).require_sound()
    assert manifest is not None  # noqa: S101 - without one there is a finding
    return manifest


def _same_panel(folder: Path, manifest: Manifest, panel: Panel, cache: Cache | None) -> str:
    contents = {
        part: listing(file, Looking(cache=cache, plain=True))[0].content or "" for part, file in panel.files.items()
    }
    digest = digest_of_panel(contents)
    scored = {each.digest for each in manifest.inputs or () if each.role == "panel"}
    if digest not in scored and scored != {file_digest(file, cache) for file in panel.files.values()}:
        raise PanelUnusable(path=panel.prefix, reason=f"the results in {str(folder)!r} are of another panel")
    return digest


def _code(manifest: Manifest) -> str:
    modules = {
        name: digest for name, digest in (manifest.environment.modules or {}).items() if name.startswith(_COUNTS)
    }
    libraries = {
        name: version for name, version in (manifest.environment.distributions or {}).items() if name in _LIBRARIES
    }
    return content_key("code", inputs={}, parameters={}, modules=modules, environment=libraries)


def _sources(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for each in manifest.inputs or ():
        if each.role == "score" and each.name and each.digest:
            yield each.name, each.digest


def _named(quality: pl.DataFrame) -> pl.DataFrame:
    """Give scores whose file could not be read the id of their file's name, under which others look for them."""
    own = pl.col("pgs_id").str.extract(r"^(PGS\d{6,})_hmPOS_")
    return quality.with_columns(pl.coalesce(own, "pgs_id").alias("pgs_id"))
