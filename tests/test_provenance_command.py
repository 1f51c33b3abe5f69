"""`sluiceway status`, `verify` and `explain`: answers, exit codes, and a scoring run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Input, Manifest, read
from sluiceway.core.provenance.seal import seal
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.command_line import Run, commands_of
from tests.conftest import User


@pytest.fixture
def run(user: User, capsys: pytest.CaptureFixture[str]) -> Run:
    return commands_of(user, capsys)


@pytest.fixture
def output(run: Run, user: User) -> Path:
    folder = user.folder / "data" / "output" / "one"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("content")
    (user.folder / "raw.txt").write_text("raw")
    inputs = (Input(role="raw", path="../../../../raw.txt", digest=None), Input(role="panel", name="hgdp"))
    manifest = Manifest(output_id="one", ending=Ending(status="ok", exit_code=0), inputs=inputs)
    seal(manifest, folder, ledger=ledger_here(SystemClock()))
    return folder


def test_what_lies_where_results_go_is_looked_at_by_default(run: Run, output: Path) -> None:
    code, said, _ = run("status")
    assert (code, said.splitlines()) == (0, ["ok\tdata/output/one", "1 ok"])
    code, said, _ = run("verify")
    assert (code, said.split(";")[0]) == (0, "1 outputs, 0 findings")


def test_without_any_output_there_is_nothing_to_say(run: Run) -> None:
    assert run("status")[:2] == (0, "no outputs\n")


@pytest.mark.parametrize("depth", [[], ["--fast"], ["--chain"]], ids=str)
def test_a_change_fails_the_verification_and_names_file_expected_and_found(
    run: Run, output: Path, depth: list[str]
) -> None:
    (output / "a.txt").write_text("changed")
    code, said, error = run("verify", *depth, output)
    assert code == 1
    assert said.startswith(f"tampered_data: {str(output / 'a.txt')!r} was changed (expected sha256:")
    assert "found sha256:" in error
    code, said, _ = run("status", output)
    assert (code, said.split("\t")[0]) == (1, "damaged")


def test_programs_get_json(run: Run, output: Path) -> None:
    (output / "a.txt").write_text("changed")
    verdict = json.loads(run("verify", "--json", output)[1])
    assert (verdict["sound"], verdict["depth"], verdict["findings"][0]["flaw"]) == (False, "full", "tampered_data")
    (state,) = json.loads(run("status", "--json", output)[1])
    assert (state["status"], state["output_id"]) == ("damaged", "one")


def test_a_path_where_nothing_is_has_no_manifest(run: Run, user: User) -> None:
    code, said, _ = run("status", "nowhere")
    assert (code, said.split("\t")[0]) == (1, "missing")
    code, said, _ = run("verify", "nowhere")
    assert (code, said.split(":")[0]) == (1, "missing_manifest")


@pytest.mark.parametrize("words", [("status", "--quick", "--full"), ("verify", "--fast", "--chain")])
def test_two_ways_to_look_at_once_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == 2


def test_an_explanation_tells_what_differs_from_another_output(run: Run, output: Path) -> None:
    assert run("explain", output)[:2] == (0, "cannot be seen from here: raw, panel[hgdp]\nnothing differs\n")
    other = output.with_name("two")
    other.mkdir()
    manifest = read(output / "manifest.json").model_copy(update={"parameters": {"missing": "zero"}})
    seal(manifest, other, ledger=ledger_here(SystemClock()))
    code, said, _ = run("explain", output, "--against", other)
    assert (code, said) == (1, "parameters: nothing -> {'missing': 'zero'}\n")
    (reason,) = json.loads(run("explain", "--json", output, "--against", other)[1])["reasons"]
    assert reason == {"field": "parameters", "old": None, "new": {"missing": "zero"}, "file": None}


def test_an_explanation_of_what_has_no_manifest_names_it(run: Run, output: Path) -> None:
    code, _, error = run("explain", output / "a.txt")
    assert (code, "a.txt.manifest.json" in error.replace("\n", "")) == (2, True)


def test_a_scoring_runs_folder_is_sealed_verified_and_damaged_when_a_byte_changes(run: Run, user: User) -> None:
    make_panel(user.folder / "panel", variants=3_000, people=20)
    make_scores(user.folder / "scores", user.folder / "panel")
    out = user.folder / "data" / "output" / "score"
    asked = Asked(panel=user.folder / "panel", scores=(user.folder / "scores",), out=out)
    ReferenceScoring(asked, clock=SystemClock()).run()
    assert run("status") == (0, "ok\tdata/output/score\n1 ok\n", "")
    assert run("verify", "--chain", out)[0] == 0
    with (out / "scores.parquet").open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    code, said, _ = run("verify", "--fast", out)
    assert (code, said.split(" was ")[0]) == (1, f"tampered_data: {str(out / 'scores.parquet')!r}")
    assert run("status", out)[1].startswith("damaged")
