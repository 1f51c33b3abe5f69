"""The cleaned metadata as a folder of parquet files that are all of one making, or count for nothing."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.store import frames
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

SEAL: Final = "metadata.json"
FORM: Final = 1
"""Goes up when the same sheets are cleaned into other tables: those of an older form are made again."""

_LEVEL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A whole folder of tables: which release they are of, and where they came from."""

    folder: Path
    release: str | None
    origin: str
    digests: dict[str, str]

    def table(self, name: str) -> pl.DataFrame:
        """Read a table."""
        return frames.read_parquet(self.folder / f"{name}.parquet")

    def scan(self, name: str) -> pl.LazyFrame:
        """Give a table to be read in part."""
        return frames.scan_parquet(self.folder / f"{name}.parquet")


def metadata_folder(home: Path) -> Path:
    """Give the folder below a home."""
    return home / "catalog" / "metadata"


def write_metadata(
    folder: Path, tables: Mapping[str, pl.DataFrame], *, release: str | None, sheets: Mapping[str, str]
) -> Metadata:
    """Write all tables, their digests last: until then, what is there counts for nothing."""
    with Storing("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    digests = {name: _write(folder / f"{name}.parquet", table) for name, table in tables.items()}
    document: dict[str, Any] = {
        "release": release, "origin": "upstream", "digests": digests, "sheets": dict(sheets), "form": FORM
    }  # fmt: skip
    write_whole(folder / SEAL, sealed(document))
    return Metadata(folder=folder, release=release, origin="upstream", digests=digests)


def adopt(folder: Path, *, origin: str, release: str | None) -> Metadata | None:
    """Take tables that somebody else has put into a folder as they are, if they can be read; none where they cannot."""
    files = sorted(folder.glob("*.parquet"))
    try:
        for file in files:
            frames.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        tell(log, "metadata unreadable", level=logging.WARNING, folder=str(folder), reason=str(error))
        return None
    if not any(file.name == "scores.parquet" for file in files):
        return None
    digests = {file.stem: digest_of_file(file) for file in files}
    write_whole(
        folder / SEAL, sealed({"release": release, "origin": origin, "digests": digests, "sheets": {}, "form": FORM})
    )
    return Metadata(folder=folder, release=release, origin=origin, digests=digests)


def read_metadata(folder: Path) -> Metadata | None:
    """Give the tables of a folder if they are all as they were written; none, and a word of it, where they are not."""
    try:
        content = content_of(folder / SEAL)
        if content is None:
            return None
        document = unsealed(content, name=SEAL)
        if document.get("form") != FORM:
            return None
        _require_intact(folder, document["digests"])
    except (Damage, OSError) as error:
        tell(log, "metadata damaged", level=logging.WARNING, folder=str(folder), reason=str(error))
        return None
    return Metadata(folder=folder, release=document["release"], origin=document["origin"], digests=document["digests"])


def sheets_of(folder: Path) -> dict[str, str]:
    """Give the md5 of each sheet of which the tables of a folder were made."""
    try:
        content = content_of(folder / SEAL)
        return {} if content is None else dict(unsealed(content, name=SEAL)["sheets"])
    except (Damage, OSError):
        return {}


def _require_intact(folder: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        if digest_of_file(folder / f"{name}.parquet") != digest:
            raise Damage(f"{name}.parquet is not as it was written")


def _write(path: Path, table: pl.DataFrame) -> str:
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd", compression_level=_LEVEL)
    write_whole(path, content.getvalue())
    return digest_of_bytes(content.getvalue())
