"""`sluiceway query`: answers for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sluiceway import cli

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Runs `sluiceway query` on a folder and gives exit code, output and remarks."""
    pl.DataFrame({"n": ["[red]x", None], "q": [[1.0, 2.0], None]}).write_parquet(tmp_path / "scores.parquet")

    def run(sql: str, *options: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["query", sql, str(tmp_path), *options])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_an_answer_is_a_table_json_csv_or_a_file(ask: Ask, tmp_path: Path) -> None:
    answer = tmp_path / "answer.parquet"
    assert "[red]x" in ask("FROM scores")[1]
    assert json.loads(ask("FROM scores", "--json")[1]) == [{"n": "[red]x", "q": [1.0, 2.0]}, {"n": None, "q": None}]
    assert ask("FROM scores", "--csv")[1].splitlines() == ["n,q", '[red]x,"[1.0, 2.0]"', ","]
    assert ask("FROM scores", "--parquet", str(answer))[:2] == (0, "")
    assert pl.read_parquet(answer).height == 2


def test_an_answer_that_cannot_be_written_leaves_nothing(ask: Ask, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    code, told, remarks = ask("FROM scores", "--parquet", str(tmp_path / "no" / "answer.parquet"))
    assert (code, told) == (1, "")
    assert remarks.startswith("error: could not write")
    assert sorted(tmp_path.iterdir()) == before


def test_a_long_answer_says_how_much_is_not_shown(ask: Ask) -> None:
    _, told, remarks = ask("FROM range(250)")
    assert "99" in told
    assert "first 100 of 250 rows" in remarks


def test_an_error_of_sql_is_one_paragraph(ask: Ask) -> None:
    code, told, remarks = ask("FROM nowhere")
    assert (code, told) == (2, "")
    assert remarks.startswith("error: the question about")


def test_two_forms_at_once_are_a_mistake(ask: Ask) -> None:
    assert ask("FROM scores", "--csv", "--json")[0] == 2
