"""The main job from end to end, on the synthetic panel."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sluiceway.core.errors import InputMissing, NothingScored, OutputBusy, ScoreNotKept
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import BROKEN, OTHER_BUILD, make_scores
from sluiceway.core.provenance import manifest
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs import reference_scoring
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from sluiceway.core.store.lock import exclusive

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=6_000, people=120)
    make_scores(folder / "scores", folder / "panel")
    return folder


def asked(synthetic: Path, out: Path, **changes: object) -> Asked:
    return Asked(**{"panel": synthetic / "panel", "scores": (synthetic / "scores",), "out": out, **changes})  # type: ignore[arg-type]


def run(wish: Asked) -> Summary:
    return ReferenceScoring(wish, clock=SystemClock()).run()


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in TABLES]


def test_a_second_run_finds_everything_there_and_gives_the_same_bytes(synthetic: Path, place: Path) -> None:
    first = run(asked(synthetic, place / "one"))
    second = run(asked(synthetic, place / "two"))
    assert (first.n_cached, second.n_cached) == (0, second.n_total - second.n_failed)
    assert contents(place / "one") == contents(place / "two")


def test_workers_do_not_change_a_bit(synthetic: Path, place: Path) -> None:
    run(asked(synthetic, place / "one", workers=1))
    run(asked(synthetic, place / "eight", workers=8, use_cache=False))
    assert contents(place / "one") == contents(place / "eight")


def test_broken_files_and_other_builds_are_failures_with_their_reasons(synthetic: Path, place: Path) -> None:
    summary = run(asked(synthetic, place / "out"))
    failed = summary.quality.filter(pl.col("status") == "failed")
    assert failed.height == summary.n_failed == len(BROKEN) + 1
    assert any("on GRCh37, the panel on GRCh38" in reason for reason in failed["reason"])
    assert OTHER_BUILD in failed["pgs_id"].to_list()


def test_a_run_without_any_result_is_a_failure_that_the_folder_explains(synthetic: Path, place: Path) -> None:
    broken = tuple(each for each in (synthetic / "scores").iterdir() if each.name.startswith(BROKEN))
    summary = run(asked(synthetic, place / "out", scores=broken))
    assert (summary.n_failed, summary.n_cached) == (len(BROKEN), 0)
    assert manifest.read(place / "out" / "manifest.json").ending.status == "failed"
    with pytest.raises(NothingScored, match=r"none of 4 scores.*cannot be used.*quality\.parquet"):
        summary.require_some()
    assert pl.read_parquet(place / "out" / "quality.parquet")["reason"].null_count() == 0


def test_a_run_with_some_results_is_none(synthetic: Path, place: Path) -> None:
    run(asked(synthetic, place / "out", limit=len(BROKEN))).require_some()


def test_reasons_add_up_to_the_rows_of_every_score(synthetic: Path, place: Path) -> None:
    quality = run(asked(synthetic, place / "out")).quality.filter(pl.col("status") != "failed")
    reasons = [name for name in quality.columns if name.startswith("rows_")]
    assert (quality.select(pl.sum_horizontal(reasons)).to_series() == quality["rows"]).all()
    assert (quality.select(pl.sum_horizontal("matched", "excluded", "unmatched")).to_series() == quality["rows"]).all()


def test_each_score_has_a_line_for_everybody_and_adds_to_nothing_unknown(synthetic: Path, place: Path) -> None:
    summary = run(asked(synthetic, place / "out"))
    scores = pl.read_parquet(place / "out" / "scores.parquet")
    assert scores.height == 120 * (summary.n_total - summary.n_failed)
    assert scores["sum"].is_finite().all()


@pytest.mark.parametrize("at_once", [1, 7])
def test_tables_written_in_pieces_say_the_same(
    synthetic: Path, place: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    run(asked(synthetic, place / "whole"))
    monkeypatch.setattr(reference_scoring, "_LAID_OUT_AT_ONCE", at_once)
    run(asked(synthetic, place / "pieces"))
    for name in TABLES:
        whole, pieces = (pl.read_parquet(place / out / name) for out in ("whole", "pieces"))
        if name == "distributions.parquet":
            # Scores that depend on sex come last in each piece; and numpy adds up a matrix in an order of its own.
            whole, pieces = (each.sort("pgs_id", "coding", maintain_order=True) for each in (whole, pieces))
            assert_frame_equal(whole, pieces, rel_tol=1e-9, abs_tol=1e-9)
        else:
            assert whole.equals(pieces)


@pytest.mark.parametrize("part", ["payload", "record.json"])
def test_a_damaged_result_is_scored_again(synthetic: Path, place: Path, part: str) -> None:
    """Red on: core/store/objects.py: `if digest != stored.digest` -> `if False`."""
    run(asked(synthetic, place / "one"))
    victim = next((place / "home" / "store").rglob(part))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    summary = run(asked(synthetic, place / "two"))
    assert summary.n_cached == summary.n_total - summary.n_failed - 1
    assert contents(place / "one") == contents(place / "two")


def test_another_policy_scores_anew_and_another_way_to_show_does_not(synthetic: Path, place: Path) -> None:
    run(asked(synthetic, place / "out"))
    assert run(asked(synthetic, place / "out", policy=Policy(missing="skip"))).n_cached == 0
    shown = run(asked(synthetic, place / "out", policy=Policy(male_x=1, min_overlap=0.5)))
    assert shown.n_cached == shown.n_total - shown.n_failed


@pytest.mark.parametrize("match", ["position", "id"])
def test_the_match_log_tells_of_every_row_what_the_counts_tell(synthetic: Path, place: Path, match: str) -> None:
    wish = asked(synthetic, place / "out", match_log=True, policy=Policy.model_validate({"match": match}))
    quality = run(wish).quality.filter(pl.col("status") != "failed")
    log = pl.read_parquet(place / "out" / "matches.parquet")
    counted = log.group_by("pgs_id", "reason").len()
    for name, reason, count in counted.iter_rows():
        assert quality.filter(pl.col("pgs_id") == name)[f"rows_{reason}"].item() == count
    assert log.height == quality["rows"].sum()
    assert log.filter(pl.col("match_status") == "matched", pl.col("effect_type") == "additive")["id"].null_count() == 0


def test_by_id_the_same_numbers_with_another_id_are_another_score(synthetic: Path, place: Path) -> None:
    pvar = pl.read_csv(synthetic / "panel.pvar", separator="\t", comment_prefix="##", infer_schema_length=None)
    rows = pvar.filter(pl.col("REF") == "A", pl.col("ALT") == "G", pl.col("ID").str.starts_with("rs"))
    first, second = rows["ID"][:2]
    found = []
    for name in (first, second, first):
        file = place / "P.txt"
        file.write_text(f"rsID\teffect_allele\tother_allele\teffect_weight\n{name}\tG\tA\t1\n")
        summary = run(asked(synthetic, place / "out", scores=(file,), policy=Policy(match="id", min_overlap=0)))
        found.append((summary.n_cached, (place / "out" / "scores.parquet").read_bytes()))
    assert [cached for cached, _ in found] == [0, 0, 1]
    assert found[0][1] == found[2][1] != found[1][1]


def test_the_manifest_names_every_input_and_output(synthetic: Path, place: Path) -> None:
    summary = run(asked(synthetic, place / "out"))
    sealed = manifest.read(place / "out" / "manifest.json")
    assert {each.name for each in sealed.outputs or ()} == {*TABLES, "report.html"}
    assert len(sealed.inputs or ()) == 3 + summary.n_total
    assert sealed.counts.n_failed == summary.n_failed


def test_a_folder_that_another_run_writes_is_refused(synthetic: Path, place: Path) -> None:
    with exclusive(place / "out", purpose="score"), pytest.raises(OutputBusy):
        run(asked(synthetic, place / "out"))


def test_a_scoring_file_that_is_not_there_is_named(synthetic: Path, place: Path) -> None:
    with pytest.raises(InputMissing, match="absent"):
        run(asked(synthetic, place / "out", scores=(place / "absent.txt",)))


def test_catalogue_ids_are_scored_from_the_files_of_the_home(synthetic: Path, place: Path) -> None:
    kept = place / "home" / "catalog" / "scoring_files"
    kept.mkdir(parents=True)
    for name in ("PGS900001_hmPOS_GRCh38.txt.gz", "PGS900002_hmPOS_GRCh38.txt.gz"):
        (kept / name).write_bytes((synthetic / "scores" / name).read_bytes())
    summary = run(asked(synthetic, place / "out", scores=(Path("PGS900002,PGS900001"),)))
    assert summary.quality["pgs_id"].to_list() == ["PGS900002", "PGS900001"]
    with pytest.raises(ScoreNotKept, match="PGS900003"):
        run(asked(synthetic, place / "none", scores=(Path("PGS900001"), Path("PGS900003"))))
    assert not (place / "none" / "scores.parquet").exists()


def test_the_report_names_the_heaviest_rows_that_were_left_out_with_their_reasons(synthetic: Path, place: Path) -> None:
    run(asked(synthetic, place / "out", match_log=True))
    told = (place / "out" / "report.html").read_text().partition("The heaviest rows that were left out</h3>")[2]
    table = told.partition("</table>")[0]
    assert table.count("<tr>") > 10
    assert "strand cannot be told" in table
    assert "nan" not in table
