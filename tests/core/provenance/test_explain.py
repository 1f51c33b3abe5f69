"""Explaining: each field that changes gives exactly its own reason, in a fixed order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.provenance import explain
from sluiceway.core.provenance.explain import reasons
from sluiceway.core.provenance.manifest import Container, Ending, Environment, Input, Manifest
from sluiceway.core.provenance.software import file_of
from tests.core.provenance.sealed import OK, Project

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
EVENTS = "sluiceway.core.events"
PANEL = Input(role="panel", digest=A, path="../panel.pgen")
SCORES = (Input(role="score", name="PGS1", digest=A), Input(role="score", name="PGS2", digest=A))
ENVIRONMENT = Environment(modules={EVENTS: A}, distributions={"polars": "0.1"}, lock_digest=A)
BASE = Manifest(
    output_id="scores",
    ending=OK,
    recipe="score",
    universe="baseline",
    decisions={"outliers": "keep"},
    parameters={"missing": "mean", "deep": {"x": 1, "list": [1]}, "none": None},
    inputs=(PANEL, *SCORES),
    environment=ENVIRONMENT,
    container=Container(image="app", digest=A),
)
PARAMETERS = dict(BASE.parameters or {})
FILE = str(file_of(EVENTS))

CHANGES: dict[str, tuple[dict[str, Any], str, Any, Any, str | None]] = {
    "output": ({"output_id": "other"}, "output_id", "scores", "other", None),
    "recipe": ({"recipe": "score2"}, "recipe", "score", "score2", None),
    "universe": ({"universe": "robust"}, "universe", "baseline", "robust", None),
    "decision": ({"decisions": {"outliers": "clip"}}, "decisions.outliers", "keep", "clip", None),
    "parameter": ({"parameters": {**PARAMETERS, "missing": "zero"}}, "parameters.missing", "mean", "zero", None),
    "deep parameter": (
        {"parameters": {**PARAMETERS, "deep": {"x": True, "list": [1]}}}, "parameters.deep.x", 1, True, None,
    ),
    "list": (
        {"parameters": {**PARAMETERS, "deep": {"x": 1, "list": [1.0]}}}, "parameters.deep.list", [1], [1.0], None,
    ),
    "new parameter": ({"parameters": {**PARAMETERS, "new": None}}, "parameters.new", None, "null", None),
    "input": (
        {"inputs": (PANEL.model_copy(update={"digest": B}), *SCORES)}, "inputs.panel", A, B, "../panel.pgen",
    ),
    "one of several": (
        {"inputs": (PANEL, SCORES[0], SCORES[1].model_copy(update={"digest": B}))}, "inputs.score[PGS2]", A, B, None,
    ),
    "no input": ({"inputs": (PANEL, SCORES[0])}, "inputs.score[PGS2]", A, None, None),
    "new input": (
        {"inputs": (PANEL, *SCORES, Input(role="relatives", digest=B))}, "inputs.relatives", None, B, None,
    ),
    "module": (
        {"environment": ENVIRONMENT.model_copy(update={"modules": {EVENTS: B}})}, f"modules.{EVENTS}", A, B, FILE,
    ),
    "new module": (
        {"environment": ENVIRONMENT.model_copy(update={"modules": {EVENTS: A, "m": B}})}, "modules.m", None, B, None,
    ),
    "version": (
        {"environment": ENVIRONMENT.model_copy(update={"distributions": {"polars": "2.2"}})},
        "distributions.polars", "0.1", "2.2", None,
    ),
    "lock": ({"environment": ENVIRONMENT.model_copy(update={"lock_digest": B})}, "lock_digest", A, B, None),
    "image": ({"container": Container(image="other", digest=A)}, "container.image", "app", "other", None),
    "image's content": ({"container": Container(image="app", digest=B)}, "container.digest", A, B, None),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "field", "old", "new", "file"), CHANGES.values(), ids=CHANGES)
def test_a_single_change_gives_exactly_its_reason(
    changed: dict[str, Any], field: str, old: Any, new: Any, file: str | None
) -> None:
    """Red on: core/provenance/explain.py: `if not _is_same(before, after)` -> `if before is None`."""
    (reason,) = reasons(BASE, BASE.model_copy(update=changed))
    assert (reason.field, reason.old, reason.new, reason.file) == (field, old, new, file)


UNCOUNTED = {
    "schema_version", "output_type", "content_key", "ending", "data_version", "outputs", "isolation", "git", "host",
    "slurm", "prefect", "run_id", "attempt", "submitted_by", "sluiceway_version", "times", "resources", "steps",
    "counts", "warnings", "previous",
}  # fmt: skip


# P24.
def test_every_field_of_a_manifest_gives_a_reason_or_is_known_to_give_none() -> None:
    counted = {name for changed, *_ in CHANGES.values() for name in changed} | {"code_version"}
    assert counted | UNCOUNTED == set(Manifest.model_fields)
    assert not counted & UNCOUNTED


def test_nothing_changed_gives_no_reason() -> None:
    same = BASE.model_copy(
        update={
            "parameters": dict(reversed(PARAMETERS.items())),
            "ending": Ending(status="failed"),
            "run_id": "another",
        }
    )
    assert reasons(BASE, same) == ()


def test_reasons_come_in_the_order_of_what_is_done_then_inputs_then_software() -> None:
    several = {"recipe": "b", "parameters": {}, "inputs": (), "environment": Environment(), "container": None}
    fields = [each.field for each in reasons(BASE, BASE.model_copy(update=several))]
    firsts = list(dict.fromkeys(each.partition(".")[0] for each in fields))
    assert firsts == ["recipe", "parameters", "inputs", "modules", "distributions", "lock_digest", "container"]


def test_code_without_a_list_of_modules_is_compared_whole() -> None:
    old = Manifest(output_id="x", ending=OK, code_version=A)
    (reason,) = reasons(old, old.model_copy(update={"code_version": B}))
    assert (reason.field, reason.old, reason.new) == ("code_version", A, B)


def test_a_reason_is_one_line(tmp_path: Path) -> None:
    (reason,) = reasons(BASE, BASE.model_copy(update=CHANGES["input"][0]))
    assert str(reason) == f"inputs.panel: {A} -> {B} in '../panel.pgen'"
    (gone,) = reasons(BASE, BASE.model_copy(update=CHANGES["no input"][0]))
    assert str(gone) == f"inputs.score[PGS2]: {A} -> nothing"


def test_now_is_what_inputs_modules_and_versions_are(tmp_path: Path) -> None:
    project = Project(tmp_path)
    inputs = (Input(role="up", path="../up", digest=A), Input(role="gone", path="../no", digest=A))
    project.seal("up", {"x": "1"})
    output = project.seal("out", {"y": "2"}, inputs=inputs)
    recorded = BASE.model_copy(update={"inputs": inputs})
    now = explain.Now().of(recorded, output)
    assert [each.digest for each in now.inputs or ()] == [project.ledger.history().entries[0].data_version, A]
    assert now.environment.modules != recorded.environment.modules
    assert now.environment.distributions != recorded.environment.distributions
    assert explain.unseen(recorded, output) == ("gone",)
