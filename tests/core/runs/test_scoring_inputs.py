"""What the main job read stands in its manifest with its place, and its results can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.explain import Now
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.reproduce import Outcome
from sluiceway.core.provenance.status import OutputStatus, Status, status_of
from sluiceway.core.provenance.verify import Depth, verify
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.rerun import Reproducer


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    make_panel(folder / "panel", variants=600, people=30)
    make_scores(folder / "scores", folder / "panel")
    # Some that can be scored, and some that are broken.
    for each in sorted((folder / "scores").iterdir())[3:-2]:
        each.unlink()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLUICEWAY_HOME", str(folder / "home"))
        environment.setenv("SLUICEWAY_CACHE_DIR", str(folder / "cache"))
        score(folder, folder / "out")
    return folder


@pytest.fixture
def scored(place: Path, material: Path) -> Path:
    """Results, with everything that they were made from and with, in a place of this test's own."""
    shutil.copytree(material, place, dirs_exist_ok=True)
    return place / "out"


def score(place: Path, out: Path, **changes: object) -> Path:
    asked = Asked(**{"panel": place / "panel", "scores": (place / "scores",), "out": out, **changes})  # type: ignore[arg-type]
    ReferenceScoring(asked, clock=SystemClock()).run()
    return out


def state(output: Path) -> OutputStatus:
    return status_of(output, history=ledger_here(SystemClock()).history(), now=Now())


def test_every_file_that_was_read_is_seen(scored: Path, place: Path) -> None:
    sealed = manifests.read(manifests.path_of(scored))
    inputs = {each.role: each for each in sealed.inputs or ()}
    assert [each.path for each in sealed.inputs or () if each.role == "panel"] == [
        "../panel.pgen",
        "../panel.pvar",
        "../panel.psam",
    ]
    read = {each.path for each in sealed.inputs or () if each.role == "score"}
    # One that could not be read is an input, too: mended, it gives another result.
    assert read == {f"../scores/{each.name}" for each in (place / "scores").iterdir()}
    assert set(inputs) == {"panel", "score"}
    assert (state(scored).status, state(scored).unseen) == (Status.OK, ())
    found = verify([scored], ledger=ledger_here(SystemClock()), cache=None, depth=Depth.CHAIN).findings
    assert found == ()


def test_a_score_file_that_changed_makes_the_results_stale_and_is_named(scored: Path, place: Path) -> None:
    file = min((place / "scores").iterdir())
    file.write_bytes(file.read_bytes() + b"\n")
    found = state(scored)
    assert found.status is Status.STALE
    assert [each.split(" in ")[1] for each in found.why] == [f"'../scores/{file.name}'"] * len(found.why)
    assert found.why


def test_a_moved_folder_of_results_and_inputs_is_still_seen(scored: Path, place: Path) -> None:
    moved = place / "elsewhere"
    moved.mkdir()
    for each in (*place.glob("panel.*"), place / "scores", scored):
        shutil.move(each, moved / each.name)
    assert (state(moved / "out").status, state(moved / "out").unseen) == (Status.OK, ())


def test_the_report_and_the_tables_say_nothing_of_places_or_of_what_was_there_before(scored: Path, place: Path) -> None:
    (place / "deep").mkdir()
    again = score(place, place / "deep" / "again")
    for name in ("scores.parquet", "distributions.parquet", "quality.parquet", "report.html"):
        assert (again / name).read_bytes() == (scored / name).read_bytes(), name


# P15.
async def test_a_folder_of_scores_is_made_again_to_the_byte(scored: Path, place: Path) -> None:
    found = await Reproducer(clock=SystemClock()).reproduce(scored)
    assert found.comparison.outcome is Outcome.IDENTICAL
    assert {each.name for each in found.comparison.files} == {
        "scores.parquet",
        "distributions.parquet",
        "quality.parquet",
        "report.html",
    }
    assert found.comparison.software == ()


async def test_results_with_choices_are_made_again_with_them(place: Path, scored: Path) -> None:
    out = score(place, place / "chosen", match_log=True, scores=(min((place / "scores").iterdir()),), synthetic=True)
    assert (await Reproducer(clock=SystemClock()).reproduce(out)).comparison.outcome is Outcome.IDENTICAL
