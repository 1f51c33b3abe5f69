"""What the catalogue has now: each score with the digest of its file, kept with all that was seen before.

Asking again is cheap for both sides: for what has not changed, the server says only that.
"""

from __future__ import annotations

import asyncio
import csv
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from sluiceway.core.catalog.arrivals import Seen
from sluiceway.core.catalog.source import SHEETS
from sluiceway.core.errors import UpstreamFailed
from sluiceway.core.genetics.build import Build
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.key import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sluiceway.core.catalog.client import Client

_MD5: Final = re.compile(r"\b[0-9a-fA-F]{32}\b")
_PGS_ID: Final = re.compile(r"PGS\d{6,}")
_ASKED_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A score as the catalogue has it: where its file is, and what tells one version of it from another.

    `md5` is none where the catalogue publishes none; then `etag` and `modified` are the file's own, and else those of
    the file in which its md5 stands. `is_there` is false for a score that has no file of that build.
    """

    pgs_id: str
    link: str
    md5: str | None
    etag: str | None
    modified: str | None
    released: str | None
    is_there: bool = True

    def differs_from(self, other: Upstream) -> str | None:
        """Say why this is not the same file as another one; none where it is, as far as can be known."""
        if self.is_there != other.is_there:
            return "its file is there now" if self.is_there else "its file is gone"
        if self.md5 is not None and other.md5 is not None:
            return None if self.md5 == other.md5 else f"md5 {other.md5} became {self.md5}"
        for name in ("etag", "modified", "released"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{name} {theirs} became {mine}"
        return None


@dataclass(frozen=True, kw_only=True)
class Release:
    """Everything that the catalogue has for one build, and the digests of its metadata."""

    date: str | None
    build: Build | None
    scores: Mapping[str, Upstream]
    sheets: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """The digest of all that is told here, save by what the server tells versions of small files apart."""
        document = self.document()
        for each in document["scores"]:
            if each["md5"] is not None:
                del each["etag"], each["modified"]
        return digest_of_bytes(canonical_json(document).encode())

    def document(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "date": self.date,
            "build": self.build,
            "scores": [asdict(self.scores[each]) for each in sorted(self.scores)],
            "sheets": dict(self.sheets),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read what document() gave."""
        return cls(
            date=document["date"],
            build=Build.parse(document["build"]),
            scores={each["pgs_id"]: Upstream(**each) for each in document["scores"]},
            sheets=document["sheets"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a score differs between two releases."""

    pgs_id: str
    kind: Literal["added", "withdrawn", "revised", "redated"]
    why: str


def changes(old: Release | None, new: Release) -> list[Change]:
    """Tell what has changed since an older release: what is new, withdrawn, revised, or the same with another date."""
    before = {} if old is None else old.scores
    found = [Change(pgs_id=each, kind="added", why="it was not listed before") for each in new.scores.keys() - before]
    found += [Change(pgs_id=each, kind="withdrawn", why="it is listed no more") for each in before.keys() - new.scores]
    for pgs_id in before.keys() & new.scores:
        then, now = before[pgs_id], new.scores[pgs_id]
        why = now.differs_from(then)
        if why is not None:
            found.append(Change(pgs_id=pgs_id, kind="revised", why=why))
        elif then.released != now.released:
            said = f"release date {then.released} became {now.released}"
            found.append(Change(pgs_id=pgs_id, kind="redated", why=said))
    return sorted(found, key=lambda change: change.pgs_id)


async def bring_sheets(client: Client, folder: Path) -> dict[str, str]:
    """Bring the bulk metadata to a folder, where it has changed, and give the md5 of each sheet."""
    arriving = (client.download(client.source.sheet(name), sheet_path(folder, name)) for name in SHEETS)
    received = await asyncio.gather(*arriving)
    return {name: each.seen.md5 for name, each in zip(SHEETS, received, strict=True)}


async def read_release(
    client: Client,
    folder: Path,
    *,
    build: Build | None,
    before: Release | None = None,
    tell_of: Callable[[int, int], None] = lambda *_: None,
) -> Release:
    """Ask what the catalogue has now.

    Args:
        client: Asks.
        folder: Where the list and the sheets lie, as they came the last time.
        build: The build of the harmonised files; none for the files as they were submitted.
        before: What was seen the last time: of what has not changed, no more is asked.
        tell_of: Is told of how many scores, of how many, it is known.
    """
    sheets = await bring_sheets(client, folder)
    listed = await client.download(client.source.score_list, folder / "pgs_scores_list.txt")
    ids = _ids(listed.path)
    if not ids:
        Seen.forget(listed.path)
        raise _nothing(client.source.score_list, "it lists no score")
    current = await client.json("release/current") or {}
    dates = _dates(sheet_path(folder, "scores"))
    known = {} if before is None else before.scores
    scores: dict[str, Upstream] = {}
    for first in range(0, len(ids), _ASKED_AT_ONCE):
        part = ids[first : first + _ASKED_AT_ONCE]
        asked = (ask(client, pgs_id, build, before=known.get(pgs_id), released=dates.get(pgs_id)) for pgs_id in part)
        scores.update({each.pgs_id: each for each in await asyncio.gather(*asked)})
        tell_of(len(scores), len(ids))
    return Release(date=current.get("date"), build=build, scores=scores, sheets=sheets)


def sheet_path(folder: Path, name: str) -> Path:
    """Give the place of a sheet of the bulk metadata in a folder."""
    return folder / f"pgs_all_metadata_{name}.csv"


async def ask(
    client: Client,
    pgs_id: str,
    build: Build | None,
    *,
    before: Upstream | None = None,
    released: str | None = None,
) -> Upstream:
    """Ask for the md5 of a score's file, or where there is none for what else tells versions apart."""
    link = client.source.scoring_file(pgs_id, build)
    usable = before if before is not None and before.link == link and before.md5 is not None else None
    asked = {} if usable is None else {"If-None-Match": usable.etag, "If-Modified-Since": usable.modified}
    answer = await client.text(f"{link}.md5", {name: value for name, value in asked.items() if value})
    if answer.status_code == 304 and usable is not None:
        etag, modified, md5 = usable.etag, usable.modified, usable.md5
    elif answer.status_code == 404:
        answer = await client.head(link)
        etag, modified, md5 = answer.headers.get("etag"), answer.headers.get("last-modified"), None
    else:
        found = _MD5.search(answer.text)
        if found is None:
            raise _nothing(f"{link}.md5", f"it holds no md5: {answer.text[:80]!r}")
        etag, modified, md5 = answer.headers.get("etag"), answer.headers.get("last-modified"), found[0].lower()
    is_there = answer.status_code != 404
    return Upstream(
        pgs_id=pgs_id, link=link, md5=md5, etag=etag, modified=modified, released=released, is_there=is_there
    )


def _ids(listed: Path) -> list[str]:
    return list(dict.fromkeys(_PGS_ID.findall(listed.read_text(errors="replace"))))


def _dates(sheet: Path) -> dict[str, str | None]:
    with sheet.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        rows = csv.DictReader(lines)
        return {row.get("Polygenic Score (PGS) ID") or "": row.get("Release Date") or None for row in rows}


def _nothing(url: str, reason: str) -> UpstreamFailed:
    return UpstreamFailed(machine=url.split("/")[2], url=url, tries=1, reason=reason)
