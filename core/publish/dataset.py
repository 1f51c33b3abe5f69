"""A data set on its way to being published: its files, what they are made of, and which older files they replace."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.store.durable import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import polars as pl

CARD: Final = "README.md"
"""The page of a data set, as hubs call it."""

_LEVEL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of a data set.

    Attributes:
        write: Writes it to a path.
        source: What it is made of; where the version before made its file of the same, that file is taken.
        volatile: Whether it may differ though nothing has changed, as a time does.
    """

    write: Callable[[Path], object]
    source: str | None = None
    volatile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A data set as it is to be published.

    Attributes:
        pieces: The files, by their paths below the data set.
        replaces: Whether a file of the version before, by its path, is replaced, or gone; others stay.
        facts: What a program has to know of it, by what it is about; those about other things stay.
        card: Writes the data set's page, given all facts.
    """

    dataset: str
    pieces: Mapping[str, Piece]
    replaces: Callable[[str], bool]
    facts: Mapping[str, Mapping[str, Any]]
    card: Callable[[Mapping[str, Any]], str]
    is_partial: bool = False
    told: tuple[str, ...] = field(default=())


def table_piece(table: pl.DataFrame, *, volatile: bool = False) -> Piece:
    """Give a table as a file; the same table always gives the same bytes."""
    write = partial(table.write_parquet, compression="zstd", compression_level=_LEVEL)
    return Piece(write=write, volatile=volatile)


def bytes_piece(content: bytes, *, volatile: bool = False) -> Piece:
    """Give bytes as a file."""
    return Piece(write=lambda path: write_whole(path, content), volatile=volatile)
