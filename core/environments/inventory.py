"""Says what lies in the folder of environments, and removes of it, and of what lies beside it, what is over and old.

What somebody may be at work on stays: environments that are needed, by what `uses.py` finds; and of what is half-made
all whose key is locked, or whose claim was renewed within a day: a tree has the times of its archive, and may look old.

It stands before keeper.py in the one text that is sent, so it needs Python 3.6 and nothing else.
"""

import contextlib
import os
import re
import time
from typing import Any, Collection, Dict, Iterator, List, Optional, Set

if __name__ != "__main__":
    from sluiceway.core.environments.entry import Entry
    from sluiceway.core.environments.tree import remove
    from sluiceway.core.environments.uses import (
        SILENT_SECONDS,
        is_over,
        last_sign,
        names_in,
        needed_by_others,
        needed_by_runs,
    )  # fmt: skip

HALF_MADE = "left half-made"
"""How an environment is that nobody has finished, and nobody works on."""
_INCOMING, _DAMAGED = "incoming", "damaged"
_KEY = re.compile(r"[\w-]+")
# Whoever ships says so every twenty seconds.
_SILENT_CLAIM = 3600.0


def entries(wish: Dict[str, Any]) -> Dict[str, Any]:
    """List what is there; with `check`, read all of it."""
    found = []
    for key in _keys(wish["folder"]):
        entry = Entry(wish["folder"], key)
        sealed, used = entry.sealed(), entry.used()
        if sealed is None or used is None:
            is_made = entry.is_claimed(since=time.time() - _SILENT_CLAIM)
            standing = "being made" if is_made else HALF_MADE
            found.append({"key": key, "standing": standing, "bytes": 0, "used": None, "name": ""})
            continue
        why = entry.damage(sealed, contents=bool(wish.get("check")))
        standing = "ok" if why is None else "damaged: " + why
        found.append(dict(entry.told(sealed), key=key, standing=standing, used=used))
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
    before, dry_run = now - wish["older_seconds"], wish["dry_run"]
    swept = sorted(_swept(wish["folder"], before, dry_run=dry_run))
    ended = sorted(_ended(wish["others"], wish["jobs"], before, dry_run=dry_run))
    return {"gone": gone, "kept": kept, "bytes": left, "swept": swept + ended}


def stays(entry: Entry, needed: Set[str], used: float, *, dry_run: bool) -> str:
    """Remove an environment, or say why it stays."""
    if entry.key in needed:
        return "what has not ended may need it: a run, a session or an engine"
    with entry.locked(wait=False) as is_mine:
        if not is_mine:
            return "it is being made"
        # Whoever is about to use it asks for it before and after saying so.
        if entry.used() != used:
            return "somebody has just asked for it"
        if not dry_run:
            entry.remove()
    return ""


def _needed(wish: Dict[str, Any]) -> Iterator[str]:
    yield from wish["needed"]
    yield from needed_by_runs(wish["runs"])
    for each in wish["others"]:
        yield from needed_by_others(each, wish["jobs"])


def _keys(folder: str) -> List[str]:
    """Give the keys of all that is, or was to be, an environment."""
    found = {each.partition(".")[0] for each in names_in(folder) if each.endswith((".sealed", ".claim"))}
    found.update(each for each in names_in(folder) if _KEY.fullmatch(each))
    return sorted(found - {_INCOMING, _DAMAGED})


def _swept(folder: str, before: float, *, dry_run: bool) -> Iterator[str]:
    """Remove what nobody will finish, and what was put aside, once it is old; give what went, or would."""
    silent = min(before, time.time() - SILENT_SECONDS)
    for key, places in sorted(_by_key(folder).items()):
        entry = Entry(folder, key)
        with entry.locked(wait=False) as is_mine:
            if not is_mine or entry.is_claimed(since=silent):
                continue
            is_whole = entry.sealed() is not None
            for place in places:
                if not (is_whole and _is_part(entry, place)) and _changed(place) < silent:
                    yield from _removed(place, dry_run=dry_run)
    for place, key in _aside(folder):
        with Entry(folder, key).locked(wait=False) as is_mine:
            if is_mine and _changed(place) < before:
                yield from _removed(place, dry_run=dry_run)
    for each in _unclaimed(folder):
        if _changed(each) < silent:
            yield from _removed(each, dry_run=dry_run)


def _by_key(folder: str) -> Dict[str, List[str]]:
    """Give all that lies in the folder, but for locks, and what arrives, by the keys that it belongs to."""
    found = {}  # type: Dict[str, List[str]]
    for each in names_in(folder):
        key, _, rest = each.lstrip(".").partition(".")
        if _KEY.fullmatch(key) and key not in (_INCOMING, _DAMAGED) and rest != "lock":
            found.setdefault(key, []).append(os.path.join(folder, each))
    for key in found:
        token = Entry(folder, key).claimed().get("token")
        found[key] += [each for each in _arriving(folder) if token and _token(each) == token]
    return found


def _is_part(entry: Entry, place: str) -> bool:
    """Whether something is part of an environment that is whole."""
    name = os.path.basename(place)
    return place in (entry.tree, entry.seal, entry.image) or (name.startswith(".") and name.endswith(".lock"))


def _arriving(folder: str) -> List[str]:
    return [os.path.join(folder, _INCOMING, each) for each in names_in(os.path.join(folder, _INCOMING))]


def _token(place: str) -> str:
    """Give the token of whoever sends something: what a broken connection left has more in its name."""
    return os.path.basename(place).lstrip(".").partition(".")[0]


def _unclaimed(folder: str) -> List[str]:
    """Give what arrived from somebody who has no claim any more."""
    tokens = {Entry(folder, key).claimed().get("token") for key in _keys(folder)}
    return [each for each in _arriving(folder) if _token(each) not in tokens]


def _aside(folder: str) -> Iterator[Any]:
    for each in names_in(os.path.join(folder, _DAMAGED)):
        yield os.path.join(folder, _DAMAGED, each), each.rpartition("-")[0]


def _ended(others: Collection[str], jobs: Optional[Collection[str]], before: float, *, dry_run: bool) -> Iterator[str]:
    """Remove the folders of sessions, engines and the like that are over, once nothing in them is younger."""
    for folder in others:
        for each in names_in(folder):
            place = os.path.join(folder, each)
            if is_over(place, jobs) and last_sign(place) < before:
                yield from _removed(place, dry_run=dry_run)


def _changed(place: str) -> float:
    with contextlib.suppress(OSError):
        return os.lstat(place).st_mtime
    return time.time()


def _removed(place: str, *, dry_run: bool) -> Iterator[str]:
    """Remove something, and name it with the folder that it lies in, unless it is there yet: it may be another's."""
    if not dry_run:
        remove(place)
    if dry_run or not os.path.lexists(place):
        yield os.path.join(os.path.basename(os.path.dirname(place)), os.path.basename(place))
