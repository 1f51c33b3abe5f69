"""Pictures for pages that are not ours: each with a light ground of its own, as one text that holds all of it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_INK: Final = "style='color:#1c2030;background:#fff'"
_SIZE: Final = re.compile(r"viewBox='0 0 (?P<width>\d+) (?P<height>\d+)'")
_CAPTION, _GAP = 22, 14
_NAMES_LETTER, _REMARKS_LETTER = 9.5, 7.5
"""How wide a letter is at most, nearly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture with its name, and a remark that is cut where there is no room."""

    name: str
    remark: str
    svg: str

    @property
    def size(self) -> tuple[int, int]:
        """How wide and how high it is."""
        found = _SIZE.search(self.svg)
        return (int(found["width"]), int(found["height"])) if found else (0, 0)

    def placed(self, left: int, top: int) -> str:
        """Draw it here, below its name."""
        width = self.size[0]
        room = max(int((width - _NAMES_LETTER * len(self.name)) / _REMARKS_LETTER) - 1, 0)
        remark = self.remark if len(self.remark) <= room else f"{self.remark[: max(room - 1, 0)].rstrip()}\u2026"
        return (
            f"<text x='{left}' y='{top + 14}' font-size='14'><tspan font-weight='600'>{escape(self.name)}</tspan>"
            f"<tspan dx='8' font-size='12' opacity='.75'>{escape(remark)}</tspan></text>"
            + _sized(self.svg, f"x='{left}' y='{top + _CAPTION}'")
        )


def image_url(svg: str) -> str:
    """Give a picture as an address that is the picture, on a light ground: the page's colours do not reach it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_sized(svg, _INK).encode()).decode()}"


def gallery(title: str, pictures: Sequence[Picture], *, columns: int = 2) -> str:
    """Put pictures beside and below each other in one.

    >>> one = Picture(name="a", remark="", svg="<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 20'></svg>")
    >>> gallery("Two", [one, one])[:69]
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 122 70' role='im"
    """
    width = max((picture.size[0] for picture in pictures), default=0)
    drawn, top = [], _GAP
    for first in range(0, len(pictures), columns):
        row = pictures[first : first + columns]
        drawn += [picture.placed(_GAP + at * (width + _GAP), top) for at, picture in enumerate(row)]
        top += _CAPTION + max(picture.size[1] for picture in row) + _GAP
    across = min(columns, len(pictures)) * (width + _GAP) + _GAP
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {across} {top}' role='img' fill='currentColor' "
        f"font-family='system-ui,sans-serif'><title>{escape(title)}</title>{''.join(drawn)}</svg>"
    )


def _sized(svg: str, more: str) -> str:
    """Say the picture's own size, so that nothing stretches it, and more about it."""
    found = _SIZE.search(svg)
    size = f"width='{found['width']}' height='{found['height']}' " if found else ""
    return svg.replace("<svg ", f"<svg {size}{more} ", 1)
