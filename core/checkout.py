"""Refuses to run a flow of one tree with the core of another: results would name the wrong code."""

from __future__ import annotations

from pathlib import Path

import sluiceway.core
from sluiceway.core.errors import MixedInstall


def require_one_tree(flow_file: str) -> None:
    """Raise MixedInstall when the flow in this file does not stand beside the core that Python imported."""
    flow = Path(flow_file).resolve()
    core = Path(sluiceway.core.__path__[0]).resolve()
    if flow.parents[1] / "core" != core:
        raise MixedInstall(flow=flow, core=core)
