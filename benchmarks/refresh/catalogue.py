"""A catalogue of so many invented scores, whose rows are variants of an invented panel."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_rows import Panel
from tests import loopback_content

if TYPE_CHECKING:
    from pathlib import Path

    from tests.loopback_catalog import LoopbackCatalog

_HEADER = "###PGS CATALOG SCORING FILE\n#format_version=2.0\n#pgs_id={}\n#genome_build=GRCh37\n#HmPOS_build=GRCh38\n"


def invented(folder: Path, *, scores: int, variants: int, people: int, rows: int) -> LoopbackCatalog:
    """Make a panel in a folder, and give a catalogue for it; every tenth score has a fifth more rows."""
    make_panel(folder / "panel", variants=variants, people=people)
    catalogue = loopback_content.invented(scores)
    panels = Panel.read(folder / "panel", seed=1).each(scores)
    for number, (pgs_id, panel) in enumerate(zip(sorted(catalogue.scores), panels, strict=True)):
        table = panel.rows(rows if number % 10 else rows * 6 // 5).drop("frequency", "hm_inferOtherAllele")
        text = _HEADER.format(pgs_id) + table.write_csv(separator="\t")
        catalogue.scores[pgs_id].files = {f"{pgs_id}_hmPOS_GRCh38.txt.gz": gzip.compress(text.encode(), 1, mtime=0)}
    return catalogue
