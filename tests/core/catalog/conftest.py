"""A loopback catalogue, and a place that keeps what it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluiceway.core.catalog.refresh import CatalogPlace
from sluiceway.core.genetics.build import Build
from sluiceway.core.remote.clock import SystemClock
from tests.loopback_catalog import SWIFT, LoopbackCatalog
from tests.loopback_content import invented


@pytest.fixture
def upstream() -> Iterator[LoopbackCatalog]:
    """An invented catalogue of six scores, served."""
    with invented(6).served() as catalog:
        yield catalog


@pytest.fixture
def kept(upstream: LoopbackCatalog, tmp_path: Path) -> CatalogPlace:
    """An empty place that asks this catalogue."""
    return place_of(upstream, tmp_path)


def place_of(upstream: LoopbackCatalog, folder: Path) -> CatalogPlace:
    return CatalogPlace(
        home=folder / "home",
        cache=folder / "cache",
        source=upstream.source,
        clock=SystemClock(),
        build=Build.GRCH38,
        manners=SWIFT,
    )
