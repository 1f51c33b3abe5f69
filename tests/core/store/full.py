"""A program that puts objects on a disk that is too small, and prints what came of it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import polars as pl

from sluiceway.core.errors import StorageFailed
from sluiceway.core.store.objects import ObjectStore

SMALL, LARGE, NOTE = (f"sha256:{digits * 32}" for digits in ("aa", "bb", "cc"))
LIMIT = 200_000


def limit(how: str, folder: Path) -> None:
    if how == "a small disk":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LIMIT}", "none", folder], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def write_bytes(path: Path) -> None:
    path.write_bytes(bytes(2 * LIMIT))


def write_table(path: Path) -> None:
    pl.DataFrame({"n": range(LIMIT)}).write_csv(path)


def main(how: str, what: str, folder: Path) -> None:
    limit(how, folder)
    store = ObjectStore(folder)
    store.put(SMALL, lambda path: path.write_bytes(b"small"), facts={})
    facts = {"note": "x" * 2 * LIMIT} if what == "facts" else {}
    write = {"bytes": write_bytes, "table": write_table, "facts": lambda path: path.touch()}[what]
    try:
        store.put(LARGE, write, facts=facts)
        said = "stored"
    except StorageFailed as error:
        said = str(error)
    found = sorted(store.has([SMALL, LARGE]))
    left = [path.name for path in (folder / "incoming").iterdir()]
    store.put(NOTE, lambda path: path.write_bytes(b"room again"), facts={})
    again = (store.read(SMALL) or b"").decode(), (store.read(NOTE) or b"").decode()
    sys.stdout.write(json.dumps({"said": said, "found": found, "left": left, "again": again}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
