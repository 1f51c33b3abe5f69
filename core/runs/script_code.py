"""Which code a script is: its own text, and the user's own modules that it imports, read once when it is asked for.

Every attempt, at any place and at any time, runs from what was read then: the texts travel with the request and lie in
`lib/` of the attempt's folder, where Python looks for modules. So an edit after a run was asked for does not reach it,
and stages that are asked for together run from one state of the code.

A script in Python imports from its own folder, and from its repository's root and `src`, unless the name is one of the
standard library or of an installed distribution. Imports are read from the text: what is imported by a name in a text,
or is not Python, is not seen. The state of the repository is told by git; it is recorded and not part of any key.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.errors import CommandTimedOut
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.git import head_of
from sluiceway.core.provenance.inputs import without_secret
from sluiceway.core.provenance.manifest import Git
from sluiceway.core.provenance.software import imports
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.own_code import is_installed
from sluiceway.core.runs.request import Content, RunRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluiceway.core.remote.shell import Shell

_BYSTANDERS: Final = frozenset({"prefect", "sluiceway", "sluiceway_payload"})
# A repository's own settings must start no other programs.
_GIT: Final = ("-c", "core.fsmonitor=false")
_LONGEST: Final = timedelta(seconds=20)
_UNKNOWN: Final = Git()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of the user's own: its file here, its place below `lib/`, and its text."""

    name: str
    file: Path
    place: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCode:
    """The modules that a script imports, the state of its repository, and which of the files git does not know."""

    modules: tuple[Module, ...] = ()
    git: Git = _UNKNOWN
    untracked: tuple[str, ...] = ()

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each module's text, by its name."""
        return {each.name: digest_of_bytes(each.content) for each in self.modules}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever reads of this run should know of its code."""
        return tuple(f"git does not know the file {each!r}, which is part of the code" for each in self.untracked)


async def script_request(script: Path, *, shell: Shell, **asked: Any) -> RunRequest:
    """Ask for a script with the code that it imports, all of it read now.

    Args:
        script: The script.
        shell: Where git is asked.
        asked: The other fields of the request.
    """
    content = Content.of(script, what="the script", keep=True)
    code = await code_of(content, shell)
    return RunRequest(script=content, modules=code.digests, code=code, **asked)


async def code_of(script: Content, shell: Shell) -> ScriptCode:
    """Give the code of a script beyond its own text."""
    root = repository_of(script.path)
    modules = imported_by(script.path, script.content or b"", root)
    if root is None:
        return ScriptCode(modules=modules)
    files = [script.path, *(each.file for each in modules)]
    git, untracked = await _state(root, [each.resolve() for each in files], shell)
    return ScriptCode(modules=modules, git=git, untracked=untracked)


def repository_of(file: Path) -> Path | None:
    """Give the working tree that a file is in; none where it is in none."""
    return next((each for each in file.resolve().parents if (each / ".git").exists()), None)


def imported_by(script: Path, text: bytes, root: Path | None) -> tuple[Module, ...]:
    """Give the modules that a script in Python imports inside its folder and its repository, by name."""
    if not (script.suffix == ".py" or b"python" in text.partition(b"\n")[0]):
        return ()
    own = script.resolve().parent
    found: dict[str, Module] = {}
    waiting = [*_imports(text, "")]
    while waiting:
        for name in accumulate(waiting.pop().split("."), "{}.{}".format):
            if name in found:
                continue
            module = _module(name, own, root)
            if module is None:
                continue
            found[name] = module
            package = name if module.file.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(module.content, package)
    return tuple(found[name] for name in sorted(found))


def _module(name: str, own: Path, root: Path | None) -> Module | None:
    parts = name.split(".")
    foreign = parts[0] in _BYSTANDERS or parts[0] in sys.stdlib_module_names or _is_installed(parts[0])
    others = () if root is None or foreign else (root, root / "src")
    for folder in (own, *others):
        for place in (Path(*parts, "__init__.py"), Path(*parts).with_suffix(".py")):
            file = folder / place
            # A link may lead out of the repository; what lies there is no code of it.
            if file.is_file() and file.resolve().is_relative_to(root or own):
                return Module(name=name, file=file, place=place.as_posix(), content=file.read_bytes())
    return None


def _is_installed(first: str) -> bool:
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and is_installed(Path(spec.origin))


def _imports(text: bytes, package: str) -> Iterable[str]:
    try:
        ast.parse(text)
        return imports(text, package)
    except (SyntaxError, ValueError):
        # Python will say so when it runs; until then nothing depends on what cannot be imported.
        return ()


async def _state(root: Path, files: list[Path], shell: Shell) -> tuple[Git, tuple[str, ...]]:
    """Ask git how the working tree differs from its commit, and which of these files it does not know."""
    patch = await _told(shell, root, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    remote = await _told(shell, root, "config", "--get", "remote.origin.url")
    names = [each.relative_to(root).as_posix() for each in files if each.is_relative_to(root)]
    known = await _told(shell, root, "ls-files", "-z", "--", *(f":(literal){each}" for each in names))
    untracked = () if known is None else tuple(sorted({*names} - {*known.decode(errors="replace").split("\0")}))
    git = Git(
        head=head_of(root),
        dirty=None if patch is None else bool(patch or untracked),
        patch_digest=digest_of_bytes(patch) if patch else None,
        remote=None if not remote else without_secret(remote.decode(errors="replace").strip()),
    )
    return git, untracked


async def _told(shell: Shell, root: Path, *words: str) -> bytes | None:
    try:
        completed = await shell.run(Command.of("git", *_GIT, "-C", str(root), *words), timeout=_LONGEST)
    except CommandTimedOut:
        return None
    return completed.stdout if completed.exit_code == 0 else None
