"""The data set of the catalogue: its cleaned metadata, and the scoring files that are here, as parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.publish.card import catalogue_card
from sluiceway.core.publish.dataset import Draft, table_piece
from sluiceway.core.publish.scoring_files import kept_scores, scoring_path, scoring_piece

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.catalog.metadata_folder import Metadata
    from sluiceway.core.genetics.build import Build

NAME: Final = "pgs-catalog"
_METADATA: Final = "data/metadata/"
_SCORES: Final = "data/scores/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the data set is made of: metadata, the scores below a home for a build, and the flags of every panel.

    `address` is where the files can be had once they are published; none leaves the catalogue's own links alone.
    """

    metadata: Metadata
    home: Path
    build: Build | None
    flags: pl.DataFrame
    address: str | None = None
    scoring_files: bool = True


def catalogue_draft(sources: Sources) -> Draft:
    """Give the data set."""
    paths = _paths(sources)
    tables = {name: sources.metadata.table(name) for name in sources.metadata.digests}
    tables["scores"] = with_links(tables["scores"], paths, sources.address)
    tables["catalog_scoring_flags"] = sources.flags
    pieces = {f"{_METADATA}{name}.parquet": table_piece(table) for name, table in sorted(tables.items())}
    if sources.scoring_files:
        for kept in kept_scores(sources.home, sources.build):
            pieces[scoring_path(kept.pgs_id, sources.build)] = scoring_piece(sources.home, kept)
    facts = {"catalogue": _facts(sources, paths)}
    return Draft(
        dataset=NAME,
        pieces=pieces,
        # Without scoring files in this release, those of the last one stay.
        replaces=lambda path: sources.scoring_files or not path.startswith(_SCORES),
        facts=facts,
        card=catalogue_card,
    )


def with_links(scores: pl.DataFrame, paths: Mapping[str, str], address: str | None) -> pl.DataFrame:
    """Say where each score's parquet is: of the build that is published, whatever the build of its author was.

    A score without a parquet keeps the catalogue's link in both columns, so that no link leads nowhere.
    """
    path = pl.col("pgs_id").replace_strict(dict(paths), default=None, return_dtype=pl.String)
    # Metadata that came from a hub have had their links led there already.
    own = pl.coalesce("ftp_link_ebi", "ftp_link") if "ftp_link_ebi" in scores.columns else pl.col("ftp_link")
    name = path.str.split("/").list.last()
    link = own if address is None else pl.coalesce(pl.lit(f"{address.rstrip('/')}/") + path, own)
    return scores.with_columns(
        link.alias("ftp_link"),
        own.alias("ftp_link_ebi"),
        name.alias("scoring_parquet_filename"),
        path.alias("scoring_parquet_path"),
    )


def _paths(sources: Sources) -> dict[str, str]:
    if not sources.scoring_files:
        return {}
    kept = kept_scores(sources.home, sources.build)
    return {each.pgs_id: scoring_path(each.pgs_id, sources.build) for each in kept}


def _facts(sources: Sources, paths: Mapping[str, str]) -> dict[str, Any]:
    return {
        "release": sources.metadata.release,
        "origin": sources.metadata.origin,
        "build": None if sources.build is None else str(sources.build),
        "scores": sources.metadata.table("scores").height,
        "scoring_files": len(paths),
    }
