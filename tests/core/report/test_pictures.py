"""Pictures for pages that are not ours: whole in one address, readable on any ground, apart from each other."""

from __future__ import annotations

import base64
import itertools
from xml.etree import ElementTree as ET

import pytest

from sluiceway.core.report.figures import rates_svg
from sluiceway.core.report.pictures import Picture, gallery, image_url

RATES = rates_svg([0.1, 0.9, 1.0], least=0.75)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(url: str) -> ET.Element:
    return ET.fromstring(base64.b64decode(url.removeprefix("data:image/svg+xml;base64,")))  # noqa: S314 - ours


def test_a_picture_in_an_address_has_its_own_ground_and_size() -> None:
    picture = drawn(image_url(RATES))
    assert "background:#fff" in picture.attrib["style"]
    assert (picture.attrib["width"], picture.attrib["height"]) == ("440", "134")


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_pictures_stand_apart_in_their_order(columns: int) -> None:
    pictures = [Picture(name=f"PGS{at}", remark="a & b", svg=RATES) for at in range(5)]
    whole = drawn(image_url(gallery("<five>", pictures, columns=columns)))
    parts = whole.findall(f"{SVG}svg")
    places = [(int(each.attrib["y"]), int(each.attrib["x"])) for each in parts]
    assert places == sorted(places)
    assert len({y for y, _ in places}) == -(-5 // columns)
    for (y, x), (below, right) in itertools.pairwise(places):
        assert right >= x + 440 if y == below else below >= y + 134
    assert int(whole.attrib["width"]) >= max(x for _, x in places) + 440
    assert int(whole.attrib["height"]) >= max(y for y, _ in places) + 134


def test_a_long_remark_is_cut_where_the_next_picture_begins() -> None:
    one = gallery("one", [Picture(name="PGS000001_hmPOS_GRCh38", remark="long " * 40, svg=RATES)])
    told = "".join(ET.fromstring(one).find(f"{SVG}text").itertext())  # type: ignore[union-attr] # noqa: S314
    assert told.endswith("\u2026")
    assert len(told) < 60


def test_no_picture_is_an_empty_gallery() -> None:
    assert gallery("none", []).endswith("<title>none</title></svg>")
