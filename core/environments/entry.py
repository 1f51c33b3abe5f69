"""One environment in the folder that the keeper keeps: what of it lies there, its lock, and who is about to ship it.

In the folder, KEY is an environment's tree, KEY.sealed says that it is whole, with every file's size and time, and is
written last; KEY.claim names who is about to ship it, and KEY.lock is the kernel's lock of who unpacks it. KEY.sif is
what apptainer made of it on a node. It stands before keeper.py in the one text that is sent, so it needs Python 3.6 and
nothing else.
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from typing import Any, Dict, Iterator, Optional

if __name__ != "__main__":
    from sluiceway.core.environments.tree import digest_of, remove, to_bytes, writable
    from sluiceway.core.environments.uses import names_in


class Entry:
    """One environment in the folder."""

    def __init__(self, folder: str, key: str) -> None:
        self.folder, self.key = folder, key
        self.tree = os.path.join(folder, key)
        self.seal = self.tree + ".sealed"
        self.claim = self.tree + ".claim"
        self.lock = self.tree + ".lock"
        self.image = self.tree + ".sif"

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
        return _read(self.seal)

    def used(self) -> Optional[float]:
        """Say when it was last asked for, which its seal keeps; none where there is no seal, or no longer."""
        try:
            return os.stat(self.seal).st_mtime
        except OSError:
            return None

    def claimed(self) -> Dict[str, Any]:
        """Say who is about to ship it; nothing where nobody is."""
        return _read(self.claim) or {}

    def is_claimed(self, *, since: float) -> bool:
        """Whether somebody has said since then that they ship it: they do so again and again."""
        try:
            return os.stat(self.claim).st_mtime > since
        except OSError:
            return False

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

    def told(self, sealed: Dict[str, Any]) -> Dict[str, Any]:
        """Tell of it what its seal says, and how much room all of it takes."""
        size = sum(each[1] for each in sealed["files"])
        with contextlib.suppress(OSError):
            size += os.stat(self.image).st_size
        return {
            "tree": self.tree,
            "seal": self.seal,
            "name": sealed["name"],
            "digest": sealed["digest"],
            "machines": sealed["machines"],
            "files": len(sealed["files"]),
            "bytes": size,
        }

    def put_aside(self, why: str) -> str:
        """Take a tree that nobody may use out of the way, for somebody to look at."""
        aside = os.path.join(self.folder, "damaged", "%s-%d" % (self.key, int(time.time())))
        os.makedirs(aside)
        for place in (self.tree, self.seal, self.image):
            with contextlib.suppress(OSError):
                writable(place)
                os.rename(place, os.path.join(aside, os.path.basename(place)))
        with open(os.path.join(aside, "why.txt"), "w") as file:
            file.write(why + "\n")
        return why

    def remove(self) -> None:
        """Remove all of it, the seal first: nobody is to take half of it for whole."""
        with contextlib.suppress(OSError):
            os.unlink(self.seal)
        remove(self.tree)
        remove(self.image)
        for each in names_in(self.folder):
            if each.startswith(".%s.sif." % self.key):
                remove(os.path.join(self.folder, each))

    def forget(self, token: str) -> None:
        """Remove what somebody sent, and their claim."""
        # What a broken connection left of an earlier try lies beside it, under a name that begins with its own.
        for each in names_in(self.incoming("")):
            if each == token or each.startswith(".%s." % token):
                with contextlib.suppress(OSError):
                    os.unlink(self.incoming(each))
        if self.claimed().get("token") == token:
            with contextlib.suppress(OSError):
                os.unlink(self.claim)


def _read(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            return dict(json.loads(file.read().decode("ascii")))
    except (OSError, ValueError):
        return None


def _flock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        # Some file servers have no locks: then claims alone keep others away, and renames are whole.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True
