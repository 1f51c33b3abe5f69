"""A flow runs only with the core that stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.core.checkout import require_one_tree
from sluiceway.core.errors import MixedInstall
from tests.conftest import ROOT


@pytest.mark.parametrize("folder", ["flows", "sluiceway/flows"])
def test_a_flow_beside_its_core_may_run(folder: str) -> None:
    require_one_tree(str(ROOT / folder / "run_script.py"))


def test_a_flow_of_another_clone_is_refused_with_both_trees_named(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    flow = tmp_path / "flows" / "run_script.py"
    with pytest.raises(MixedInstall) as refused:
        require_one_tree(str(flow))
    assert str(flow) in str(refused.value)
    assert str(ROOT / "core") in str(refused.value)
