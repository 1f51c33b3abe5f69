"""Where an element runs, the panel is compared by its content, and read again only where it may have changed."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import Reference
from sluiceway.core.genetics.score import Batch
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.variants import prepare
from sluiceway.core.provenance.software import Software
from sluiceway.core.runs.score_element import Order
from sluiceway.core.store.record import sealed

NAME = "its name.there"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("here")
    make_panel(folder / "small", variants=400, people=10)
    panel = open_panel(folder / "small")
    return Reference.of(panel, prepare(panel, folder / "tables"))


@pytest.fixture
def order(reference: Reference, tmp_path: Path) -> Order:
    """An order for a place where the panel is called otherwise."""
    for file in reference.panel.prefix.parent.glob("small.*"):
        (tmp_path / file.name.replace("small", NAME)).write_bytes(file.read_bytes())
    batch = Batch(scores=1, samples=10, policy=Policy())
    prefix, known = PurePosixPath(tmp_path / NAME), PurePosixPath(tmp_path / "known")
    return Order.made(reference, batch, key="sha256:ab", prefix=prefix, known=known)


def known(folder: Path) -> list[Path]:
    return list(folder.glob("known/*"))


def wait_a_moment() -> None:
    """Wait so long that another change would show in the files' times."""
    time.sleep(0.3)


def test_an_order_comes_back_from_its_bytes(order: Order) -> None:
    assert Order.of(order.to_bytes()) == order


def test_what_is_known_of_a_panel_is_taken_until_it_looks_otherwise(order: Order, tmp_path: Path) -> None:
    wait_a_moment()
    assert order.problem() is None
    (record,) = known(tmp_path)
    record.write_bytes(sealed({"panel": "sha256:00"}))
    assert "there' there is another one" in str(order.problem())
    record.write_bytes(b"{}")
    assert order.problem() is None
    record.write_bytes(sealed({"panel": "sha256:00"}))
    (tmp_path / f"{NAME}.psam").touch()
    assert order.problem() is None


def test_other_bytes_under_the_same_size_and_times_are_another_panel(order: Order, tmp_path: Path) -> None:
    wait_a_moment()
    assert order.problem() is None
    file = tmp_path / f"{NAME}.psam"
    times, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-2] + b"9\n")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "there' there is another one" in str(order.problem())


def test_a_panel_that_was_changed_just_now_is_not_remembered(order: Order, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.psam").touch()
    assert order.problem() is None
    assert known(tmp_path) == []


def test_other_code_is_named_before_anything_is_unpickled(order: Order) -> None:
    modules = {**order.software.modules, "sluiceway.core.genetics.score": "sha256:00"}
    other = Software(modules=modules, environment=order.software.environment)
    assert "genetics.score differs" in str(replace(order, software=other, pickled=b"no pickle").problem())


def test_a_panel_that_is_not_there_is_a_problem(order: Order, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pgen").unlink()
    assert "the panel cannot be read there: No such file" in str(order.problem())
