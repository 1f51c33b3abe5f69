"""Functions of a user's own module, for tests that call them somewhere else."""

from __future__ import annotations

import enum
import logging
import os
import sys
import threading
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
