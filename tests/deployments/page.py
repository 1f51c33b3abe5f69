"""The page about deploying, and the blocks of it that a test runs."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text()


def block(language: str, part: str) -> str:
    """The only block in that language that has this in it."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (only,) = [each for each in found if part in each]
    return str(only)
