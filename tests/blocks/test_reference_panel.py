"""A reference panel's block opens what its fields name, and refuses what no panel has."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sluiceway.blocks.reference_panel import ReferencePanel
from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import Build
from tests.panels import Row, write_pgen


def test_it_opens_the_panel_as_its_fields_say(tmp_path: Path) -> None:
    row = Row(place="1:5", ref="A", alt="C", calls="0/0 0/1")
    prefix = write_pgen(tmp_path / "toy", "#IID SEX SuperPop Tribe\na 1 EUR x\nb 2 EUR y", [row])
    (tmp_path / "relatives").write_text("b\n")
    block = ReferencePanel(
        prefix=prefix, build=Build.GRCH38, population="Tribe", unrelated=tmp_path / "relatives"
    )  # fmt: skip
    panel = block.open()
    assert panel.build is Build.GRCH38
    assert panel.samples.table.select("population", "unrelated").rows() == [("x", True), ("y", False)]


def test_it_is_the_same_after_it_was_written_as_json() -> None:
    block = ReferencePanel(prefix=Path("/panels/hgdp"), build=Build.GRCH38)
    again = ReferencePanel.model_validate_json(block.model_dump_json(include={"prefix", "build"}))
    assert (again.prefix, again.build) == (block.prefix, block.build)


def test_a_build_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReferencePanel.model_validate({"prefix": "x", "build": "GRCh99"})


def test_a_prefix_without_files_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(PanelUnusable):
        ReferencePanel(prefix=tmp_path / "none").open()
