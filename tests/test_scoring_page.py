"""The page about scoring names what the code has."""

from __future__ import annotations

from typing import get_args

import polars as pl
import pytest

from sluiceway.core.genetics.distributions import SCHEMA
from sluiceway.core.genetics.match import MATCH_TYPES, Reason
from sluiceway.core.genetics.match_log import COLUMNS as LOGGED
from sluiceway.core.genetics.policy import NAMED, Policy
from sluiceway.core.publish.tables import Named, quality_table, scores_table
from sluiceway.core.runs.plink2 import SCHEMA as COMPARED
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "scoring.md").read_text()
POLICY = PAGE.partition("## Policy")[2].partition("\n## ")[0]
FAILED = [Named(pgs_id="x", trait=None, result=None, failure="broken")]
COLUMNS = [
    *LOGGED,
    *SCHEMA,
    *COMPARED,
    *scores_table([], FAILED, Policy()).columns,
    *quality_table(FAILED, pl.DataFrame(schema=SCHEMA), Policy()).columns,
]


@pytest.mark.parametrize("name", [*NAMED, *MATCH_TYPES, *dict.fromkeys(COLUMNS)])
def test_a_name_stands_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_stands_with_its_status(reason: Reason) -> None:
    assert f"| `{reason.name.lower()}` | {reason.status} |" in PAGE


@pytest.mark.parametrize("name", Policy.model_fields)
def test_a_choice_of_the_policy_stands_with_its_default(name: str) -> None:
    field = Policy.model_fields[name]
    line = next(line for line in POLICY.splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| `{field.default}` |" in line
    assert all(f"`{choice}`" in line for choice in get_args(field.annotation))
