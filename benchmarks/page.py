"""Pages whose measured blocks are written from what was kept.

A block stands between `<!-- measured: NAME -->` and `<!-- end -->`; what is around the blocks is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS: Final = Path(__file__).parents[1] / "docs"
RESULTS: Final = Path(__file__).with_name("results")
_BLOCK: Final = re.compile(r"(?<=<!-- measured: )([\w ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rewritten(page: str, block: Callable[[str], str]) -> str:
    """Give the page with every measured block written anew, as what its name stands for."""
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2]}\n{block(found[1])}\n\n", page)
