"""Functions of a user's own module, for tests that call them somewhere else."""

from __future__ import annotations

import enum
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FACTOR = 3


class Colour(enum.Enum):
    RED = "r"


@dataclass(frozen=True)
class Point:
    x: int
    colour: Colour = Colour.RED


class Odd(Exception):
    """An exception that is what it is here, too."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stubborn(Exception):
    """An exception that cannot be made from its pickle."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def times(number: int, factor: int = FACTOR) -> int:
    return _product(number, factor)


def _product(one: int, two: int) -> int:
    return one * two


def moved(point: Point, by: int) -> Point:
    return Point(point.x + by, point.colour)


async def soon(value: str) -> str:
    return value


def same(value: Any) -> Any:
    return value


def variables(names: list[str]) -> list[bytes]:
    return [os.environb[os.fsencode(each)] for each in names]


def talkative() -> None:
    print("printed")  # noqa: T201
    logging.getLogger("mine").warning("logged")


def odd(number: int) -> int:
    if number % 2:
        raise Odd(number)
    return number


def stubborn() -> None:
    raise Stubborn(1, 2)


def unpicklable() -> Any:
    return threading.Lock()


def leaving() -> None:
    sys.exit(4)


def recursive(number: int) -> int:
    return number * recursive(number - 1) if number else 1


def counted(path: str, number: int) -> int:
    """Leave a line for each call."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    return number * 10


def counted_slowly(path: str, number: int) -> int:
    time.sleep(1)
    return counted(path, number)


def slowly(number: int) -> int:
    time.sleep(8)
    return number


def odd_once(path: str, number: int) -> int:
    """Raise for an odd number the first time."""
    counted(path, number)
    return number if Path(path).read_text().split().count(str(number)) > 1 else odd(number)


def killed_once(path: str, number: int) -> int:
    """Kill the whole process over 2 the first time."""
    counted(path, number)
    if number == 2 and Path(path).read_text().split().count("2") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def together(folder: str, number: int) -> int:
    """Tell how many of these run at this time."""
    mine = Path(folder, f"runs-{number}")
    mine.touch()
    time.sleep(0.3)
    found = len(list(Path(folder).glob("runs-*")))
    mine.unlink()
    return found


def saying(text: str) -> None:
    print(text)  # noqa: T201


def third_waits(path: str, number: int) -> int:
    """Wait over 2 the first time, and say as which job of Slurm."""
    found = counted(path, number)
    if number == 2 and Path(path).read_text().split().count("2") == 1:
        job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format_map(os.environ)
        Path(f"{path}.new").write_text(job)
        Path(f"{path}.new").rename(f"{path}.job")
        time.sleep(100)
    return found
