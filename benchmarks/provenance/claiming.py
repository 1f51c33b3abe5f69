"""How many claims are given away in a second, where several clients want each of them: SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Stopwatch
from benchmarks.provenance.outcome import Claimed
from sluiceway.core.registry.claims import Claims, Held
from sluiceway.core.registry.database import Database
from sluiceway.core.remote.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

SQLITE: Final = "SQLite"
POSTGRESQL: Final = "PostgreSQL"
PROCESSES: Final = 4
ASKERS: Final = 4


async def claimed(url: str, *, clients: int, keys: int) -> Claimed:
    """Let so many clients, in several processes, ask for keys at once, so that each is asked for by ASKERS of them."""
    salt = secrets.token_hex(8)
    async with await Database.opened(url):
        pass
    share = max(1, clients // PROCESSES)
    command = (sys.executable, "-m", __name__, url, salt, str(share), str(keys))
    running = [
        await asyncio.create_subprocess_exec(*command, str(share * number), stdout=-1) for number in range(PROCESSES)
    ]
    said = [(await each.communicate())[0].split() for each in running]
    if any(each.returncode for each in running):
        raise SystemExit("a client failed")
    # The slowest of them was still asking.
    seconds = max(float(each[1]) for each in said)
    return Claimed(clients=clients, keys=keys, seconds=seconds, winners=sum(int(each[0]) for each in said))


async def take_all(url: str, salt: str, clients: int, keys: int, first: int) -> int:
    """Ask with so many clients at once, which are counted from the first on; give how many claims were got."""
    async with await Database.opened(url) as database:
        claims = Claims(database, clock=SystemClock())

        async def client(number: int) -> int:
            kinds = max(1, clients * PROCESSES // ASKERS)
            mine = [key for key in range(keys) if key % kinds == number % kinds]
            taken = [await claims.take(f"{salt}-{key}", owner=f"client {number}") for key in mine]
            return sum(isinstance(each, Held) for each in taken)

        return sum(await asyncio.gather(*map(client, range(first, first + clients))))


@contextlib.contextmanager
def postgresql() -> Iterator[str | None]:
    """Give the URL of a new server of Debian's PostgreSQL in a folder of its own; none where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="sw-pg-"))
    # It refuses to run as root.
    as_user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()
    user = "nobody" if as_user else getpass.getuser()
    if as_user:
        shutil.chown(folder, "nobody", "nogroup")

    def run(program: str, *words: str) -> None:
        command = (*as_user, str(found[-1].with_name(program)), "-D", str(folder / "data"), *words)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    run("initdb", "--auth=trust", f"--username={user}")
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://{user}@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-m", "fast", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Be one of the processes: `python -m benchmarks.provenance.claiming URL SALT CLIENTS KEYS FIRST`."""
    url, salt, *numbers = sys.argv[1:]
    with Stopwatch() as watch:
        got = asyncio.run(take_all(url, salt, *map(int, numbers)))
    print(got, watch.seconds)


if __name__ == "__main__":
    main()
