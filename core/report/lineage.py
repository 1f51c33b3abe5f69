"""A lineage for people: a tree of lines, and a picture. Many inputs of one role are told as one line."""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from sluiceway.core.provenance.lineage import Direction, Edge, Lineage, Node, NodeKind
from sluiceway.core.report.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_ALIKE: Final = 6
_SHOWN: Final = 3
_WIDE, _HIGH, _ACROSS, _DOWN, _MARGIN = 216, 46, 292, 62, 20
_TITLE, _LETTERS, _BOW = 23, 30, 56
_FILL: Final = {NodeKind.OUTPUT: COLOURS[3], NodeKind.INPUT: COLOURS[1], NodeKind.ORIGIN: COLOURS[2]}
_MORE: Final = "#808894"
_OLD: Final = COLOURS[0]
_TWICE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One thing next to another: how it was read, or how many more there are of its kind."""

    node: Node | None
    edge: Edge
    more: int = 0


def lines(lineage: Lineage) -> Iterator[str]:
    """Give a tree of lines, the output first; what was told before is named again, but not what is behind it."""
    near, nodes = _near(lineage), {each.id: each for each in lineage.nodes}
    yield _said(nodes[lineage.root])
    told = {lineage.root}

    def below(node: str, before: str) -> Iterator[str]:
        steps = near.get(node, [])
        for number, step in enumerate(steps, 1):
            last = number == len(steps)
            branch, after = ("└─ ", "   ") if last else ("├─ ", "│  ")
            if step.node is None:
                yield f"{before}{branch}{step.edge.role}: and {step.more:,} more"
                continue
            again = " (as above)" if step.node.id in told and near.get(step.node.id) else ""
            changed = " (changed since)" if step.edge.is_current is False else ""
            yield f"{before}{branch}{step.edge.role}: {_said(step.node)}{changed}{again}"
            if step.node.id not in told:
                told.add(step.node.id)
                yield from below(step.node.id, before + after)

    yield from below(lineage.root, "")


def _said(node: Node) -> str:
    place = f" {node.path}" if node.path else ""
    return node.label if node.kind is NodeKind.ORIGIN else f"{node.label} [{node.kind}]{place}"


def _near(lineage: Lineage) -> Mapping[str, list[_Step]]:
    """Give what is next to each node, away from the root; of many ends of one role, only the first few."""
    nodes = {each.id: each for each in lineage.nodes}
    up = lineage.direction is Direction.UP
    found: dict[str, dict[str, list[tuple[Node, Edge]]]] = {}
    for edge in lineage.edges:
        here, there = (edge.target, edge.source) if up else (edge.source, edge.target)
        found.setdefault(here, {}).setdefault(edge.role, []).append((nodes[there], edge))
    return {here: [step for alike in roles.values() for step in _steps(alike)] for here, roles in found.items()}


def _steps(alike: list[tuple[Node, Edge]]) -> Iterator[_Step]:
    shown = alike if len(alike) <= _MOST_ALIKE else alike[:_SHOWN]
    yield from (_Step(node=node, edge=edge) for node, edge in shown)
    if len(shown) < len(alike):
        yield _Step(node=None, edge=alike[0][1], more=len(alike) - len(shown))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of the picture: where it is, its two lines, its colour."""

    left: int
    top: int
    title: str
    remark: str
    colour: str
    is_root: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the picture, from the middle of one box's edge to another's, and whether it is still so."""

    start: tuple[int, int]
    end: tuple[int, int]
    is_old: bool = False

    @property
    def bends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The points that the curve bends to; one that passes a column goes below what stands there."""
        (x1, y1), (x2, y2) = self.start, self.end
        bow = _BOW if x2 - x1 > _ACROSS else 0
        middle = (x1 + x2) // 2
        return ((x1 + 60, y1 + bow), (x2 - 60, y2 + bow)) if bow else ((middle, y1), (middle, y2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Boxes and lines, and how much room they take."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def drawn(lineage: Lineage) -> Drawing:
    """Lay a lineage out: what came first is on the left, and each thing is right of all that it came from."""
    near = _near(lineage)
    depth, order = _depths(lineage, near)
    deepest = max(depth.values())
    up = lineage.direction is Direction.UP
    nodes = {each.id: each for each in lineage.nodes}
    rows: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for id_ in order:
        column = deepest - depth[id_] if up else depth[id_]
        row = rows.get(column, 0)
        rows[column] = row + 1
        boxes[id_] = _box(nodes.get(id_), id_, column, row, is_root=id_ == lineage.root)
    tallest = max(rows.values())
    boxes = {id_: _centred(box, rows[(box.left - _MARGIN) // _ACROSS], tallest) for id_, box in boxes.items()}
    joined = tuple(_lines(near, boxes, up=up))
    lowest = max([0, *(y for each in joined for _, y in each.bends)])
    return Drawing(
        width=2 * _MARGIN + deepest * _ACROSS + _WIDE,
        height=max(2 * _MARGIN + (tallest - 1) * _DOWN + _HIGH, lowest + _MARGIN),
        boxes=tuple(boxes.values()),
        lines=joined,
    )


def _depths(lineage: Lineage, near: Mapping[str, list[_Step]]) -> tuple[dict[str, int], list[str]]:
    """Give how far each thing is from the root at most, and the order in which they are met."""
    depth, waiting = {lineage.root: 0}, [lineage.root]
    while waiting:
        here = waiting.pop(0)
        for step in near.get(here, ()):
            there = _id(here, step)
            # What was made from itself is no lineage that a manifest can tell; it must not go round for ever.
            if depth.get(there, -1) <= depth[here] <= len(lineage.nodes):
                depth[there] = depth[here] + 1
                waiting.append(there)
    order: dict[str, None] = {}
    stack = [lineage.root]
    while stack:
        here = stack.pop()
        if here not in order:
            order[here] = None
            stack += [_id(here, each) for each in reversed(near.get(here, []))]
    return depth, list(order)


def _id(here: str, step: _Step) -> str:
    return step.node.id if step.node is not None else f"{step.more}\n{step.edge.role}\n{here}"


def _box(node: Node | None, id_: str, column: int, row: int, *, is_root: bool) -> Box:
    left, top = _MARGIN + column * _ACROSS, _MARGIN + row * _DOWN
    if node is None:
        more, role, _ = id_.split("\n")
        return Box(left=left, top=top, title=f"{int(more):,} more", remark=f"read as {role}", colour=_MORE)
    remark = {NodeKind.ORIGIN: "address"}.get(node.kind, node.path or str(node.kind))
    tip = " ".join(each for each in (node.label, node.path, node.digest) if each)
    colour = _FILL[node.kind]
    return Box(left=left, top=top, title=node.label, remark=remark, colour=colour, is_root=is_root, tip=tip)


def _centred(box: Box, rows: int, tallest: int) -> Box:
    down = (tallest - rows) * _DOWN // 2
    return Box(
        left=box.left,
        top=box.top + down,
        title=_cut(box.title, _TITLE, from_left=box.remark == "address"),
        remark=_cut(box.remark, _LETTERS, from_left=True),
        colour=box.colour,
        is_root=box.is_root,
        tip=box.tip,
    )


def _cut(text: str, most: int, *, from_left: bool) -> str:
    if len(text) <= most:
        return text
    return f"\u2026{text[1 - most :]}" if from_left else f"{text[: most - 1]}\u2026"


def _lines(near: Mapping[str, list[_Step]], boxes: Mapping[str, Box], *, up: bool) -> Iterator[Line]:
    for here, steps in near.items():
        for step in steps:
            there = _id(here, step)
            if here not in boxes or there not in boxes:
                continue
            source, target = (boxes[there], boxes[here]) if up else (boxes[here], boxes[there])
            yield Line(
                start=(source.left + _WIDE, source.top + _HIGH // 2),
                end=(target.left, target.top + _HIGH // 2),
                is_old=step.edge.is_current is False,
            )


def svg(lineage: Lineage) -> str:
    """Draw a lineage as one text that holds all of it, on a light ground of its own."""
    drawing = drawn(lineage)
    size = f"width='{drawing.width}' height='{drawing.height}' viewBox='0 0 {drawing.width} {drawing.height}'"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' font-family='system-ui,sans-serif' "
        "style='color:#1c2030;background:#fff' fill='currentColor'><title>Lineage</title>"
        "<rect width='100%' height='100%' fill='#fff'/>"
        + "".join(map(_svg_line, drawing.lines))
        + "".join(map(_svg_box, drawing.boxes))
        + "</svg>\n"
    )


def _svg_line(line: Line) -> str:
    (x1, y1), (x2, y2) = line.start, line.end
    (a1, b1), (a2, b2) = line.bends
    colour, dashed = (_OLD, " stroke-dasharray='5 4'") if line.is_old else (_MORE, "")
    return (
        f"<path d='M{x1} {y1}C{a1} {b1} {a2} {b2} {x2 - 5} {y2}' fill='none' stroke='{colour}' "
        f"stroke-width='1.3'{dashed}/><path d='M{x2 - 7} {y2 - 4}L{x2} {y2}L{x2 - 7} {y2 + 4}Z' fill='#808894'/>"
    )


def _svg_box(box: Box) -> str:
    width = 2.5 if box.is_root else 1.2
    return (
        f"<g><title>{escape(box.tip or box.title)}</title><rect x='{box.left}' y='{box.top}' width='{_WIDE}' "
        f"height='{_HIGH}' rx='6' fill='rgb{_pale(box.colour)}' stroke='{box.colour}' "
        f"stroke-width='{width}'/><text x='{box.left + 10}' y='{box.top + 19}' font-size='13' "
        f"font-weight='600'>{escape(box.title)}</text><text x='{box.left + 10}' y='{box.top + 36}' font-size='11' "
        f"opacity='.75'>{escape(box.remark)}</text></g>"
    )


def png(lineage: Lineage) -> bytes:
    """Draw a lineage as the bytes of a PNG file, twice as large as the other picture."""
    # Only pictures need it, and few are asked for.
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    drawing = drawn(lineage)
    image = Image.new("RGB", (_TWICE * drawing.width, _TWICE * drawing.height), "#ffffff")
    pen = ImageDraw.Draw(image)
    title, remark = ImageFont.load_default(_TWICE * 13), ImageFont.load_default(_TWICE * 11)
    for line in drawing.lines:
        points = [(_TWICE * x, _TWICE * y) for x, y in _curve(line)]
        pen.line(points, fill=_OLD if line.is_old else _MORE, width=3)
        x, y = points[-1]
        pen.polygon([(x - 14, y - 8), (x, y), (x - 14, y + 8)], fill=_MORE)
    for box in drawing.boxes:
        left, top = _TWICE * box.left, _TWICE * box.top
        corners = (left, top, left + _TWICE * _WIDE, top + _TWICE * _HIGH)
        width = 5 if box.is_root else 2
        pen.rounded_rectangle(corners, radius=12, fill=_pale(box.colour), outline=box.colour, width=width)
        pen.text((left + 20, top + 12), box.title, font=title, fill="#1c2030")
        pen.text((left + 20, top + 50), box.remark, font=remark, fill="#555a6a")
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _curve(line: Line) -> list[tuple[float, float]]:
    """Give points of the cubic curve that the other picture has."""
    (x1, y1), (x2, y2) = line.start, line.end
    (a1, b1), (a2, b2) = line.bends
    shares = [n / 24 for n in range(25)]
    return [
        (
            (1 - t) ** 3 * x1 + 3 * (1 - t) ** 2 * t * a1 + 3 * (1 - t) * t**2 * a2 + t**3 * x2,
            (1 - t) ** 3 * y1 + 3 * (1 - t) ** 2 * t * b1 + 3 * (1 - t) * t**2 * b2 + t**3 * y2,
        )
        for t in shares
    ]


def _pale(colour: str) -> tuple[int, int, int]:
    """Mix a colour with much white."""
    red, green, blue = (round(255 - 0.12 * (255 - int(colour[n : n + 2], 16))) for n in (1, 3, 5))
    return red, green, blue
