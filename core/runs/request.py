"""What is asked for: a script or a command with all that its result depends on, and so its key.

Where it runs, with which resources, and where its files lie is not part of it: the same request on another machine, or
with more memory, is the same run. Texts from the command line and the file system may hold bytes that are not UTF-8;
they are kept, as surrogates, and reach the payload as they were.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from sluiceway.core.errors import InputMissing, NotCanonical, RequestInvalid
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.key import content_key
from sluiceway.core.runs.declared import Declared, OutputType, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.launch.launcher import Launcher
    from sluiceway.core.provenance.manifest import Container
    from sluiceway.core.runs.script_code import ScriptCode

_OURS = "SLUICEWAY_"
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file, and what it held when the request was made; of what runs from then on, the bytes themselves."""

    path: Path
    digest: str
    size: int
    modified_ns: int
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: Path, *, what: str, keep: bool = False) -> Self:
        """Look at a file, and keep its bytes where that is wanted; or raise InputMissing."""
        if not path.is_file():
            raise InputMissing(what=what, path=path)
        place = path.absolute()
        before = place.stat()
        content = place.read_bytes() if keep else None
        digest = digest_of_file(place) if content is None else digest_of_bytes(content)
        return cls(path=place, digest=digest, size=before.st_size, modified_ns=before.st_mtime_ns, content=content)

    @property
    def is_as_it_was(self) -> bool:
        """Whether the file looks as it did then."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


def inputs_of(paths: Iterable[Path]) -> dict[str, Content]:
    """Look at inputs; each is called by its file's name, and a folder stands for the files in it, called by both."""
    found: dict[str, Content] = {}
    for path in paths:
        for name, file in _files(path):
            if name in found:
                raise RequestInvalid(what="the input", value=str(file), reason=f"another one is called {name!r}")
            found[name] = Content.of(file, what="the input")
    return found


def _files(path: Path) -> Iterable[tuple[str, Path]]:
    # A path such as .. has no name of its own.
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    if not path.is_dir():
        return [(name, path)]
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    return [((PurePosixPath(name) / each.relative_to(path)).as_posix(), each) for each in inside]


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """What one element of an array gets, and is to make, besides what the request says for all of them."""

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A script with its arguments, or a command; its inputs, what it is to make, and what it is told.

    A call of a function is a command that is the same for all calls: the code that it depends on stands in `modules`
    and `versions`, and what it travels in is `carried`, small files by name, which are not part of the key. What a
    script imports is its `code`, whose digests stand in `modules`. `types` says of outputs what they are.
    """

    script: Content | None = None
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    inputs: Mapping[str, Content] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    carried: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    code: ScriptCode | None = field(default=None, repr=False)
    types: Mapping[str, OutputType] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    container: Container | None = None
    title: str = ""
    launcher: Launcher | None = None
    runtime: Runtime | None = None

    def __post_init__(self) -> None:
        """Refuse what could not run anywhere, or would not be what was meant."""
        if (self.script is None) == (not self.command) or self.command[:1] == ("",):
            raise RequestInvalid(what="the command", value=str(self.command), reason="name a script or a command")
        for pattern in self.outputs:
            _require_inside(pattern)
        for pattern in self.markers:
            _require_folder(pattern)
        for name in self.environment:
            _require_name(name)
        for text in (*self.command, *self.arguments, *self.outputs, *self.environment.values()):
            if "\0" in text:
                raise RequestInvalid(
                    what="the text", value=text, reason="it holds a NUL, which no program can be given"
                )

    @property
    def launched_by(self) -> dict[str, Any]:
        """What of the launcher is part of the key: nothing where it does what is done without one."""
        return {} if self.launcher is None else self.launcher.identity

    @property
    def key(self) -> str:
        """The content key, which names the run."""
        try:
            return content_key(
                "run",
                inputs=self._digests(),
                parameters={**self._asked(), **({"launcher": self.launched_by} if self.launched_by else {})},
                modules=self.modules,
                environment=self.versions,
            )
        except UnicodeEncodeError as error:
            raise NotCanonical(where="the request", value=repr(error.object[:80]), reason="it is no text") from error

    def _digests(self) -> dict[str, str]:
        digests = {f"input:{_as_bytes(name)}": each.digest for name, each in self.inputs.items()}
        return digests if self.script is None else {**digests, "script": self.script.digest}

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "command": [_as_bytes(each) for each in self.command],
            "arguments": [_as_bytes(each) for each in self.arguments],
            "environment": {_as_bytes(name): _as_bytes(value) for name, value in self.environment.items()},
            "outputs": sorted({_as_bytes(each) for each in self.outputs}),
            "parameters": dict(self.parameters),
        }
        if self.types:
            asked["types"] = {_as_bytes(name): str(each) for name, each in self.types.items()}
        if self.container is not None:
            asked["container"] = {"image": self.container.image, "digest": self.container.digest}
        if self.runtime is not None:
            asked["runtime"] = dict(self.runtime.identity)
        return asked

    @property
    def declared(self) -> tuple[Declared, ...]:
        """What is to be made, with what each of it is."""
        return tuple(
            Declared(pattern=each, type=self.types.get(each), name=self.names.get(each)) for each in self.outputs
        )

    @property
    def markers(self) -> tuple[str, ...]:
        """The patterns of files that say of their folder that it is a whole step."""
        return tuple(each for each in self.outputs if self.types.get(each) is OutputType.MARKER)

    def is_left(self, patterns: Iterable[str]) -> bool:
        """Whether a file that meets these patterns stays where it was made, for none of them wants it here."""
        return all(self.types.get(each) is OutputType.LEFT for each in patterns)

    @property
    def what(self) -> str:
        """What a list of runs calls it."""
        if self.title:
            return self.title[:_SHOWN]
        name = self.script.path.name if self.script is not None else shlex.join(self.command)
        return " ".join([name, shlex.join(self.arguments)]).strip()[:_SHOWN]

    def order(self, *, attempt: int, element: Element | None = None, checkpoint: str = "") -> bytes:
        """Give the request as jobside reads it, for one element of an array or for all there is.

        The folder of the checkpoint is relative to the one that jobside is started for.
        """
        own = element or Element(arguments=(), outputs=())
        # From the payload's working directory; an element's folder is inside of the attempt's.
        whole = PurePosixPath(".." if element is None else "../..")
        programs = whole / "launch"
        asked = {
            "key": self.key,
            "attempt": attempt,
            "command": self.command,
            "arguments": [*self.arguments, *own.arguments],
            "inputs": sorted(self.inputs),
            "outputs": [*self.outputs, *map(step_of, self.markers), *own.outputs],
            "environment": dict(self.environment),
            "parameters": dict(self.parameters),
            "checkpoint": checkpoint,
            "launcher": [] if self.launcher is None else self.launcher.command((), programs=programs),
        }
        if self.runtime is not None:
            asked["enter"] = [str(whole / "enter.py"), str(whole / "activation.json"), ".."]
        # ASCII alone, so that texts which are not UTF-8 survive.
        return json.dumps(asked, sort_keys=True, ensure_ascii=True, allow_nan=False).encode("ascii")


def _require_inside(pattern: str) -> None:
    place = PurePosixPath(pattern)
    if not pattern or place.is_absolute() or ".." in place.parts:
        reason = "outputs are files or patterns below the run's working directory"
        raise RequestInvalid(what="the output", value=pattern, reason=reason)


def _require_folder(pattern: str) -> None:
    if len(PurePosixPath(pattern).parts) < 2:
        reason = "a marker makes a step of the folder that it is in, so it cannot be in the working directory itself"
        raise RequestInvalid(what="the marker", value=pattern, reason=reason)


def _require_name(name: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise RequestInvalid(what="the variable", value=name, reason="no variable can have this name")
    if name.startswith(_OURS):
        raise RequestInvalid(what="the variable", value=name, reason=f"names with {_OURS} are sluiceway's own")


def _as_bytes(text: str) -> str:
    """Give the text that has one character for each byte: a key is made of bytes, and these need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
