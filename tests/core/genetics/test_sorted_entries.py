"""Entries come out in the order of their keys, whatever the order in which they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sluiceway.core.genetics.sorted_entries import ENTRY, SortedEntries

AT_ONCE = 100
ROWS = 2_345


def keys(order: str) -> np.ndarray:
    drawn = np.random.default_rng(5).integers(1, 900, ROWS).astype(np.uint64)
    return {
        "sorted": np.sort(drawn),
        "backwards": np.sort(drawn)[::-1],
        "shuffled": drawn,
        "in three runs": np.concatenate([np.sort(each) for each in np.array_split(drawn, 3)]),
        "alike": np.full(ROWS, 7, np.uint64),
        "none": drawn[:0],
    }[order]


def added(folder: Path, key: np.ndarray) -> SortedEntries:
    entries = np.zeros(key.size, ENTRY)
    entries["key"], entries["variant"] = key, np.arange(key.size)
    names = pl.DataFrame({"id": [f"v{each}" for each in range(key.size)]}, schema={"id": pl.String})
    kept = SortedEntries(folder, at_once=AT_ONCE)
    for first in range(0, max(key.size, 1), AT_ONCE):
        kept.add(entries[first : first + AT_ONCE], names[first : first + AT_ONCE])
    return kept


@pytest.mark.parametrize("order", ["sorted", "backwards", "shuffled", "in three runs", "alike", "none"])
def test_entries_are_sorted_by_key_and_alike_ones_by_row(tmp_path: Path, order: str) -> None:
    key = keys(order)
    kept = added(tmp_path / "parts", key)
    stretches = list(kept.stretches())
    variant = np.concatenate([each.entries["variant"] for each in stretches])
    assert kept.n == key.size
    assert variant.tolist() == np.argsort(key, kind="stable").tolist()
    assert pl.concat([each.names for each in stretches])["id"].to_list() == [f"v{each}" for each in variant]


@pytest.mark.parametrize("order", ["sorted", "backwards", "shuffled", "in three runs"])
def test_a_stretch_is_about_as_long_as_was_asked_for(tmp_path: Path, order: str) -> None:
    sizes = [each.entries.size for each in added(tmp_path / "parts", keys(order)).stretches()]
    assert max(sizes) < 2 * AT_ONCE
    assert len(sizes) < 2 * ROWS / AT_ONCE


def test_alike_keys_are_never_parted(tmp_path: Path) -> None:
    found = [set(each.entries["key"].tolist()) for each in added(tmp_path / "parts", keys("shuffled")).stretches()]
    assert sum(map(len, found)) == len(set.union(*found))
