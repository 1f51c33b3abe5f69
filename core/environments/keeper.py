"""Keeps environments in a folder that jobs see: the program that runs beside that folder, here or on a login node.

It is read from standard input after the files that it is made of, `python3 -I - OPERATION WISH`, needs Python 3.6 and
nothing else, and answers with one line of JSON after `@answer`. A tree without its seal, or other than it says, is put
aside and shipped anew.
"""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional

if __name__ != "__main__":
    from sluiceway.core.environments.entry import Entry
    from sluiceway.core.environments.inventory import entries, gc
    from sluiceway.core.environments.tree import (
        Trouble,
        digest_of,
        every_file,
        machines_in,
        protect,
        remove,
        run,
        unpack,
        words_of,
        write,
    )  # fmt: skip

_OVERHEAD, _FULL = 1.05, 1 << 16


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
            return dict(entry.told(sealed), state="ready")
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
    entry.forget(wish["token"])
    return {"free": _free(entry.folder)}


def install(wish: Dict[str, Any]) -> Dict[str, Any]:
    """Make the environment of the archive that has arrived: whole, or not at all."""
    entry = Entry(wish["folder"], wish["key"])
    with entry.locked(wait=True):
        sealed = entry.sealed()
        if sealed is not None and entry.damage(sealed) is None:
            entry.forget(wish["token"])
            return dict(entry.told(sealed), state="ready")
        if entry.claimed().get("token") != wish["token"]:
            return {"state": "lost"}
        try:
            return dict(entry.told(_installed(entry, wish)), state="ready")
        except (OSError, Trouble) as error:
            entry.remove()
            return {"state": "failed", "why": words_of(error)}
        finally:
            entry.forget(wish["token"])


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


def _other(entry: Entry, wish: Dict[str, Any]) -> Optional[str]:
    """Say who is about to ship it, unless it is the asker, or they have long said nothing."""
    held = entry.claimed()
    if not held or held["token"] == wish["token"]:
        return None
    # Both times are the file server's, whatever the clocks of machines say.
    os.utime(entry.lock, None)
    silent = os.stat(entry.lock).st_mtime - os.stat(entry.claim).st_mtime
    return None if silent > wish["stale_seconds"] else str(held["by"])


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
