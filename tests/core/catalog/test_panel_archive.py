"""A reference panel is brought once, whole, and nothing of it lands outside of its folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from sluiceway.core.catalog.panel_archive import PanelHere, fetch_panel, panel_here, unpack
from sluiceway.core.catalog.refresh import CatalogPlace
from sluiceway.core.errors import CatalogOffline, PanelUnusable, UpstreamFailed
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.synthetic import make_panel
from tests.core.catalog.test_command import Say, say
from tests.loopback_catalog import LoopbackCatalog

__all__ = ["say"]

PATH = "/files/resources/pgsc_1000G_v1.tar.zst"


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return zstandard.compress(plain.getvalue())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("archived")
    make_panel(folder / "GRCh38_TEST_ALL", variants=400, people=20, compress=True)
    files = sorted(folder.iterdir())
    related = "#IID\n" + (folder / "GRCh38_TEST_ALL.psam").read_text().splitlines()[1].split("\t")[0] + "\n"
    lists = [(tarfile.TarInfo(f"deg2_{each}.king.cutoff.out.id"), related.encode()) for each in ("hg38", "phase3")]
    return packed(*((tarfile.TarInfo(file.name), file.read_bytes()) for file in files), *lists)


@pytest.fixture
def served(upstream: LoopbackCatalog, archive: bytes) -> LoopbackCatalog:
    upstream.other_files[PATH] = archive
    return upstream


async def test_a_panel_is_unpacked_and_can_be_opened(served: LoopbackCatalog, kept: CatalogPlace) -> None:
    panel = await fetch_panel(kept, "1000g")
    opened = open_panel(panel.prefix(Build.GRCH38), unrelated=panel.relatives(Build.GRCH38))
    assert (opened.samples.n, opened.samples.n_unrelated, opened.build) == (20, 19, Build.GRCH38)
    assert not list((kept.home / "catalog" / "panels").rglob("*.tar.zst"))


async def test_a_panel_that_is_here_is_not_brought_again(served: LoopbackCatalog, kept: CatalogPlace) -> None:
    first = await fetch_panel(kept, "1000g")
    served.asked.clear()
    assert await fetch_panel(replace(kept, offline=True), "1000g") == first
    assert served.count() == 0


@pytest.mark.parametrize("publishes_md5", [True, False])
async def test_u_another_archive_of_the_same_name_is_brought_where_that_is_asked_for(
    served: LoopbackCatalog, kept: CatalogPlace, archive: bytes, publishes_md5: bool
) -> None:
    """Red on: core/catalog/panel_archive.py: `not asks or` -> `True or`."""
    first = await fetch_panel(kept, "1000g")
    revised = zstandard.compress(zstandard.decompress(archive, max_output_size=1 << 28), 19)
    served.other_files[PATH] = revised
    digest = hashlib.md5(revised, usedforsecurity=False).hexdigest()
    if publishes_md5:
        served.other_files[f"{PATH}.md5"] = f"{digest}  x".encode()
    assert await fetch_panel(kept, "1000g") == first
    assert (await fetch_panel(kept, "1000g", asks=True)).md5 == digest


async def test_the_same_archive_is_asked_for_and_not_sent_again(served: LoopbackCatalog, kept: CatalogPlace) -> None:
    first = await fetch_panel(kept, "1000g")
    served.asked.clear()
    served.change_etags()
    assert await fetch_panel(kept, "1000g", asks=True) == first
    assert [(each.method, each.status) for each in served.asked if each.path == PATH] == [("HEAD", 200)]
    served.answer(PATH, 403)
    assert await fetch_panel(kept, "1000g", asks=True) == first
    del served.other_files[PATH]
    assert await fetch_panel(kept, "1000g", asks=True) == first


async def test_a_panel_that_lost_a_file_is_brought_again(served: LoopbackCatalog, kept: CatalogPlace) -> None:
    panel = await fetch_panel(kept, "1000g")
    (panel.folder / "GRCh38_TEST_ALL.psam").unlink()
    assert panel_here(panel.folder) is None
    assert await fetch_panel(kept, "1000g") == panel


async def test_a_download_that_breaks_goes_on_where_it_was(
    served: LoopbackCatalog, kept: CatalogPlace, archive: bytes
) -> None:
    """Red on: core/catalog/arrivals.py: `os.close(self._handle)` -> `self.drop(); os.close(self._handle)`."""
    served.truncate(PATH, after=1_000)
    served.answer(PATH, 500, times=4)
    with pytest.raises(UpstreamFailed):
        await fetch_panel(kept, "1000g")
    assert panel_here(kept.home / "catalog" / "panels" / "1000g") is None
    await fetch_panel(kept, "1000g")
    assert served.asked[-1].headers["range"] == "bytes=1000-"


async def test_what_was_unpacked_in_part_counts_for_nothing(served: LoopbackCatalog, kept: CatalogPlace) -> None:
    beside = kept.home / "catalog" / "panels" / "1000g.incoming" / "unpacked"
    beside.mkdir(parents=True)
    (beside / "half.pgen").write_bytes(b"half")
    panel = await fetch_panel(kept, "1000g")
    assert "half.pgen" not in panel.files
    assert not beside.parent.exists()


async def test_the_md5_is_that_which_is_published_or_said(
    served: LoopbackCatalog, kept: CatalogPlace, archive: bytes
) -> None:
    """Red on: core/catalog/panel_archive.py: `address, archive, md5=told,` -> `address, archive,`."""
    digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    served.other_files[f"{PATH}.md5"] = f"{'0' * 32}  x".encode()
    with pytest.raises(UpstreamFailed, match=f"its md5 is {digest}, but the catalogue says 0000"):
        await fetch_panel(kept, "1000g")
    assert (await fetch_panel(kept, "1000g", md5=digest)).md5 == digest


def of_kind(name: str, kind: bytes, linked: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linked
    return member


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (tarfile.TarInfo("../outside"), "outside of its folder"),
        (tarfile.TarInfo("/etc/passwd"), "outside of its folder"),
        (tarfile.TarInfo("a/../../outside"), "outside of its folder"),
        (of_kind("link", tarfile.SYMTYPE, "/etc"), "neither a file nor a folder"),
        (of_kind("link", tarfile.LNKTYPE, "../outside"), "neither a file nor a folder"),
        (of_kind("pipe", tarfile.FIFOTYPE), "neither a file nor a folder"),
    ],
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, member: tarfile.TarInfo, said: str) -> None:
    """Red on: core/catalog/panel_archive.py: `or ".." in name.parts` -> `or False`."""
    file, folder = tmp_path / "a.tar.zst", tmp_path / "folder"
    file.write_bytes(packed((member, b"")))
    with pytest.raises(PanelUnusable, match=said):
        unpack(file, folder)
    assert {each.name for each in tmp_path.iterdir()} <= {"a.tar.zst", "folder"}


@pytest.mark.parametrize("spoil", [lambda content: content[:-500], lambda _: b"no archive", lambda _: packed()])
def test_an_archive_that_is_none_or_not_whole_is_refused(
    tmp_path: Path, archive: bytes, spoil: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "a.tar.zst"
    file.write_bytes(spoil(archive))
    with pytest.raises(PanelUnusable):
        unpack(file, tmp_path / "folder")


def here(*files: str) -> PanelHere:
    return PanelHere(name="p", folder=Path("/p"), url="u", md5="m", files=dict.fromkeys(files, 1))


def test_the_files_of_a_build_are_told_by_their_names() -> None:
    both = here("GRCh37_X.pgen", "GRCh38_X.pgen", "deg2_hg38.king.cutoff.out.id", "deg2_phase3.king.cutoff.out.id")
    assert both.prefix(Build.GRCH37) == Path("/p/GRCh37_X")
    assert both.relatives(Build.GRCH38) == Path("/p/deg2_hg38.king.cutoff.out.id")
    assert both.relatives(Build.GRCH37) == Path("/p/deg2_phase3.king.cutoff.out.id")
    assert here("sub/mine.pgen").prefix(Build.GRCH38) == Path("/p/sub/mine")
    with pytest.raises(PanelUnusable, match=r"no one genotype file of GRCh36; there is GRCh37_X\.pgen, GRCh38_X\.pgen"):
        both.prefix(Build.GRCH36)


async def test_a_name_that_is_none_and_being_offline_are_told(kept: CatalogPlace) -> None:
    with pytest.raises(PanelUnusable, match="no panel 'mars'; it has 1000g, hgdp_1kg"):
        await fetch_panel(kept, "mars")
    with pytest.raises(CatalogOffline, match="the panel hgdp_1kg"):
        await fetch_panel(replace(kept, offline=True), "hgdp_1kg")


def test_the_command_brings_prepares_and_tells(say: Say, served: LoopbackCatalog, tmp_path: Path) -> None:
    code, told, remarks = say("panel", "fetch", "1000g", "--json")
    assert code == 0, remarks
    facts = json.loads(told)
    assert (facts["samples"], facts["unrelated"], facts["build"]) == (20, 19, "GRCh38")
    assert facts["prefix"] == str(tmp_path / "home" / "catalog" / "panels" / "1000g" / "GRCh38_TEST_ALL")
    assert list((tmp_path / "cache" / "panels").iterdir())
