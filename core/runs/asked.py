"""A request as an intent keeps it: so that whoever finds an attempt that nobody waits for can collect it.

What only starting needs is not kept: how an environment is had, and what travels with a call. A launcher is kept by its
name and options; one that nobody here knows tells nothing, and its runs are collected by whoever asks for them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.environments.runtime import Runtime
from sluiceway.core.errors import RequestInvalid
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.provenance.manifest import Container, Git
from sluiceway.core.runs.declared import OutputType
from sluiceway.core.runs.request import Content, RunRequest
from sluiceway.core.runs.script_code import Module, ScriptCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.launch.launcher import Launcher

_LISTS = ("command", "arguments", "outputs")
_TABLES = ("environment", "parameters", "modules", "versions", "names")


def written(request: RunRequest) -> dict[str, Any]:
    """Give a request as JSON has it."""
    fields: dict[str, Any] = {name: list(getattr(request, name)) for name in _LISTS}
    fields |= {name: dict(getattr(request, name)) for name in _TABLES}
    fields["script"] = None if request.script is None else _content(request.script)
    fields["inputs"] = {name: _content(each) for name, each in request.inputs.items()}
    fields["types"] = {name: str(each) for name, each in request.types.items()}
    fields["container"] = None if request.container is None else request.container.model_dump(mode="json")
    fields["runtime"] = None if request.runtime is None else request.runtime.as_json()
    fields["code"] = None if request.code is None else _code(request.code)
    fields["launcher"] = None if request.launcher is None else _launcher(request.launcher)
    return {**fields, "title": request.title}


def read(fields: Mapping[str, Any]) -> RunRequest | None:
    """Give a request back, as far as collecting needs it; none where that is not enough."""
    # Of those from before, what a launcher ran is not kept.
    if not fields or fields.get("launched"):
        return None
    try:
        launcher = _launcher_of(fields.get("launcher"))
    except RequestInvalid:
        return None
    code, container, script = fields["code"], fields["container"], fields["script"]
    runtime = fields.get("runtime")
    lists: dict[str, Any] = {name: tuple(fields[name]) for name in _LISTS}
    return RunRequest(
        **lists,
        **{name: fields[name] for name in _TABLES},
        script=None if script is None else _content_of(script),
        inputs={name: _content_of(each) for name, each in fields["inputs"].items()},
        types={name: OutputType(each) for name, each in fields["types"].items()},
        container=None if container is None else Container(**container),
        code=None if code is None else _code_of(code),
        runtime=None if runtime is None else Runtime.of_json(runtime),
        title=fields["title"],
        launcher=launcher,
    )


def _launcher(launcher: Launcher) -> dict[str, Any]:
    return {"name": launcher.name, "options": launcher.model_dump(mode="json", exclude_defaults=True)}


def _launcher_of(fields: Mapping[str, Any] | None) -> Launcher | None:
    return None if fields is None else launcher_named(fields["name"], fields["options"])


def _code(code: ScriptCode) -> dict[str, Any]:
    modules = [
        {"name": each.name, "file": str(each.file), "place": each.place, "content": each.content.decode("latin-1")}
        for each in code.modules
    ]
    return {"git": code.git.model_dump(mode="json"), "untracked": list(code.untracked), "modules": modules}


def _code_of(fields: Mapping[str, Any]) -> ScriptCode:
    modules = (
        Module(**{**each, "file": Path(each["file"]), "content": each["content"].encode("latin-1")})
        for each in fields["modules"]
    )
    return ScriptCode(git=Git(**fields["git"]), untracked=tuple(fields["untracked"]), modules=tuple(modules))


def _content(content: Content) -> dict[str, Any]:
    kept = {name: getattr(content, name) for name in ("digest", "size", "modified_ns")}
    return {**kept, "path": str(content.path)}


def _content_of(fields: Mapping[str, Any]) -> Content:
    return Content(**{**fields, "path": Path(fields["path"])})
