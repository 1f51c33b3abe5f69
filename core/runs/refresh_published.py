"""Whether what would be published is published already, so that a refresh that did nothing need not make it again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sluiceway.core.catalog.metadata_folder import metadata_folder, read_metadata
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.software import software_of
from sluiceway.core.publish.catalogue import NAME as CATALOGUE
from sluiceway.core.publish.panel_set import NAME as DISTRIBUTIONS
from sluiceway.core.publish.snapshot import Published, Snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.publish.publication import Publication


def publication_key(wish: Publication, laid_out: Mapping[str, str]) -> str:
    """Name a publication by its contents: the tables, the metadata, what the catalogue has, the rules, our code."""
    metadata = read_metadata(metadata_folder(wish.home))
    software = software_of("sluiceway.core.publish.publication")
    hub = wish.hub
    return content_key(
        "publication",
        inputs={
            **{f"tables:{name}": made_of for name, made_of in laid_out.items()},
            **({} if metadata is None else {f"metadata:{name}": each for name, each in metadata.digests.items()}),
            "release": "none" if wish.release is None else wish.release.digest,
        },
        parameters={
            "name": wish.name,
            "rules": asdict(wish.rules),
            "unscorable": sorted(wish.unscorable),
            "hub": None if hub is None else [hub.endpoint, hub.distributions, hub.catalogue, hub.revision],
        },
        modules=software.modules,
        environment=software.environment,
    )


def standing(wish: Publication) -> list[Published] | None:
    """Give both data sets as they are published; none where a file lacks or has another size than it should."""
    found = []
    for dataset in (DISTRIBUTIONS, CATALOGUE):
        version = Snapshots(wish.folder, dataset).current()
        if version is None or any(_size(version.folder, path) != each.size for path, each in version.files.items()):
            return None
        found.append(
            Published(
                dataset=dataset,
                number=version.number,
                folder=version.folder,
                is_new=False,
                is_partial=version.is_partial,
                changed=(),
            )
        )
    return found


def _size(folder: Path, path: str) -> int | None:
    file = folder / path
    return file.stat().st_size if file.is_file() else None
