"""A place is told as the kernel would find it, however often and from wherever it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluiceway.core.provenance.places import Places
from sluiceway.core.provenance.verify import place_of_input

PATHS = [
    "a", "a/b", "link", "link/x", "link/../x", "loop", "broken", "broken/x", "a/..", "..", ".", "a/./b", "never/there",
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "here" / "a").mkdir(parents=True)
    here = tmp_path / "here"
    (here / "a" / "b").write_text("b")
    (here / "link").symlink_to("../far/away")
    (here / "loop").symlink_to("loop")
    (here / "broken").symlink_to("nowhere/at/all")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_place_is_what_realpath_says(here: Path, is_absolute: bool) -> None:
    places = Places()
    for path in [*PATHS, *PATHS]:
        asked = here / path if is_absolute else Path(path)
        assert places.of(asked) == os.path.realpath(asked)
    assert (places.of(Path("/")), places.of(Path("/never"))) == ("/", "/never")


@pytest.mark.parametrize("path", ["raw", "../raw", "../../raw", "/raw", "a/../raw"])
def test_an_input_lies_where_its_path_leads_from_the_real_folder(here: Path, path: str) -> None:
    folders = {"a": "a", "link": "../far/away", "a/b": "a"}
    for output, folder in folders.items():
        expected = Path(os.path.normpath((here / folder).resolve() / path))
        assert place_of_input(here / output, path) == expected
    assert place_of_input(Path("/no-such-output"), path) == Path(os.path.normpath(f"/{path}".replace("//", "/")))
