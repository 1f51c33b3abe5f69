"""Manifests: every field there, written whole, read back as they were, and described by a schema that is shipped."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sluiceway.core.errors import InputMissing, ManifestBroken, StorageFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.manifest import (
    SCHEMA,
    Counts,
    Ending,
    File,
    Input,
    Manifest,
    Prefect,
    Slurm,
    Times,
    files_of,
    path_of,
    read,
    this_software,
    write,
)

DIGEST = f"sha256:{'ab' * 32}"
# What the project promised to write down, by the names that it was promised under.
PROMISED = {
    "output id": "output_id",
    "output type": "output_type",
    "universe": "universe",
    "recipe": "recipe",
    "decisions": "decisions",
    "code version": "code_version",
    "data version": "data_version",
    "inputs with digests": "inputs",
    "parameters": "parameters",
    "environment": "environment",
    "container": "container",
    "git": "git",
    "host": "host",
    "Slurm job id": "slurm.job_id",
    "Prefect flow run": "prefect.flow_run_id",
    "Prefect task run": "prefect.task_run_id",
    "sluiceway version": "sluiceway_version",
    "start": "times.started",
    "end": "times.finished",
    "resources used": "resources.peak_memory_bytes",
    "exit status": "ending.exit_code",
    "content key": "content_key",
    "warnings": "warnings",
    "coverage": "counts.coverage",
    "isolation": "isolation",
    "ledger": "previous",
}
LEAST = Manifest(output_id="scores", ending=Ending(status="failed", exit_code=1, error="out of memory"))
MOST = Manifest(
    output_id="scores",
    output_type="table",
    universe="robust",
    content_key=DIGEST,
    ending=Ending(status="ok", exit_code=0),
    decisions={"outliers": "clip"},
    parameters={"missing": "mean", "min_overlap": 0.75, "scores": ["PGS000018", "é"]},
    inputs=(Input(role="panel", digest=DIGEST, size=3, name="panel.pgen"),),
    outputs=(File(name="scores.parquet", digest=DIGEST, size=9),),
    slurm=Slurm(job_id="812", restart_count=0),
    prefect=Prefect(flow_run_id="f", task_run_id="t"),
    times=Times(started=datetime(2026, 1, 1, tzinfo=UTC), finished=datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)),
    counts=Counts(n_total=4, n_ok=3, n_failed=1, n_cached=0, coverage=0.75),
    warnings=("PGS000018: low match",),
)


@pytest.mark.parametrize("field", PROMISED.values(), ids=PROMISED)
def test_what_is_unknown_stands_there_as_null(tmp_path: Path, field: str) -> None:
    at: Any = json.loads(write(LEAST, tmp_path).read_bytes())
    for name in field.split("."):
        assert name in at
        at = at[name]


def test_a_failed_run_leaves_what_is_known(tmp_path: Path) -> None:
    again = read(write(LEAST, tmp_path / "never.parquet"))
    assert (again.ending.error, again.ending.exit_code, again.outputs) == ("out of memory", 1, None)


@pytest.mark.parametrize("manifest", [LEAST, MOST], ids=["least", "most"])
def test_a_manifest_comes_back_as_it_was(tmp_path: Path, manifest: Manifest) -> None:
    assert read(write(manifest, tmp_path)) == manifest


def test_a_manifest_has_one_place_in_a_folder_and_another_beside_a_file(tmp_path: Path) -> None:
    assert path_of(tmp_path) == tmp_path / "manifest.json"
    assert path_of(tmp_path / "scores.parquet") == tmp_path / "scores.parquet.manifest.json"


def test_writing_leaves_the_manifest_and_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        write(MOST, tmp_path / "new" / "scores.parquet")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scores.parquet.manifest.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match=r"could not write .*manifest\.json"):
        write(MOST, tmp_path / "file" / "scores.parquet")


def test_the_schema_that_is_shipped_is_the_models() -> None:
    assert json.loads(SCHEMA.read_text()) == Manifest.model_json_schema(mode="serialization")


def test_a_manifest_from_before_inputs_had_an_origin_is_read(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    sealed = Manifest(output_id="x", ending=Ending(status="ok"), inputs=(Input(role="a"),))
    written = json.loads(manifests.write(sealed, output).read_bytes())
    del written["inputs"][0]["origin"]
    manifests.path_of(output).write_text(json.dumps(written))
    assert manifests.read(manifests.path_of(output)) == sealed


def test_the_schema_requires_every_field() -> None:
    schema = json.loads(SCHEMA.read_text())
    for each in [schema, *(part for part in schema["$defs"].values() if "properties" in part)]:
        assert sorted(each["required"]) == sorted(each["properties"])
        assert each["additionalProperties"] is False


def test_times_are_written_in_utc() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(Times(started=noon).model_dump_json())["started"] == "2026-06-01T10:00:00Z"


@pytest.mark.parametrize(
    "field",
    [{"when": 1}, {"content_key": "ab"}, {"schema_version": 2}, {"times": {"started": "2026-01-01T00:00:00"}}],
    ids=str,
)
def test_what_is_no_field_or_no_value_of_it_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**LEAST.model_dump(), **field})


def test_a_number_that_json_lacks_is_not_written_as_null() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Manifest(output_id="scores", ending=Ending(status="ok"), parameters={"x": float("nan")})


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def changed(written: dict[str, Any]) -> dict[str, Any]:
        inner = written
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        return written

    return changed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (without("output_id"), "output_id: Field required"),
        (without("universe"), "missing or not as written: universe"),
        (without("git", "dirty"), r"missing or not as written: git\.dirty"),
        (lambda written: written | {"extra": 1}, "extra: Extra inputs are not permitted"),
        (lambda written: written | {"schema_version": 2}, "schema_version: Input should be 1"),
        (lambda written: written | {"slurm": {**written["slurm"], "restart_count": "0"}}, r"slurm\.restart_count"),
        (lambda written: [written], "it: Input should be an object"),
    ],
)
def test_a_manifest_that_is_not_whole_is_refused_with_the_field(
    tmp_path: Path, changed: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = write(MOST, tmp_path)
    path.write_text(json.dumps(changed(json.loads(path.read_bytes()))))
    with pytest.raises(ManifestBroken, match=said):
        read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null"])
def test_what_is_no_json_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestBroken, match=r"manifest\.json"):
        read(tmp_path / "manifest.json")


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="the manifest"):
        read(tmp_path / "manifest.json")


def test_a_folders_files_are_listed_without_its_own_manifest(tmp_path: Path) -> None:
    for name in ("b.txt", "a/manifest.json", "manifest.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    digest = f"sha256:{hashlib.sha256(b'b.txt').hexdigest()}"
    assert [each.name for each in files_of(tmp_path)] == ["a/manifest.json", "b.txt"]
    assert files_of(tmp_path / "b.txt") == (File(name="b.txt", digest=digest, size=5),)
    assert files_of(tmp_path / "none.txt") == ()


def test_the_software_is_that_of_the_modules() -> None:
    software = this_software("sluiceway.core.provenance.manifest")
    assert software.distributions == {"pydantic": version("pydantic")}
    assert "sluiceway.core.provenance.digest" in (software.modules or {})
    assert (software.python or "").split(".")[0] == str(sys.version_info[0])


def test_this_process_knows_its_host_and_version() -> None:
    assert manifests.this_host().name
    assert manifests.this_version() == version("sluiceway")
