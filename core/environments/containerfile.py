"""What a Containerfile reads from beside it: the files that its image is made of.

It is read as builders read it: lines that go on are joined, comments between them left out, and here-documents are the
texts that they are. A line that says nothing clear is an error; no image is named by a guess.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shlex
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import EnvironmentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEPENDENCIES: Final = (
    "requirements.txt", "requirements.in", "pyproject.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock",
    "setup.py", "setup.cfg", "environment.yml", "environment.yaml", "conda-lock.yml", "pixi.toml", "pixi.lock",
    "renv.lock", "DESCRIPTION", "Cargo.lock", "package-lock.json", ".containerignore", ".dockerignore",
)  # fmt: skip
_GOES_ON = re.compile(r"\\[ \t]*$")
_HERE_DOCUMENT = re.compile(r"""\d*<<(-?)(["']?)([\w.]+)\2""")
_OPTIONS = re.compile(r"(?:--\S+\s+)*")
_MOST_LINKS = 40


class Unreadable(Exception):
    """A line from which nobody can tell what is copied."""


def parts_of(file: Path, *, name: str) -> list[Path]:
    """Give every file, folder and link that a build may see; raise EnvironmentInvalid where that cannot be told."""
    root = file.parent
    parts = {file, *(root / each for each in _DEPENDENCIES if (root / each).is_file())}
    try:
        for source in sources_in(file.read_text("utf-8-sig")):
            parts.update(_found(root, source))
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        raise EnvironmentInvalid(name=name, where=str(file), problems=(str(error),)) from error
    return sorted(parts)


def sources_in(text: str) -> Iterator[str]:
    r"""Name what is copied from beside a Containerfile: not from other images, and not from the network.

    >>> list(sources_in('COPY --chown=1 a \\\n# why\n "b c" /to/\nCOPY --from=base /x /y\nADD ["d", "/e"]'))
    ['a', 'b c', 'd']
    """
    lines = iter(text.split("\n"))
    for line in _joined(lines):
        word, _, rest = line.strip().replace("\t", " ").partition(" ")
        if word.upper() not in {"COPY", "ADD", "RUN"}:
            continue
        try:
            yield from _mounted(rest) if word.upper() == "RUN" else _copied(rest)
        except ValueError as error:
            raise Unreadable(f"{line.strip()!r} cannot be read: {error}") from error
        _skip_here_documents(rest, lines)


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """Give each instruction as one line; comments and empty lines in the midst of one do not end it."""
    whole = ""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        part, goes_on = _GOES_ON.subn("", line)
        whole += part
        if not goes_on:
            yield whole
            whole = ""
    if whole:
        yield whole


def _copied(rest: str) -> Iterator[str]:
    """Name the sources of a COPY or ADD."""
    options = _options(rest)
    if any(each.startswith("--from=") for each in options.split()):
        return
    *sources, _ = _words(rest[len(options) :].strip())
    if not sources:
        raise ValueError("it names no source, or no place to copy to")
    yield from (each for each in sources if "://" not in each and not each.startswith(("<<", "git@")))


def _mounted(rest: str) -> Iterator[str]:
    """Name what a RUN mounts of the folder."""
    for each in _options(rest).split():
        if each.startswith("--mount="):
            pairs = (part.partition("=") for part in each.removeprefix("--mount=").split(","))
            fields = {name: value for name, _, value in pairs}
            if fields.get("type", "bind") == "bind" and not fields.get("from"):
                yield fields.get("source") or fields.get("src") or "."


def _options(rest: str) -> str:
    found = _OPTIONS.match(rest)
    return found[0] if found else ""


def _words(written: str) -> list[str]:
    """Split into words, or read as a list of JSON; what begins as such a list and is none, is words."""
    words: object = None
    if written.startswith("["):
        try:
            words = json.loads(written)
        except ValueError:
            words = None
    if words is None:
        return shlex.split(written) or [""]
    if not isinstance(words, list) or not words or not all(isinstance(each, str) for each in words):
        raise ValueError("it is a list of something else than texts")
    return words


def _skip_here_documents(rest: str, lines: Iterator[str]) -> None:
    """Leave out the texts that follow an instruction: what looks like one in them is none."""
    try:
        words = shlex.split(rest, posix=False)
    except ValueError:
        # A shell's own quoting; builders look for no here-document in what they cannot split.
        return
    for found in filter(None, map(_HERE_DOCUMENT.fullmatch, words)):
        dash, _, end = found.groups()
        if not any((line.lstrip("\t") if dash else line) == end for line in lines):
            raise Unreadable(f"the here-document {end!r} has no end")


def _found(root: Path, source: str) -> Iterator[Path]:
    """Give what a source stands for, with the links on the way to it."""
    # Builders know no folders within folders by two stars: they are as one.
    pattern = re.sub(r"\*+", "*", posixpath.normpath(source.lstrip("/") or "."))
    if pattern.split("/")[0] == "..":
        raise Unreadable(f"it copies {source!r}, which is not beside it")
    try:
        matches = sorted(root.glob(pattern)) if set("*?[") & set(pattern) else [root / pattern]
    except ValueError as error:
        raise Unreadable(f"it copies {source!r}: {error}") from error
    if not any(map(os.path.lexists, matches)):
        raise Unreadable(f"it copies {source!r}, and there is no such file beside it")
    for each in matches:
        *links, place = _way(root, each)
        yield from links
        if place.is_dir():
            yield from _inside(place)
        if place != root:
            yield place


def _inside(folder: Path) -> Iterator[Path]:
    """Give all that is in a folder; links stay links, wherever they lead."""
    for each in folder.rglob("*"):
        if ".git" not in each.relative_to(folder).parts and (each.is_symlink() or each.is_file() or each.is_dir()):
            yield each


def _way(root: Path, asked: Path) -> list[Path]:
    """Follow links as a builder does, which sees nothing above the folder: each link, and last where they lead."""
    links: list[Path] = []
    place, todo = root, list(asked.relative_to(root).parts)
    while todo:
        step = todo.pop(0)
        if step == "..":
            leaves, place = place == root, place.parent
        else:
            place /= step
            leaves = place.is_symlink() and place.readlink().is_absolute()
        if leaves:
            raise Unreadable(f"it copies {str(asked.relative_to(root))!r}, a link that leads out of its folder")
        if place.is_symlink():
            if len(links) == _MOST_LINKS:
                break
            links.append(place)
            todo, place = [*place.readlink().parts, *todo], place.parent
    if not place.exists():
        raise Unreadable(f"it copies {str(asked.relative_to(root))!r}, a link to nothing")
    return [*links, place]
