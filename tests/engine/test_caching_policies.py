"""Every task of ours says by itself whether Prefect caches it: none is cached by paths and by its own lines alone."""

from __future__ import annotations

import importlib

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

from sluiceway.tasks.caching import ContentPolicy
from tests.conftest import ROOT

MODULES = sorted(each.stem for each in (ROOT / "tasks").glob("*.py") if not each.stem.startswith("__"))
BESIDE = {"jobqueue_side"}


@pytest.mark.parametrize("name", [each for each in MODULES if each not in BESIDE])
def test_a_task_of_ours_has_a_policy_of_ours_or_none(name: str) -> None:
    module = importlib.import_module(f"sluiceway.tasks.{name}")
    tasks = [each for each in vars(module).values() if isinstance(each, Task)]
    assert [
        each.name
        for each in tasks
        if each.cache_policy is not NO_CACHE and not isinstance(each.cache_policy, ContentPolicy)
    ] == []
