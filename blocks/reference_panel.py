"""The Prefect block of a reference panel: where it is and how to read it, under a name that flows can be given."""

from __future__ import annotations

from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field

from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import Panel, open_panel


class ReferencePanel(Block):
    """A reference panel's files, and what they do not tell of themselves."""

    _block_type_name = "Reference panel"
    _block_type_slug = "reference-panel"

    prefix: Path = Field(description="What the names of its files begin with.")
    build: Build | None = Field(default=None, description="Its build, where its files do not tell it.")
    population: str | None = Field(default=None, description="The column of the sample file to take for population.")
    unrelated: Path | None = Field(default=None, description="A list of the people to leave out as relatives.")

    def open(self) -> Panel:
        """Open the panel, or raise PanelUnusable."""
        return open_panel(self.prefix, build=self.build, population=self.population, unrelated=self.unrelated)
