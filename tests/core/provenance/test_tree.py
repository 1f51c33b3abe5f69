"""Digests of trees: equal exactly for equal contents, in the form that is written down, on every machine for ever."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.core.errors import TreeUnreadable
from sluiceway.core.provenance.tree import (
    Kind,
    Looking,
    digest_of_folder,
    digest_of_leaf,
    digest_of_link,
    digest_of_modules,
    digest_of_tree,
    digest_of_value,
    listing,
)


@dataclass(frozen=True)
class File:
    content: bytes = b""
    mode: int = 0


@dataclass(frozen=True)
class Link:
    target: bytes


Tree = File | Link | dict[bytes, "Tree"]


def plant(tree: Tree, path: bytes) -> None:
    """Write a tree to the disk."""
    match tree:
        case File(content, mode):
            Path(os.fsdecode(path)).write_bytes(content)
            os.chmod(path, 0o644 | mode)  # noqa: PTH101 - a name of bytes
        case Link(target):
            os.symlink(target, path)  # noqa: PTH211
        case _:
            os.mkdir(path)  # noqa: PTH102
            for name, inside in tree.items():
                plant(inside, os.path.join(path, name))  # noqa: PTH118


@contextlib.contextmanager
def planted(tree: Tree) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree"
        plant(tree, os.fsencode(path))
        yield path


def digest(tree: Tree) -> str:
    with planted(tree) as path:
        return digest_of_tree(path)


def canonical(tree: Tree) -> list[tuple[bytes, object]]:
    """A tree as a list, by another way than the digest takes."""
    if isinstance(tree, dict):
        inside = [(b"/".join((name, deeper)), what) for name in tree for deeper, what in canonical(tree[name])]
        return sorted([(b"", "folder"), *inside], key=lambda each: each[0])
    return [(b"", tree)]


names = st.binary(min_size=1, max_size=3).filter(lambda name: name not in (b".", b"..") and not set(name) & {0, 47})
targets = st.binary(min_size=1, max_size=4).filter(lambda target: 0 not in target)
files = st.builds(File, st.binary(max_size=4), st.sampled_from([0, 0o100, 0o111]))
trees: st.SearchStrategy[Tree] = st.recursive(
    files | st.builds(Link, targets), lambda inside: st.dictionaries(names, inside, max_size=3), max_leaves=5
)
folders = st.dictionaries(names, trees, max_size=3)


@settings(deadline=None, max_examples=40)
@given(folders, folders)
def test_two_trees_share_a_digest_only_if_their_listings_are_the_same(one: Tree, other: Tree) -> None:
    assert (digest(one) == digest(other)) is (canonical(one) == canonical(other))


BASE: dict[bytes, Tree] = {b"a": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")}
CHANGED: dict[str, Tree] = {
    "a byte": {b"a": File(b"Z"), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")},
    "who may execute": {b"a": File(b"X", 0o100), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")},
    "an empty folder": {b"a": File(b"X"), b"b": {b"c": File(b"Y"), b"d": {}}, b"l": Link(b"a")},
    "an empty file": {b"a": File(b"X"), b"b": {b"c": File(b"Y"), b"d": File()}, b"l": Link(b"a")},
    "where a link points": {b"a": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": Link(b"b")},
    "a file for a link": {b"a": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": File(b"X")},
    "a name": {b"A": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")},
    "a name that is no UTF-8": {b"\xff": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")},
    "another such name": {b"\xfe": File(b"X"), b"b": {b"c": File(b"Y")}, b"l": Link(b"a")},
    "a file moved up": {b"a": File(b"X"), b"b": {}, b"c": File(b"Y"), b"l": Link(b"a")},
    "a file of the same name as others leave out": {**BASE, b"b": {b"c": File(b"Y"), b".snakemake_timestamp": File()}},
    "a nested manifest": {**BASE, b"b": {b"c": File(b"Y"), b"manifest.json": File()}},
}


def test_every_kind_of_change_makes_another_digest() -> None:
    """Red on: core/provenance/tree.py: `_EXECUTABLE: Final = 0o111` -> `_EXECUTABLE: Final = 0`."""
    digests = [digest(tree) for tree in [BASE, *CHANGED.values()]]
    assert len(set(digests)) == len(digests)


def test_two_trees_that_collide_in_a_form_without_lengths_differ() -> None:
    """The first pair that other programs take for one: a file's bytes that read like another file's name."""
    assert digest({b"a.txt": File(b"X\0path:b.txt\0data:Y")}) != digest({b"a.txt": File(b"X"), b"b.txt": File(b"Y")})


GOLDEN: dict[str, tuple[Tree, str]] = {
    "an empty file": (File(), "sha256:a6ae381919144a3f30fbdface70c9fb2f6c5fd3eb861e2b40b56de8b57f8b775"),
    "a file": (File(b"X"), "sha256:be76b5f6b696246218e5a9bad1f89aa1d3df49e6069010de753ffcab350fc821"),
    "a program": (File(b"X", 0o111), "sha256:9060bdfd9b84199f45b2c7e2d3d249a7863bf66f3a65981632ca9d28508f5d93"),
    "an empty folder": ({}, "sha256:bbed8a77aa4702862f0eee4ce555e64cf32b7f54fd79ccb4c7968d5698fd2335"),
    "a tree": (BASE, "sha256:45cf05d451eb1218fe1b4c81001cb68e82c941c8be6590f15491254826f57bc7"),
}


@pytest.mark.parametrize(("tree", "golden"), GOLDEN.values(), ids=GOLDEN)
def test_a_golden_digest_never_changes(tree: Tree, golden: str) -> None:
    assert digest(tree) == golden


def test_golden_digests_of_values_and_modules_never_change() -> None:
    assert digest_of_link(b"a") == "sha256:cdbc482a364d98573532d74dcef361f547b64e67604e9aa7c06142374e02a9a9"
    assert (
        digest_of_value({"a": [1, None]}) == "sha256:6eeee679ff4dc84e9407c7ecc9cb5e0f207d357863c91dfe3febf45c517c2020"
    )
    assert (
        digest_of_modules({"m": "sha256:00"})
        == "sha256:64cec4a872569a390bf0d2c625e307534e27eb8dc8cf495678f8a2cec95b61aa"
    )


def test_a_digest_is_that_of_the_form_that_is_written_down() -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    tag = text(b"sluiceway tree v1")
    file = hashlib.sha256(tag + b"F" + b"\x01" + text(b"Y")).digest()
    link = hashlib.sha256(tag + b"L" + b"../x").digest()
    rows = text(b"f") + b"F" + file + text(b"l") + b"L" + link
    folder = hashlib.sha256(tag + b"D" + struct.pack("<Q", 2) + rows).hexdigest()
    assert digest({b"l": Link(b"../x"), b"f": File(b"Y", 0o001)}) == f"sha256:{folder}"


def test_digests_of_parts_make_up_that_of_the_whole() -> None:
    inner = digest_of_folder({b"c": (Kind.FILE, digest_of_leaf(b"Y"))})
    parts = {
        b"a": (Kind.FILE, digest_of_leaf(b"X")),
        b"b": (Kind.FOLDER, inner),
        b"l": (Kind.LINK, digest_of_link(b"a")),
    }
    assert digest(BASE) == digest_of_folder(parts)


def test_values_and_sets_of_modules_share_no_digest_with_files() -> None:
    assert len({digest_of_value("X"), digest_of_modules({}), digest(File(b"X")), digest(File(b'"X"')), digest({})}) == 5


def test_times_owners_and_place_do_not_count(tmp_path: Path) -> None:
    plant(BASE, os.fsencode(tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    os.utime(tmp_path / "two" / "a", (1, 1))
    (tmp_path / "two" / "a").chmod(0o600)
    assert digest_of_tree(tmp_path / "one") == digest_of_tree(tmp_path / "two")


def test_a_link_at_the_root_is_followed(tmp_path: Path) -> None:
    plant(BASE, os.fsencode(tmp_path / "tree"))
    (tmp_path / "link").symlink_to("tree")
    assert digest_of_tree(tmp_path / "link") == digest_of_tree(tmp_path / "tree")


def test_what_is_left_out_is_left_out_at_the_root_only(tmp_path: Path) -> None:
    looking = Looking(leave_out=frozenset({b"manifest.json"}))
    plant(CHANGED["a nested manifest"], os.fsencode(tmp_path / "tree"))
    nested = digest_of_tree(tmp_path / "tree", looking)
    (tmp_path / "tree" / "manifest.json").touch()
    assert digest_of_tree(tmp_path / "tree", looking) == nested != digest(BASE)


def test_a_listing_has_each_things_digest_and_the_bytes_own(tmp_path: Path) -> None:
    plant(BASE, os.fsencode(tmp_path / "tree"))
    entries = listing(tmp_path / "tree", Looking(plain=True))
    assert [each.name for each in entries] == [b"", b"a", b"b", b"b/c", b"l"]
    assert entries[1].content == f"sha256:{hashlib.sha256(b'X').hexdigest()}"
    assert (entries[0].digest, entries[3].digest) == (digest_of_tree(tmp_path / "tree"), digest_of_leaf(b"Y"))


def test_a_deep_tree_and_a_large_file_have_digests(tmp_path: Path) -> None:
    large = os.urandom(3_000_001)
    tree: Tree = {b"large": File(large)}
    expected = digest_of_folder({b"large": (Kind.FILE, digest_of_leaf(large))})
    for _ in range(900):
        tree, expected = {b"d": tree}, digest_of_folder({b"d": (Kind.FOLDER, expected)})
    assert digest(tree) == expected


def vanish(tmp_path: Path) -> Path:
    return tmp_path / "nothing"


def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def a_socket(tmp_path: Path) -> Path:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as opened, contextlib.chdir(tmp_path):
        opened.bind("socket")
    return tmp_path


@pytest.mark.parametrize(
    ("made", "said"),
    [(vanish, r"nothing.*No such file"), (pipe, "pipe.*neither a file"), (a_socket, "socket.*neither a file")],
)
def test_what_has_no_content_is_named(tmp_path: Path, made: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(TreeUnreadable, match=said):
        digest_of_tree(made(tmp_path))
