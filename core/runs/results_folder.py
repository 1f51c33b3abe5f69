"""The folder of results of the main job: each file is there whole or not at all, and the manifest comes last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.errors import NothingScored
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance import seal as sealing
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.report.scoring import ScoringReport, render
from sluiceway.core.runs.plink2 import TABLE
from sluiceway.core.runs.scoring_notes import asked_for
from sluiceway.core.store import frames
from sluiceway.core.store.durable import Storing, flush, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluiceway.core.genetics.reference import Reference
    from sluiceway.core.provenance.manifest import Step
    from sluiceway.core.provenance.usage import Usage
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.reference_scoring import Asked
    from sluiceway.core.runs.scoring_inputs import Read
    from sluiceway.core.runs.summary import Summary

_OUTPUTS: Final = (
    "scores.parquet", "distributions.parquet", "quality.parquet", "matches.parquet", TABLE, "report.html",
    "manifest.json",
)  # fmt: skip
_SHOWN: Final = 200
"""Rows left out that the report names, the heaviest first."""


class ResultsFolder:
    """A folder that one run at a time writes."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        """Write to this folder, which is made when needed."""
        self.folder = folder
        self._clock = clock

    def clear(self) -> None:
        """Remove what an earlier run said of its tables, and what one that was killed left: ours are about to come."""
        with Storing("clear", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in _OUTPUTS:
                for left in self.folder.glob(f".{name}*"):
                    left.unlink(missing_ok=True)
            for name in ("manifest.json", "report.html", "matches.parquet", TABLE):
                (self.folder / name).unlink(missing_ok=True)

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a table that is there whole or not at all."""
        staged = self.folder / f".{name}"
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Storing("write", self.folder / name, foreign=True):
                write(staged)
                flush(staged)
                staged.replace(self.folder / name)
        finally:
            staged.unlink(missing_ok=True)

    def seal(  # noqa: PLR0913, PLR0917 - all that a manifest tells
        self,
        asked: Asked,
        reference: Reference,
        read: Read,
        summary: Summary,
        usage: Usage,
        steps: Sequence[Step],
        key: str,
    ) -> None:
        """Write the report, and the manifest of everything there is."""
        manifest = _manifest(asked, read, summary, usage).model_copy(update={"steps": tuple(steps)})
        content = render(self._report(manifest, asked, reference, summary)).encode()
        write_whole(self.folder / "report.html", content)
        manifest = manifest.model_copy(update={"inputs": read.seen, **asked_for(key)})
        with cache_here(self._clock) as cache:
            sealing.seal(manifest, self.folder, ledger=ledger_here(self._clock), cache=cache)

    def _report(
        self, manifest: manifests.Manifest, asked: Asked, reference: Reference, summary: Summary
    ) -> ScoringReport:
        # Outputs carry no times or hosts, so that the same work gives the same bytes.
        told = manifest.model_dump(
            mode="json", include={"recipe", "inputs", "environment", "sluiceway_version", "counts"}
        )
        told["inputs"] = [{name: value for name, value in each.items() if name != "origin"} for each in told["inputs"]]
        # Whether a result was there before does not change it.
        del told["counts"]["n_cached"]
        return ScoringReport(
            title=f"{summary.n_total} scores on the panel {reference.panel.prefix.name}",
            synthetic=asked.synthetic,
            quality=summary.quality,
            distributions=frames.read_parquet(self.folder / "distributions.parquet"),
            matches=self._heaviest_left_out(),
            manifest=told,
            policy=asked.policy.model_dump(),
            panel=_panel(reference),
        )

    def _heaviest_left_out(self) -> pl.DataFrame | None:
        if not (self.folder / "matches.parquet").is_file():
            return None
        rows = frames.scan_parquet(self.folder / "matches.parquet").filter(pl.col("match_status") != "matched")
        # A row without weight is as light as can be, and NaN would come before all others.
        weight = pl.col("effect_weight").fill_nan(None)
        heaviest = rows.filter(weight.is_not_null()).sort(weight.abs(), descending=True).head(_SHOWN)
        return heaviest.select(
            "pgs_id",
            "reason",
            weight.round_sig_figs(4).alias("weight"),
            pl.format("{}:{}", "chr_name", "chr_position").alias("place"),
            pl.concat_str("effect_allele", "other_allele", separator=" / ", ignore_nulls=True).alias("effect / other"),
            pl.format("{} / {}", "ref", "alt").alias("panel's REF / ALT"),
        ).collect()


def _manifest(asked: Asked, read: Read, summary: Summary, usage: Usage) -> manifests.Manifest:
    return manifests.Manifest(
        output_id="reference scores",
        output_type="folder",
        ending=manifests.Ending(status="failed", exit_code=NothingScored.exit_code)
        if summary.is_failure
        else manifests.Ending(status="ok", exit_code=0),
        recipe="score_reference",
        parameters={**asked.policy.model_dump(mode="json"), "asked": asked.choices},
        inputs=read.told,
        environment=manifests.this_software("sluiceway.core.runs.reference_scoring"),
        git=manifests.this_git(),
        host=manifests.this_host(),
        sluiceway_version=manifests.this_version(),
        times=usage.times,
        resources=usage.resources,
        counts=manifests.Counts(
            n_total=summary.n_total,
            n_ok=summary.n_total - summary.n_failed,
            n_failed=summary.n_failed,
            n_cached=summary.n_cached,
            coverage=summary.coverage,
        ),
    )


def _panel(reference: Reference) -> dict[str, Any]:
    return {
        "prefix": reference.panel.prefix.name,
        "digest": reference.panel.digest,
        "build": reference.panel.build,
        "people": reference.panel.samples.n,
        "unrelated": reference.panel.samples.n_unrelated,
        "unrelated by": reference.panel.samples.unrelated_rule,
        "population column": reference.panel.samples.population_column,
        "variants": reference.panel.n_variants,
    }
