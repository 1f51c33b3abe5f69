"""`sluiceway catalog`, and scores that a run has sent because it asks for them by their ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sluiceway import cli
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_content import of_folder

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upstream: LoopbackCatalog
) -> Say:
    """Runs `sluiceway ...` towards the loopback catalogue, and gives exit code, output and remarks."""
    told = {
        "HOME": str(tmp_path / "home"),
        "CACHE_DIR": str(tmp_path / "cache"),
        "CATALOG_API": upstream.source.api,
        "CATALOG_FILES": upstream.source.files,
        "OFFLINE": "0",
    }
    for name, value in told.items():
        monkeypatch.setenv(f"SLUICEWAY_{name}", value)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_refresh_counts_what_has_changed(say: Say, upstream: LoopbackCatalog) -> None:
    code, told, _ = say("catalog", "refresh", "--json")
    facts = json.loads(told)
    assert (code, facts["number"], facts["release"], facts["scores"]) == (0, 1, "2026-11-01", 6)
    assert facts["changes"] == {"added": 6, "withdrawn": 0, "revised": 0, "redated": 0}
    assert {each["code"] for each in facts["findings"]} == {"build_approximated", "or_unparsed"}
    code, told, remarks = say("catalog", "refresh")
    assert (code, "0 added" in told, "or_unparsed" in remarks) == (0, True, True)


def test_diff_lists_it(say: Say, upstream: LoopbackCatalog) -> None:
    say("catalog", "refresh")
    upstream.withdraw("PGS000006")
    say("catalog", "refresh")
    assert "withdrawn\tPGS000006\tit is listed no more" in say("catalog", "diff")[1]
    told = json.loads(say("catalog", "diff", "--json")[1])
    assert (told["old"], told["new"], len(told["changes"])) == (1, 2, 1)


def test_pull_takes_ids_in_every_form_and_fails_where_one_does(
    say: Say, upstream: LoopbackCatalog, tmp_path: Path
) -> None:
    (tmp_path / "ids").write_text("PGS000003 # three\n\npgs000004\n")
    told = json.loads(say("catalog", "pull", "PGS000001,PGS000002", f"@{tmp_path / 'ids'}", "--json")[1])
    assert told == {"brought": 4, "here_before": 0, "failed": 0, "reasons": {}}
    upstream.revise("PGS000005", b"nothing like a score")
    code, told_as_text, _ = say("catalog", "pull", "PGS000005", "PGS000001")
    assert (code, "PGS000005: " in told_as_text) == (1, True)


@pytest.mark.parametrize("arguments", [("pull", "height"), ("show", "PGS000099"), ("pull", "PGS000099")])
def test_what_is_no_score_is_an_error_of_asking(say: Say, arguments: tuple[str, ...]) -> None:
    code, _, remarks = say("catalog", *arguments)
    assert (code, "error:" in remarks) == (2, True)


def test_search_and_show_answer_people_and_programs(say: Say) -> None:
    assert [each["pgs_id"] for each in json.loads(say("catalog", "search", "breast", "--json")[1])] == [
        "PGS000002",
        "PGS000004",
        "PGS000006",
    ]
    assert "6 scores" in say("catalog", "search", "--trait", "EFO_0000001")[2]
    assert json.loads(say("catalog", "show", "pgs000001", "--json")[1])["license"] == "See the terms, of use."
    assert "best performance.or estimate" in say("catalog", "show", "PGS000001")[1]


def test_offline_is_an_error_before_and_an_answer_after(say: Say) -> None:
    code, _, remarks = say("catalog", "search", "height", "--offline")
    assert (code, "this is offline" in remarks) == (2, True)
    say("catalog", "refresh")
    assert len(json.loads(say("catalog", "search", "height", "--offline", "--json")[1])) == 3


def test_a_catalogue_that_is_not_there_is_exit_code_4(say: Say, upstream: LoopbackCatalog) -> None:
    upstream.answer("current", 403)
    assert say("catalog", "refresh")[0] == 4


@pytest.fixture(scope="module")
def invented_panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("panel")
    make_panel(folder / "panel", variants=1_500, people=30)
    make_scores(folder / "scores", folder / "panel")
    return folder


@pytest.mark.slow
def test_a_run_has_the_scores_sent_that_it_asks_for(
    say: Say, upstream: LoopbackCatalog, invented_panel: Path, tmp_path: Path
) -> None:
    upstream.scores.update(of_folder(invented_panel / "scores").scores)
    wanted = ["PGS900001", "PGS900002"]
    common = ("score", "--panel", str(invented_panel / "panel"), "--workers", "1", "--json")
    code, told, remarks = say(*common, "--scores", ",".join(wanted), "--out", str(tmp_path / "sent"))
    assert (code, json.loads(told)["n_ok"]) == (0, 2), remarks
    files = [next((invented_panel / "scores").glob(f"{each}_*")) for each in wanted]
    given = [argument for file in files for argument in ("--scores", str(file))]
    say(*common, *given, "--out", str(tmp_path / "given"))
    sent, own = (pl.read_parquet(tmp_path / each / "scores.parquet") for each in ("sent", "given"))
    assert sent.equals(own)
    inputs = json.loads((tmp_path / "sent" / "manifest.json").read_text())["inputs"]
    assert [each["origin"] for each in inputs if each["role"] == "score"] == [
        upstream.source.scoring_file(each, Build.GRCH38) for each in wanted
    ]
    upstream.asked.clear()
    say(*common, "--scores", ",".join(wanted), "--out", str(tmp_path / "again"))
    assert upstream.count() == 0


def test_a_broken_score_is_a_row_with_its_reason_and_the_others_are_scored(
    say: Say, upstream: LoopbackCatalog, invented_panel: Path, tmp_path: Path
) -> None:
    upstream.scores.update(of_folder(invented_panel / "scores").scores)
    upstream.revise("PGS900002", b"nothing like a score")
    told = json.loads(
        say(
            "score", "--panel", str(invented_panel / "panel"), "--workers", "1", "--json",
            "--scores", "PGS900001,PGS900002", "--out", str(tmp_path / "out"),
        )[1]
    )  # fmt: skip
    assert (told["n_ok"], told["n_failed"]) == (1, 1)
    failed = next(each for each in told["scores"] if each["status"] == "failed")
    assert "the scoring file cannot be used" in failed["reason"]
