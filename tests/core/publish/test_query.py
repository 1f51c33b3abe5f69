"""Questions in SQL: they see a folder's tables, and nothing else on this machine."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.errors import InputMissing, QueryRefused
from sluiceway.core.publish.query import query


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of results, whose name needs quoting, beside a file that is none of its tables."""
    results = tmp_path / "Ada's [first] *results"
    results.mkdir()
    pl.DataFrame({"pgs_id": ["A", "A", "B"], "sum": [1.0, None, 4.0]}).write_parquet(results / "scores.parquet")
    pl.DataFrame({"pgs_id": ["A"], "percentiles": [[0.5, 1.5]]}).write_parquet(results / "distributions.parquet")
    pl.DataFrame({"secret": [1]}).write_parquet(results / ".scores.parquet")
    pl.DataFrame({"secret": [1]}).write_parquet(tmp_path / "other.parquet")
    return results


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT count(*), sum(sum) FROM scores", [(3, 5.0)]),
        ("FROM distributions", [("A", [0.5, 1.5])]),
        ("SELECT s.sum FROM scores s JOIN distributions d USING (pgs_id) ORDER BY 1 NULLS LAST;", [(1.0,), (None,)]),
        ("FROM scores WHERE sum > 100", []),
        ("SHOW TABLES", [("distributions",), ("scores",)]),
    ],
)
def test_each_file_is_a_table(folder: Path, sql: str, answer: list[tuple[object, ...]]) -> None:
    assert query(folder, sql).rows() == answer


def test_columns_can_be_described(folder: Path) -> None:
    assert query(folder, "DESCRIBE scores")["column_name"].to_list() == ["pgs_id", "sum"]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM '{outside}'",
        "FROM read_csv('/etc/passwd')",
        "FROM glob('/*')",
        "COPY scores TO '{inside}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{inside}'",
        "ATTACH '{outside}' AS more",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '900GB'",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW scores",
        "SELECT 1; COPY scores TO '{inside}'",
        "FROM _SETTINGS",
    ],
)
def test_what_is_no_question_about_the_folder_is_refused(folder: Path, sql: str) -> None:
    before = {each: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(QueryRefused):
        query(
            folder,
            sql.format(
                outside=folder.parent / "other.parquet", inside=str(folder / "scores.parquet").replace("'", "''")
            ),
        )
    assert {each: each.read_bytes() for each in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("", "it holds 0 statements"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("FROM nowhere", "nowhere does not exist"),
        ("SELECT missing FROM scores", '"missing" not found'),
        ("SELECT pgs_id::INT FROM scores", "Could not convert string 'A' to INT32"),
    ],
)
def test_an_error_of_sql_is_one_line_that_names_the_tables(folder: Path, sql: str, reason: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        query(folder, sql)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "distributions, scores" in str(refused.value)


def test_a_folder_without_tables_is_an_input_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        query(tmp_path, "SELECT 1")


def test_a_damaged_table_is_told_of(folder: Path) -> None:
    (folder / "quality.parquet").write_bytes(b"PAR1, or so it says")
    with pytest.raises(QueryRefused, match=r"quality\.parquet"):
        query(folder, "FROM quality")
