"""The metadata of an export: JSON-LD by the Provenance Run Crate profile 0.5, which says who did what with what.

See https://www.researchobject.org/workflow-run-crate/profiles/provenance_run_crate/. The workflow is the list of
recipes, each output is a step of it, and each step ran a tool: a script, or sluiceway itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sluiceway.core.provenance import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sluiceway.core.provenance.manifest import Input, Manifest

_CONTEXT: Final = "https://w3id.org/ro/crate/1.1/context"
# The only term beside that; its own context would have to be fetched, too.
_SHA256: Final = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
_PROFILES: Final = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_WORKFLOW, _LANGUAGE, _ENGINE, _RUN = "recipe.json", "#recipes", "#sluiceway", "#run"
_MOST_PARAMETERS: Final = 50

Entity = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An output of the crate: its name there, where it was taken from, its manifest and that one's digest."""

    name: str
    source: Path
    manifest: Manifest
    digest: str

    @property
    def manifest_name(self) -> str:
        """The name of its manifest in the crate."""
        between = "/" if self.source.is_dir() else "."
        return f"{self.name}{between}{manifests.FOLDERS_NAME}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crate:
    """What is to be described: the outputs, and the digests of the code and of the crate's own files, by name."""

    name: str
    licence: str | None
    published: str
    outputs: tuple[Exported, ...]
    code: Mapping[str, str]
    files: Mapping[str, str]


def metadata_of(crate: Crate) -> bytes:
    """Give the bytes of ro-crate-metadata.json."""
    entities: dict[str, Entity] = {}
    for each in _entities(crate):
        entities.setdefault(each["@id"], {name: _compact(value) for name, value in each.items() if value != []})
    document = {"@context": [_CONTEXT, _SHA256], "@graph": list(entities.values())}
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _compact(value: Any) -> Any:
    """Give the only one of a list instead of the list, as RO-Crate has it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _entities(crate: Crate) -> Iterator[Entity]:
    parts = [_ref(_WORKFLOW), *(_ref(each) for each in crate.files if each != _WORKFLOW)]
    parts += [_ref(_id(each)) for each in crate.outputs]
    parts += [_ref(quote(each.manifest_name)) for each in crate.outputs]
    parts += [_ref(quote(name)) for name in crate.code]
    tools = [_tool(each, crate) for each in crate.outputs]
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": _ref("./"),
        "conformsTo": [_ref("https://w3id.org/ro/crate/1.1"), _ref(_PROFILES[-1][0])],
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": crate.name,
        "description": f"{len(crate.outputs)} outputs of sluiceway with the record of how each came to be.",
        "datePublished": crate.published,
        "license": _ref("#licence" if crate.licence is None else crate.licence),
        "conformsTo": [_ref(each) for each, _, _ in _PROFILES],
        "mainEntity": _ref(_WORKFLOW),
        "mentions": [_ref(_RUN), *(_ref(f"#action-{number}") for number in _numbers(crate))],
        "hasPart": parts,
    }
    for address, name, version in _PROFILES:
        yield {"@id": address, "@type": "CreativeWork", "name": name, "version": version}
    yield _licence(crate.licence)
    yield from _workflow(crate, tools)
    yield from _files(crate)
    for number, (output, tool) in enumerate(zip(crate.outputs, tools, strict=True), 1):
        yield tool
        yield from _step(number, output, tool["@id"], crate)


def _licence(licence: str | None) -> Entity:
    if licence is None:
        said = "No licence was stated: ask whoever made this."
        return {"@id": "#licence", "@type": "CreativeWork", "name": "not stated", "description": said}
    return {"@id": licence, "@type": "CreativeWork", "name": licence, "description": "The licence that was stated."}


def _workflow(crate: Crate, tools: list[Entity]) -> Iterator[Entity]:
    yield {
        "@id": _WORKFLOW,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Recipes of the outputs",
        "version": crate.files[_WORKFLOW].removeprefix("sha256:")[:12],
        "description": "What was done for each output, with its parameters.",
        "encodingFormat": "application/json",
        "sha256": crate.files[_WORKFLOW].removeprefix("sha256:"),
        "programmingLanguage": _ref(_LANGUAGE),
        "hasPart": [_ref(each) for each in dict.fromkeys(each["@id"] for each in tools)],
        "step": [_ref(f"#step-{number}") for number in _numbers(crate)],
    }
    yield {"@id": _LANGUAGE, "@type": "ComputerLanguage", "name": "sluiceway recipes", "identifier": _ref(_ENGINE)}
    version = next((each.manifest.sluiceway_version for each in crate.outputs), None)
    yield {"@id": _ENGINE, "@type": "SoftwareApplication", "name": "sluiceway", "version": version or "unknown"}
    manifests_ = [each.manifest for each in crate.outputs]
    yield {
        "@id": _RUN,
        "@type": "CreateAction",
        "name": "All of it",
        "description": "Every output of this crate, each as one step.",
        "instrument": _ref(_WORKFLOW),
        "object": [_ref(each) for each in _inputs_of_all(crate)],
        "result": [_ref(_id(each)) for each in crate.outputs],
        **_times(manifests_),
    }
    yield {
        "@id": "#organize",
        "@type": "OrganizeAction",
        "name": "sluiceway at work",
        "instrument": _ref(_ENGINE),
        "object": [_ref(f"#control-{number}") for number in _numbers(crate)],
        "result": _ref(_RUN),
        **_times(manifests_),
    }


def _files(crate: Crate) -> Iterator[Entity]:
    about = {"verify.py": ("Verifies all of this", "text/x-python")}
    about["ledger.jsonl"] = ("The piece of the ledger that the manifests are entered in", "application/jsonl")
    for name, digest in crate.files.items():
        if name != _WORKFLOW:
            said, form = about.get(name, (name, "application/octet-stream"))
            yield {"@id": name, "@type": "File", "name": said, "encodingFormat": form, "sha256": _bare(digest)}
    for each in crate.outputs:
        yield {
            "@id": quote(each.manifest_name),
            "@type": "File",
            "name": f"Manifest of {each.manifest.output_id}",
            "encodingFormat": "application/json",
            "about": _ref(_id(each)),
            "sha256": _bare(each.digest),
        }


def _tool(output: Exported, crate: Crate) -> Entity:
    """Give what made an output: its script, where that is in the crate, or the software by its name."""
    inside = output.name.partition("/")[2]
    script = next((each for each in output.manifest.inputs or () if each.role == "script"), None)
    own = [name for name in crate.code if name.startswith(f"code/{inside}/")]
    if script is not None and own:
        named = Path(script.path or "").name
        first = next((name for name in own if Path(name).name == named), own[0])
        others = [_ref(quote(name)) for name in own if name != first]
        parts = {"hasPart": others} if others else {}
        return {**_code(first, crate), **parts}
    name = output.manifest.recipe or (script.name if script is not None else None) or output.manifest.output_id
    return {"@id": f"#tool-{quote(name, safe='')}", "@type": "SoftwareApplication", "name": name}


def _code(name: str, crate: Crate) -> Entity:
    digest = _bare(crate.code[name])
    return {"@id": quote(name), "@type": ["File", "SoftwareSourceCode"], "name": Path(name).name, "sha256": digest}


def _step(number: int, output: Exported, tool: str, crate: Crate) -> Iterator[Entity]:
    manifest = output.manifest
    yield {
        "@id": f"#step-{number}",
        "@type": "HowToStep",
        "name": f"Make {output.name}",
        "position": str(number),
        "workExample": _ref(tool),
    }
    yield {
        "@id": f"#control-{number}",
        "@type": "ControlAction",
        "name": f"See to {output.name}",
        "instrument": _ref(f"#step-{number}"),
        "object": _ref(f"#action-{number}"),
        **_times([manifest]),
    }
    parameters = list(_parameters(number, manifest))
    inputs = [_input(each, output, crate) for each in manifest.inputs or () if each.role not in {"script", "module"}]
    yield {
        "@id": f"#action-{number}",
        "@type": "CreateAction",
        "name": f"Made {output.name}",
        "description": f"{manifest.output_id}: {manifest.recipe or 'a script'}, {manifest.ending.status}",
        "instrument": _ref(tool),
        "object": [_ref(each["@id"]) for each in (*inputs, *parameters)],
        "result": _ref(_id(output)),
        **_times([manifest]),
    }
    yield from inputs
    yield from parameters
    yield from (_code(name, crate) for name in crate.code)
    yield from _result(output)


def _result(output: Exported) -> Iterator[Entity]:
    listed, manifest = output.manifest.outputs or (), output.manifest
    version = {} if manifest.data_version is None else {"identifier": manifest.data_version}
    if not output.source.is_dir():
        digest = {"sha256": _bare(listed[0].digest), "contentSize": str(listed[0].size)} if listed else {}
        yield {"@id": _id(output), "@type": "File", "name": Path(output.name).name, **version, **digest}
        return
    inside = [(quote(f"{output.name}/{each.name}"), each) for each in listed]
    parts = [_ref(each) for each, _ in inside]
    name = Path(output.name).name
    said = f"{len(parts)} files of {manifest.output_id}"
    yield {"@id": _id(output), "@type": "Dataset", "name": name, "description": said, **version, "hasPart": parts}
    for id_, each in inside:
        digest = {"sha256": _bare(each.digest), "contentSize": str(each.size)}
        yield {"@id": id_, "@type": "File", "name": each.name, **digest}


def _inputs_of_all(crate: Crate) -> Iterator[str]:
    """Give the inputs that no output of the crate is."""
    found = {
        _input(each, output, crate)["@id"]: None
        for output in crate.outputs
        for each in output.manifest.inputs or ()
        if each.role not in {"script", "module"}
    }
    own = {_id(each) for each in crate.outputs}
    yield from (each for each in found if each not in own)


def _input(recorded: Input, output: Exported, crate: Crate) -> Entity:
    """Describe an input; one that is an output of the crate is that."""
    for each in crate.outputs:
        if recorded.digest is not None and each.manifest.data_version == recorded.digest and each is not output:
            return {"@id": _id(each)} | next(iter(_result(each)))
    name = recorded.name or Path(recorded.path or recorded.role).name
    known = {"identifier": recorded.digest, "url": recorded.origin}
    return {
        "@id": f"#input-{quote(recorded.role, safe='')}-{quote(name, safe='')}-{_bare(recorded.digest or 'none')[:16]}",
        "@type": "CreativeWork",
        "name": name,
        "description": f"It was read as {recorded.role}, and is not in this crate.",
        **{field: value for field, value in known.items() if value is not None},
    }


def _parameters(number: int, manifest: Manifest) -> Iterator[Entity]:
    for name, value in list((manifest.parameters or {}).items())[:_MOST_PARAMETERS]:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        yield {
            "@id": f"#parameter-{number}-{quote(name, safe='')}",
            "@type": "PropertyValue",
            "name": name,
            "value": text,
        }


def _times(found: list[Manifest]) -> Entity:
    started = [each.times.started for each in found if each.times.started is not None]
    finished = [each.times.finished for each in found if each.times.finished is not None]
    failed = any(each.ending.status == "failed" for each in found)
    told = {"actionStatus": f"http://schema.org/{'FailedActionStatus' if failed else 'CompletedActionStatus'}"}
    if started:
        told["startTime"] = min(started).isoformat()
    if finished:
        told["endTime"] = max(finished).isoformat()
    return told


def _id(output: Exported) -> str:
    return quote(f"{output.name}/" if output.source.is_dir() else output.name)


def _numbers(crate: Crate) -> range:
    return range(1, len(crate.outputs) + 1)


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _ref(id_: str) -> Entity:
    return {"@id": id_}
