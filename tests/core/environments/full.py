"""A program that ships an environment to a disk that is too small, and prints what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from sluiceway.core.environments.cache import Packed
from sluiceway.core.errors import EnvironmentUnusable
from tests.core.environments.made import Bench


async def ship(folder: Path, kilobytes: int, told: int) -> str:
    (folder / "large").write_bytes(os.urandom(kilobytes * 1000))
    bench = Bench(folder)
    wanted = bench.wanted(folder / "large")

    async def pack(has_zstd: bool) -> Packed:
        return replace(await wanted.pack(has_zstd), unpacked=told * 1000)

    try:
        await bench.cache().provide(replace(wanted, pack=pack))
    except EnvironmentUnusable as error:
        return str(error)
    return "shipped"


def main(folder: Path, kilobytes: int, told: int) -> None:
    small = folder / "environments"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    said = asyncio.run(ship(folder, kilobytes, told))
    left = [each.name for each in small.rglob("*") if each.is_file() and each.suffix != ".lock"]
    sys.stdout.write(json.dumps({"said": said, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
