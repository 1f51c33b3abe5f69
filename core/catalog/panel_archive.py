"""Brings a reference panel that the catalogue offers: resumed, checked, unpacked so that nothing leaves its folder.

A panel lies in `<home>/catalog/panels/NAME/` when all of it does; what was unpacked in part goes with the next try. The
archive goes when its files are there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import zstandard

from sluiceway.core.catalog.source import PANELS
from sluiceway.core.errors import PanelUnusable, UpstreamFailed
from sluiceway.core.events import tell
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.samples import LISTS_OF_RELATIVES
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluiceway.core.catalog.arrivals import Seen
    from sluiceway.core.catalog.client import Client
    from sluiceway.core.catalog.refresh import CatalogPlace

log = logging.getLogger(__name__)

SEAL: Final = "panel.json"
_MD5: Final = re.compile(r"\b[0-9a-fA-F]{32}\b")
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelHere:
    """A panel that was brought: its folder, and the archive of which it was made, as its server told of it."""

    name: str
    folder: Path
    url: str
    md5: str
    files: dict[str, int]
    size: int | None = None
    modified: str | None = None

    def prefix(self, build: Build) -> Path:
        """Give what the names of the files of a build begin with; PanelUnusable where there is none, or several."""
        genotypes = [PurePosixPath(each) for each in self.files if each.endswith((".pgen", ".bed"))]
        fitting = [each for each in genotypes if Build.in_name(each.stem) is build] or (
            genotypes if len(genotypes) == 1 and Build.in_name(genotypes[0].stem) is None else []
        )
        if len(fitting) != 1:
            there = ", ".join(each.name for each in genotypes) or "none"
            raise PanelUnusable(path=self.folder, reason=f"it has no one genotype file of {build}; there is {there}")
        return self.folder / fitting[0].with_suffix("")

    def relatives(self, build: Build) -> Path | None:
        """Give the list of relatives that is meant for a build: the one that says it, or the only one for no other."""
        lists = [each for each in self.files if PurePosixPath(each).name.endswith(LISTS_OF_RELATIVES)]
        said = {each: Build.in_name(PurePosixPath(each).name) for each in lists}
        for wanted in (build, None):
            fitting = [each for each in lists if said[each] is wanted]
            if len(fitting) == 1:
                return self.folder / fitting[0]
        return None


async def fetch_panel(
    place: CatalogPlace,
    name: str,
    *,
    url: str | None = None,
    md5: str | None = None,
    asks: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> PanelHere:
    """Bring a panel, unless it is here whole.

    Args:
        place: Where the catalogue is kept.
        name: 1000g, hgdp_1kg, or with an address any other.
        url: Where its archive is, if not where the catalogue has it.
        md5: What the archive's digest must be; by default what stands beside it with `.md5`, where that is there.
        asks: Whether to ask for another version of one that is here, and to bring that.
        progress: Is told of how many bytes, of how many, have arrived and been unpacked.
    """
    if url is None and name not in PANELS:
        raise PanelUnusable(path=place.home, reason=f"the catalogue has no panel {name!r}; it has {', '.join(PANELS)}")
    address = url or place.source.panel(name)
    folder = place.home / "catalog" / "panels" / name
    found = panel_here(folder)
    fits = found is not None and found.url == address and md5 in (None, found.md5)
    if found is not None and fits and (place.offline or not asks or not await _is_revised(place, found)):
        return found
    place.require_online(f"the panel {name}")
    incoming = folder.with_name(f"{name}.incoming")
    with exclusive(incoming, purpose="panel fetch"):
        archive = incoming / "archive.tar.zst"
        seen = await _bring(place, address, archive, md5=md5, progress=progress)
        files = await asyncio.to_thread(_unpack_to, archive, folder, progress)
        here = PanelHere(
            name=name, folder=folder, url=address, md5=seen.md5, files=files, size=seen.size, modified=seen.modified
        )
        _seal(here)
    shutil.rmtree(incoming, ignore_errors=True)
    return here


def panel_here(folder: Path) -> PanelHere | None:
    """Give the panel of a folder, if all its files have the sizes that they had."""
    try:
        content = content_of(folder / SEAL)
        document: dict[str, Any] = {} if content is None else json.loads(content)
        here = PanelHere(**document, folder=folder) if document else None
        whole = here is not None and all((folder / each).stat().st_size == size for each, size in here.files.items())
    except (OSError, ValueError, TypeError):
        return None
    return here if whole else None


def unpack(archive: Path, folder: Path, *, tell: Callable[[int, int], None] = lambda *_: None) -> dict[str, int]:
    """Unpack a .tar.zst into a folder, and give its files with their sizes.

    Only files and folders whose names stay below the folder are taken; anything else, a link too, is PanelUnusable.
    """
    files: dict[str, int] = {}
    with archive.open("rb") as packed:
        size = archive.stat().st_size
        try:
            for member, content in _members(packed, archive):
                if content is None:
                    continue
                target = folder / member
                target.parent.mkdir(parents=True, exist_ok=True)
                with Storing("write", target), target.open("wb") as file:
                    shutil.copyfileobj(content, file, _AT_ONCE)
                files[member] = target.stat().st_size
                tell(packed.tell(), size)
        except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
            raise PanelUnusable(path=archive, reason=f"it cannot be unpacked: {error}") from error
    if not files:
        raise PanelUnusable(path=archive, reason="there is no file in it")
    return files


def _members(packed: Any, archive: Path) -> Iterator[tuple[str, Any]]:
    """Give each file of an archive in its order, with what it holds; refuse what has no business there."""
    plain = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(packed, read_across_frames=True)
    with tarfile.open(fileobj=plain, mode="r|") as members:
        for member in members:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise PanelUnusable(path=archive, reason=f"{member.name!r} in it would lie outside of its folder")
            if not (member.isreg() or member.isdir()):
                raise PanelUnusable(path=archive, reason=f"{member.name!r} in it is neither a file nor a folder")
            yield str(name), members.extractfile(member) if member.isreg() else None


def _unpack_to(archive: Path, folder: Path, progress: Callable[[str, int, int], None]) -> dict[str, int]:
    beside = archive.with_name("unpacked")
    shutil.rmtree(beside, ignore_errors=True)
    with Storing("write", beside):
        beside.mkdir()
    files = unpack(archive, beside, tell=lambda done, of: progress("unpacking", done, of))
    with Storing("write", folder):
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    return files


def _seal(here: PanelHere) -> None:
    document = {name: each for name, each in asdict(here).items() if name != "folder"}
    write_whole(here.folder / SEAL, json.dumps(document).encode())


async def _is_revised(place: CatalogPlace, here: PanelHere) -> bool:
    """Ask whether there is another archive now: by the md5 beside it, else by its length and date."""
    try:
        async with place.client() as client:
            published = await _published_md5(client, here.url)
            answer = None if published is not None else await client.head(here.url)
    except UpstreamFailed as error:
        # What is here is whole, and good enough until somebody can say otherwise.
        tell(log, "panel not asked for", level=logging.WARNING, panel=here.name, reason=str(error))
        return False
    if answer is None:
        return published != here.md5
    if answer.status_code != 200:
        return False
    told = (answer.headers.get("content-length"), answer.headers.get("last-modified"))
    known = (None if here.size is None else str(here.size), here.modified)
    return any(None not in (mine, theirs) and mine != theirs for mine, theirs in zip(known, told, strict=True))


async def _bring(
    place: CatalogPlace, address: str, archive: Path, *, md5: str | None, progress: Callable[[str, int, int], None]
) -> Seen:
    async with place.client() as client:
        told = md5 or await _published_md5(client, address)
        received = await client.download(
            address, archive, md5=told, tell_of=lambda done, of: progress("downloading", done, of or done)
        )
    return received.seen


async def _published_md5(client: Client, address: str) -> str | None:
    """Ask for the md5 beside an archive; none where there is none."""
    try:
        answer = await client.text(f"{address}.md5")
    except UpstreamFailed:
        return None
    found = _MD5.search(answer.text) if answer.status_code == 200 else None
    return None if found is None else found[0].lower()
