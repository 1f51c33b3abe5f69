"""Verify an export of sluiceway: python3 verify.py [FOLDER or FILE.zip], by default the folder that this file is in.

It needs Python 3.8 and nothing else. It recomputes every digest: of the files that manifests list, of whole outputs,
of the manifests, of the piece of the ledger that they are entered in, and of everything else that export.json names. It
prints what is wrong, and exits with 1 if anything is. Nothing outside of the folder or the archive is read.

The last line names the head of the ledger and the digest of the export: compare them with what the sender says.
"""

import hashlib
import json
import os
import stat
import sys
import zipfile
from functools import partial
from io import BytesIO
from typing import IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

EXPORT, LEDGER, MANIFEST = "export.json", "ledger.jsonl", "manifest.json"
FORM = "sluiceway export v1"
_FIELDS = {"sequence", "previous", "manifest", "data_version"}
_TAG = b"sluiceway tree v1"
_NOT_CONTENT = (b"manifest.json", b".lock")
_EXECUTABLE = 0o111
_BLOCK = 1 << 20
_UNIX = 3


class Thing(NamedTuple):
    """A file, a folder or a link of the export, by its kind F, D or L, and how to open it."""

    kind: str
    mode: int
    size: int
    open: Callable[[], IO[bytes]]


class Export:
    """Everything in a folder or an archive, by its name; nothing is followed."""

    def __init__(self, things: Dict[bytes, Thing]) -> None:
        """Take everything that is there."""
        self.things = things

    @classmethod
    def at(cls, place: str) -> "Export":
        """Look at a folder or an archive."""
        return cls(dict(_in_archive(place) if zipfile.is_zipfile(place) else _in_folder(os.fsencode(place), b"")))

    def content(self, name: str) -> Optional[bytes]:
        """Give a file's bytes; none where there is no such file."""
        thing = self.things.get(name.encode())
        if thing is None or thing.kind != "F":
            return None
        with thing.open() as file:
            return file.read()

    def digest(self, name: bytes) -> str:
        """Give the digest of a file's bytes."""
        digest = hashlib.sha256()
        with self.things[name].open() as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
        return _named(digest)

    def tree(self, name: bytes, leave_out: Tuple[bytes, ...] = ()) -> str:
        """Give the digest of a file, a link, or a folder with all that is in it."""
        thing = self.things[name]
        if thing.kind == "L":
            with thing.open() as link:
                return _named(_hash(b"L", link.read()))
        if thing.kind == "F":
            digest = _hash(b"F", bytes([thing.mode & _EXECUTABLE]) + _number(thing.size))
            with thing.open() as file:
                for block in iter(lambda: file.read(_BLOCK), b""):
                    digest.update(block)
            return _named(digest)
        inside = sorted(self.children(name, leave_out))
        digest = _hash(b"D", _number(len(inside)))
        for own in inside:
            child = name + b"/" + own
            raw = bytes.fromhex(self.tree(child)[len("sha256:") :])
            digest.update(_framed(own) + self.things[child].kind.encode() + raw)
        return _named(digest)

    def children(self, name: bytes, leave_out: Tuple[bytes, ...] = ()) -> List[bytes]:
        """Give the names of what is right below a folder."""
        start = name + b"/"
        rest = (each[len(start) :] for each in self.things if each.startswith(start))
        return [each for each in rest if b"/" not in each and each not in leave_out]


def _in_folder(root: bytes, name: bytes) -> Iterator[Tuple[bytes, Thing]]:
    with os.scandir(os.path.join(root, name) if name else root) as found:
        for each in found:
            inside = name + b"/" + each.name if name else each.name
            status = each.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                yield inside, Thing("L", 0, 0, partial(_link, each.path))
            elif stat.S_ISDIR(status.st_mode):
                yield inside, Thing("D", 0, 0, _nothing)
                yield from _in_folder(root, inside)
            else:
                yield inside, Thing("F", status.st_mode, status.st_size, partial(_open, each.path))


def _in_archive(place: str) -> Iterator[Tuple[bytes, Thing]]:
    archive = zipfile.ZipFile(place)
    for each in archive.infolist():
        name = each.filename.rstrip("/").encode()
        mode = each.external_attr >> 16 if each.create_system == _UNIX else 0o644
        if each.is_dir():
            yield name, Thing("D", 0, 0, _nothing)
        else:
            kind = "L" if stat.S_ISLNK(mode) else "F"
            yield name, Thing(kind, mode, each.file_size, partial(archive.open, each))


def _open(path: bytes) -> IO[bytes]:
    return open(path, "rb")


def _link(path: bytes) -> IO[bytes]:
    return BytesIO(os.readlink(path))


def _nothing() -> IO[bytes]:
    return BytesIO()


def findings(export: Export) -> Iterator[str]:
    """Say everything that is wrong."""
    content = export.content(EXPORT)
    told = None if content is None else _parsed(content)
    if content is None or not isinstance(told, dict) or told.get("form") != FORM:
        yield "%s is not there, or is no %s" % (EXPORT, FORM)
        return
    if _canonical(told) != content or told.get("digest") != _own_digest(told):
        yield "%s was changed" % EXPORT
        return
    known = {EXPORT.encode()}
    for name, expected in sorted(told["files"].items()):
        known.add(name.encode())
        yield from _file(export, name, expected)
    entries = list(_entries(export))
    yield from _chain(entries, told)
    by_manifest = {each[1]["manifest"]: each[1] for each in entries if each[1]}
    for output in told["outputs"]:
        yield from _output(export, output, by_manifest, known)
    yield from _unknown(export, known)


def _file(export: Export, name: str, expected: str) -> Iterator[str]:
    thing = export.things.get(name.encode())
    if thing is None or thing.kind != "F":
        yield "%s is not there" % name
        return
    found = export.digest(name.encode())
    if found != expected:
        yield "%s was changed: expected %s, found %s" % (name, expected, found)


def _entries(export: Export) -> Iterator[Tuple[bytes, Any]]:
    for line in (export.content(LEDGER) or b"").split(b"\n")[:-1]:
        entry = _parsed(line)
        is_whole = isinstance(entry, dict) and set(entry) >= _FIELDS and _canonical(entry) == line
        yield line, entry if is_whole else None


def _chain(entries: List[Tuple[bytes, Any]], told: Dict[str, Any]) -> Iterator[str]:
    for number, (_, entry) in enumerate(entries):
        if entry is None:
            yield "%s: line %d is not as it was written" % (LEDGER, number + 1)
        elif number:
            before, previous = entries[number - 1]
            follows = entry["previous"] == _sha256(before)
            if not follows or (previous and entry["sequence"] != previous["sequence"] + 1):
                yield "%s: line %d does not follow the line before it" % (LEDGER, number + 1)
    head = _sha256(entries[-1][0]) if entries else None
    if head != told["head"]:
        yield "%s ends with %s, expected %s" % (LEDGER, head, told["head"])


def _output(export: Export, output: Dict[str, Any], by_manifest: Dict[str, Any], known: Set[bytes]) -> Iterator[str]:
    name, place = output["name"], output["manifest"]
    content = export.content(place)
    known.add(place.encode())
    if content is None:
        yield "%s is not there" % place
        return
    digest = _sha256(content)
    entry = by_manifest.get(digest)
    if entry is None:
        yield "%s is in no line of the ledger: it was changed, or never sealed (%s)" % (place, digest)
    manifest = _parsed(content)
    if digest != output["digest"] or not isinstance(manifest, dict):
        yield "%s was changed: expected %s, found %s" % (place, output["digest"], digest)
        return
    if entry is not None and entry["data_version"] != manifest["data_version"]:
        yield "%s is of %s, but its line in the ledger of %s" % (place, manifest["data_version"], entry["data_version"])
    yield from _content(export, name, manifest, known)


def _content(export: Export, name: str, manifest: Dict[str, Any], known: Set[bytes]) -> Iterator[str]:
    root = name.encode()
    if root not in export.things:
        yield "%s is not there" % name
        return
    is_folder = export.things[root].kind == "D"
    for each in manifest["outputs"] or ():
        inside = _escaped(export, root).get(each["name"], root + b"/" + each["name"].encode()) if is_folder else root
        known.add(inside)
        yield from _listed(export, inside, each)
    version = manifest["data_version"]
    if version is not None:
        known.update(each for each in export.things if each == root or each.startswith(root + b"/"))
        found = export.tree(root, _NOT_CONTENT if is_folder else ())
        if found != version:
            yield "%s was changed: expected %s, found %s" % (name, version, found)


def _escaped(export: Export, root: bytes) -> Dict[str, bytes]:
    """Give names that are no UTF-8 by the text that a manifest has for them."""
    start = len(root) + 1
    inside = (each for each in export.things if each.startswith(root + b"/"))
    return {each[start:].decode("utf-8", "backslashreplace"): each for each in inside}


def _listed(export: Export, inside: bytes, listed: Dict[str, Any]) -> Iterator[str]:
    thing = export.things.get(inside)
    shown = inside.decode("utf-8", "backslashreplace")
    if thing is None or thing.kind != "F":
        yield "%s is not there" % shown
        return
    found = export.digest(inside)
    if (found, thing.size) != (listed["digest"], listed["size"]):
        yield "%s was changed: expected %s, found %s" % (shown, listed["digest"], found)


def _unknown(export: Export, known: Set[bytes]) -> Iterator[str]:
    for name, thing in sorted(export.things.items()):
        if thing.kind != "D" and name not in known:
            yield "%s belongs to nothing" % name.decode("utf-8", "backslashreplace")


def _own_digest(told: Dict[str, Any]) -> str:
    return _sha256(_canonical({name: value for name, value in told.items() if name != "digest"}))


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError):
        return None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _hash(letter: bytes, content: bytes) -> Any:
    return hashlib.sha256(_framed(_TAG) + letter + content)


def _framed(text: bytes) -> bytes:
    return _number(len(text)) + text


def _number(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _named(digest: Any) -> str:
    return "sha256:%s" % digest.hexdigest()


def main(words: List[str]) -> int:
    """Verify what is named, say what is wrong, and give the exit code."""
    place = words[1] if len(words) > 1 else os.path.dirname(os.path.abspath(__file__))
    export = Export.at(place)
    try:
        wrong = list(findings(export))
    except (KeyError, TypeError, AttributeError, ValueError, OSError, zipfile.BadZipFile) as error:
        wrong = ["it cannot be read: %s: %s" % (type(error).__name__, error)]
    for each in wrong:
        print(each)
    told = _parsed(export.content(EXPORT) or b"") or {}
    if isinstance(told, dict):
        print("%d outputs, %d findings" % (len(told.get("outputs", ())), len(wrong)))
        print("head of the ledger: %s; digest of the export: %s" % (told.get("head"), told.get("digest")))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
