"""Keeps environments in a folder that jobs see: the program that runs beside that folder, here or on a login node.

It is read from standard input after tree.py and uses.py, `python3 -I - OPERATION WISH`, needs Python 3.6 and nothing
else, and answers with one line of JSON after `@answer`. In the folder, KEY is an environment's tree, KEY.sealed says
that it is whole, with every file's size and time, and is written last; KEY.claim names who is about to ship it, and
KEY.lock is the kernel's lock of who unpacks it. A tree without its seal, or other than it says, is put aside and
shipped anew.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Set

if __name__ != "__main__":
    from sluiceway.core.environments.tree import (
        Trouble,
        digest_of,
        every_file,
        machines_in,
        protect,
        remove,
        run,
        to_bytes,
        unpack,
        words_of,
        writable,
        write,
    )  # fmt: skip
    from sluiceway.core.environments.uses import names_in, needed_by_others, needed_by_runs

_OVERHEAD, _FULL = 1.05, 1 << 16


class Entry:
    """One environment in the folder."""

    def __init__(self, folder: str, key: str) -> None:
        self.folder, self.key = folder, key
        self.tree = os.path.join(folder, key)
        self.seal = self.tree + ".sealed"
        self.claim = self.tree + ".claim"
        self.lock = self.tree + ".lock"

    def incoming(self, token: str) -> str:
        """Give the place where what is sent arrives."""
        return os.path.join(self.folder, "incoming", token)

    @contextlib.contextmanager
    def locked(self, *, wait: bool) -> Iterator[bool]:
        """Hold the kernel's lock; gives whether it is held. It goes with this process, however that ends."""
        handle = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _flock(handle, wait=wait)
        finally:
            os.close(handle)

    def sealed(self) -> Optional[Dict[str, Any]]:
        """Read the seal; none where there is none that can be read."""
        try:
            with open(self.seal, "rb") as file:
                return dict(json.loads(file.read().decode("ascii")))
        except (OSError, ValueError):
            return None

    def damage(self, sealed: Dict[str, Any], *, contents: bool = False) -> Optional[str]:
        """Say what is wrong with the tree; none where it is as it was sealed. What was added to it does not count."""
        for name, size, when, digest in sealed["files"]:
            place = os.path.join(os.fsencode(self.tree), to_bytes(name))
            try:
                found = os.lstat(place)
            except OSError as error:
                return "%s: %s" % (name, error.strerror)
            if (found.st_size, found.st_mtime_ns) != (size, when):
                return "%s was changed" % name
            if contents and digest and digest_of(place) != digest:
                return "%s has other contents than when it was shipped" % name
        return None

    def put_aside(self, why: str) -> str:
        """Take a tree that nobody may use out of the way, for somebody to look at."""
        aside = os.path.join(self.folder, "damaged", "%s-%d" % (self.key, int(time.time())))
        os.makedirs(aside)
        for place in (self.tree, self.seal):
            with contextlib.suppress(OSError):
                writable(place)
                os.rename(place, os.path.join(aside, os.path.basename(place)))
        with open(os.path.join(aside, "why.txt"), "w") as file:
            file.write(why + "\n")
        return why

    def remove(self) -> None:
        """Remove the tree, the seal first: nobody is to take half of it for whole."""
        with contextlib.suppress(OSError):
            os.unlink(self.seal)
        remove(self.tree)


def claim(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Say that the environment is whole, or that the asker is to ship it, or that somebody else does."""
    entry = Entry(wish["folder"], wish["key"])
    os.makedirs(os.path.join(entry.folder, "incoming"), exist_ok=True)
    with entry.locked(wait=False) as is_mine:
        if not is_mine:
            return {"state": "busy", "by": "another process that unpacks it"}
        sealed = entry.sealed()
        why = None if sealed is None else entry.damage(sealed)
        if sealed is not None and why is None:
            os.utime(entry.seal, None)
            return dict(_told(entry, sealed), state="ready")
        other = _other(entry, wish)
        if other:
            return {"state": "busy", "by": other}
        aside = None
        if sealed is not None or os.path.lexists(entry.tree):
            aside = entry.put_aside(why or "it was left half-made")
        write(entry.claim, json.dumps({"token": wish["token"], "by": wish["by"]}).encode("ascii"))
        return {"state": "yours", "zstd": shutil.which("zstd") is not None, "aside": aside}


def touch(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Say that whoever ships is alive."""
    os.utime(Entry(wish["folder"], wish["key"]).claim, None)
    return {}


def abandon(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Leave it to others; say how much room there is."""
    entry = Entry(wish["folder"], wish["key"])
    _forget(entry, wish["token"])
    return {"free": _free(entry.folder)}


def install(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Make the environment of the archive that has arrived: whole, or not at all."""
    entry = Entry(wish["folder"], wish["key"])
    with entry.locked(wait=True):
        sealed = entry.sealed()
        if sealed is not None and entry.damage(sealed) is None:
            _forget(entry, wish["token"])
            return dict(_told(entry, sealed), state="ready")
        if _claimed(entry).get("token") != wish["token"]:
            return {"state": "lost"}
        try:
            return dict(_told(entry, _installed(entry, wish)), state="ready")
        except (OSError, Trouble) as error:
            entry.remove()
            return {"state": "failed", "why": words_of(error)}
        finally:
            _forget(entry, wish["token"])


def entries(wish: Dict[str, Any]) -> Dict[str, Any]:
    """List what is there; with `check`, read all of it."""
    found = []
    for key in _keys(wish["folder"]):
        entry = Entry(wish["folder"], key)
        sealed = entry.sealed()
        if sealed is None:
            found.append({"key": key, "standing": "being made", "bytes": 0, "used": None, "name": ""})
            continue
        why = entry.damage(sealed, contents=bool(wish.get("check")))
        standing = "ok" if why is None else "damaged: " + why
        found.append(dict(_told(entry, sealed), key=key, standing=standing, used=os.stat(entry.seal).st_mtime))
    return {"entries": found}


def gc(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Remove what is old, then the longest unused until the rest is small enough; never what somebody may need yet."""
    needed = set(_needed(wish))
    now, gone, kept = time.time(), [], {}  # type: float, List[str], Dict[str, str]
    listed = [each for each in entries({"folder": wish["folder"]})["entries"] if each["used"] is not None]
    left = sum(each["bytes"] for each in listed)
    for each in sorted(listed, key=lambda each: float(each["used"])):
        is_old = now - each["used"] > wish["older_seconds"]
        is_much = wish["most_bytes"] is not None and left > wish["most_bytes"]
        if not (is_old or is_much):
            continue
        why = stays(Entry(wish["folder"], each["key"]), needed, each["used"], dry_run=wish["dry_run"])
        if why:
            kept[each["key"]] = why
        else:
            gone.append(each["key"])
            left -= each["bytes"]
    if not wish["dry_run"]:
        _sweep(wish["folder"], now - wish["older_seconds"])
    return {"gone": gone, "kept": kept, "bytes": left}


def _needed(wish: Dict[str, Any]) -> Iterator[str]:
    yield from wish["needed"]
    yield from needed_by_runs(wish["runs"])
    for each in wish["others"]:
        yield from needed_by_others(each, wish["jobs"])


def stays(entry: Entry, needed: Set[str], used: float, *, dry_run: bool) -> str:
    """Remove an environment, or say why it stays."""
    if entry.key in needed:
        return "what has not ended may need it: a run, a session or an engine"
    with entry.locked(wait=False) as is_mine:
        if not is_mine:
            return "it is being made"
        # Whoever is about to use it asks for it before and after saying so.
        if os.stat(entry.seal).st_mtime != used:
            return "somebody has just asked for it"
        if not dry_run:
            entry.remove()
    return ""


def _installed(entry: Entry, wish: Dict[str, Any]) -> Dict[str, Any]:
    archive = entry.incoming(wish["token"])
    if digest_of(os.fsencode(archive)) != wish["digest"]:
        raise Trouble("what arrived is not what was sent")
    if _free(entry.folder) < wish["bytes"] * _OVERHEAD:
        raise OSError(errno.ENOSPC, "it takes %d bytes, and %d are free" % (wish["bytes"], _free(entry.folder)))
    staged = os.path.join(entry.folder, ".%s.%s" % (entry.key, wish["token"]))
    try:
        os.mkdir(staged, 0o755)
        machines = _unpacked(archive, staged, wish)
        # What is left of one that was killed here; who holds the lock may.
        remove(entry.tree)
        os.rename(staged, entry.tree)
    finally:
        remove(staged)
    # In its place: some write down where they lie.
    for argv in wish["steps"]:
        run([each.replace("@tree@", entry.tree) for each in argv], entry.tree)
    if os.path.exists(os.path.join(entry.tree, "bin", "conda-unpack")):
        run([os.path.join(entry.tree, "bin", "conda-unpack")], entry.tree)
    return _sealed(entry, wish, machines)


def _unpacked(archive: str, staged: str, wish: Dict[str, Any]) -> List[str]:
    """Unpack into a folder, and give the architectures of what is in it."""
    try:
        unpack(archive, staged, wish["form"])
    except Trouble as error:
        # tar says so in many ways.
        if _free(staged) < _FULL:
            raise OSError(errno.ENOSPC, str(error)) from error
        raise
    machines = machines_in(staged)
    if wish["machine"] and machines and wish["machine"] not in machines:
        found = ", ".join(machines)
        raise Trouble("it holds programs for %s, and the nodes that were asked for are %s" % (found, wish["machine"]))
    return machines


def _sealed(entry: Entry, wish: Dict[str, Any], machines: List[str]) -> Dict[str, Any]:
    """Write down what is there, last, when all of it is on the disk."""
    files = list(every_file(entry.tree))
    sealed = {"name": wish["name"], "digest": wish["digest"], "machines": machines, "files": files}
    protect(entry.tree)
    with contextlib.suppress(OSError):
        subprocess.call(["sync", "-f", entry.tree], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    write(entry.seal, json.dumps(sealed).encode("ascii"))
    return sealed


def _free(folder: str) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def _sweep(folder: str, before: float) -> None:
    """Remove what nobody has finished, and what was put aside, once it is old."""
    places = [os.path.join(folder, each) for each in names_in(folder) if each.startswith(".")]
    for inner in ("incoming", "damaged"):
        places += [os.path.join(folder, inner, each) for each in names_in(os.path.join(folder, inner))]
    for place in places:
        with contextlib.suppress(OSError):
            if os.lstat(place).st_mtime < before:
                remove(place)


def _keys(folder: str) -> List[str]:
    return sorted({each.partition(".")[0] for each in names_in(folder) if each.endswith((".sealed", ".claim"))})


def _told(entry: Entry, sealed: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "tree": entry.tree,
        "seal": entry.seal,
        "name": sealed["name"],
        "digest": sealed["digest"],
        "machines": sealed["machines"],
        "files": len(sealed["files"]),
        "bytes": sum(each[1] for each in sealed["files"]),
    }


def _other(entry: Entry, wish: Dict[str, Any]) -> Optional[str]:
    """Say who is about to ship it, unless it is the asker, or they have long said nothing."""
    held = _claimed(entry)
    if not held or held["token"] == wish["token"]:
        return None
    # Both times are the file server's, whatever the clocks of machines say.
    os.utime(entry.lock, None)
    silent = os.stat(entry.lock).st_mtime - os.stat(entry.claim).st_mtime
    return None if silent > wish["stale_seconds"] else str(held["by"])


def _claimed(entry: Entry) -> Dict[str, Any]:
    try:
        with open(entry.claim, "rb") as file:
            return dict(json.loads(file.read().decode("ascii")))
    except (OSError, ValueError):
        return {}


def _forget(entry: Entry, token: str) -> None:
    # What a broken connection left of an earlier try lies beside it, under a name that begins with its own.
    for each in names_in(entry.incoming("")):
        if each == token or each.startswith(".%s." % token):
            with contextlib.suppress(OSError):
                os.unlink(entry.incoming(each))
    if _claimed(entry).get("token") == token:
        with contextlib.suppress(OSError):
            os.unlink(entry.claim)


def _flock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        # Some file servers have no locks: then claims alone keep others away, and renames are whole.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def main(words: List[str]) -> int:
    """Do one operation, and answer."""
    wish = json.loads(words[2])
    operations = {"claim": claim, "touch": touch, "abandon": abandon, "install": install, "entries": entries, "gc": gc}
    try:
        answer = operations[words[1]](wish)
    except (OSError, Trouble) as error:
        answer = {"state": "failed", "why": words_of(error)}
    sys.stdout.write("\n@answer %s\n" % json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
