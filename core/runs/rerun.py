"""Making an output again from its manifest, in a folder of its own: what a script made, and the main job's results.

Everything is taken from the places that the manifest names, or for a script from what its attempt left, and counts only
if it still has the digest that stands in the manifest.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core import settings
from sluiceway.core.errors import NotReproducible, RequestInvalid
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.inputs import place_of_module
from sluiceway.core.provenance.reproduce import Comparison, Likeness, Made, compare, leaves
from sluiceway.core.provenance.tree import Looking, digest_of_leaf, listing
from sluiceway.core.provenance.verify import place_of_input
from sluiceway.core.runs import run as life
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.hosts import host_at
from sluiceway.core.runs.place import Local, Place
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.request import Content, RunRequest
from sluiceway.core.runs.run import Runs
from sluiceway.core.runs.script_code import Module, ScriptCode
from sluiceway.core.store.durable import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.provenance.manifest import Input, Manifest
    from sluiceway.core.provenance.reproduce import Tolerance
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.host import JobHost

FOLDER: Final = "reproductions"
_RECEIPT: Final = "receipt.json"
_MODES: Final = tuple(a | b | c for a in (0, 0o100) for b in (0, 0o010) for c in (0, 0o001))


_HERE: Final = Local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """An output that was made again: how it compares, and the folder that keeps that, and what differs."""

    comparison: Comparison
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproducer:
    """Makes outputs again.

    Attributes:
        place: Where; a cluster gets a new attempt at the same run, this machine a home of its own.
        tolerance: How far numbers in tables may be apart.
        reach: Gives the host of a place.
        runtime: The environment that a script ran in, where it ran in one.
    """

    clock: Clock
    place: Place = _HERE
    tolerance: Tolerance | None = None
    reach: Callable[[Place, Runs], AbstractAsyncContextManager[JobHost]] = host_at
    runtime: Runtime | None = None

    async def reproduce(self, output: Path) -> Reproduction:
        """Make an output again, compare, and keep the comparison; what came of it is kept where anything differs."""
        manifest = manifests.read(manifests.path_of(output))
        _require_reproducible(manifest, output)
        folder = _own_folder(manifest, self.clock)
        try:
            again = await self._again(manifest, output, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        comparison = compare(Made(manifest=manifest, folder=root_of(output, manifest)), again, self.tolerance)
        await asyncio.to_thread(self._keep, comparison, output, folder)
        return Reproduction(comparison=comparison, folder=folder)

    def _keep(self, comparison: Comparison, output: Path, folder: Path) -> None:
        """Write the receipt of a comparison; what was made again goes where nothing differs."""
        receipt = {
            "output": str(output.absolute()),
            "manifest": digest_of_file(manifests.path_of(output)),
            "place": str(self.place),
            "at": self.clock.now().isoformat(),
            **comparison.as_json(),
        }
        write_whole(folder / _RECEIPT, json.dumps(receipt, indent=1).encode() + b"\n")
        if all(each.likeness is Likeness.IDENTICAL for each in comparison.files):
            for each in (each for each in folder.iterdir() if each.is_dir()):
                shutil.rmtree(each)

    async def _again(self, manifest: Manifest, output: Path, folder: Path) -> Made:
        if manifest.output_type == "run":
            runs = Runs(home=settings.load().home, clock=self.clock)
            request = await asyncio.to_thread(_request, manifest, output, runs, self.runtime)
            return await self._script(request, folder)
        if not isinstance(self.place, Local):
            raise NotReproducible(path=output, reason="scores are made again on this machine only; leave --on out")
        asked = _asked(manifest, output, folder / "again")
        await asyncio.to_thread(ReferenceScoring(asked, clock=self.clock).run)
        return _made(folder / "again")

    async def _script(self, request: RunRequest, folder: Path) -> Made:
        home = folder / "home" if isinstance(self.place, Local) else settings.load().home
        runs = Runs(home=home, clock=self.clock)
        async with self.reach(self.place, runs) as host:
            receipt = await life.run(request, runs=runs, host=host, place=self.place, fresh=True)
        receipt.require_success()
        return _made(receipt.folder)


def root_of(output: Path, manifest: Manifest) -> Path:
    """Give the folder that the names of an output's files are relative to."""
    if not output.is_dir():
        return output.parent
    work = output / "work"
    return work if manifest.output_type == "run" and work.is_dir() else output


def _made(output: Path) -> Made:
    manifest = manifests.read(manifests.path_of(output))
    return Made(manifest=manifest, folder=root_of(output, manifest))


def _require_reproducible(manifest: Manifest, output: Path) -> None:
    reason = None
    if manifest.ending.status != "ok":
        reason = "its run failed, so there is nothing to compare with"
    elif not manifest.outputs:
        reason = "its run declared no outputs, so there is nothing to compare"
    elif manifest.output_type != "run" and manifest.recipe != "score_reference":
        reason = "only what `sluiceway run` and `sluiceway score` made can be made again"
    if reason is not None:
        raise NotReproducible(path=output, reason=reason)


def _own_folder(manifest: Manifest, clock: Clock) -> Path:
    name = (manifest.content_key or manifest.data_version or "").rpartition(":")[2][:20]
    folder = settings.load().home / FOLDER / f"{name}-{clock.now():%Y%m%dT%H%M%S%f}"
    folder.mkdir(parents=True)
    return folder


def _request(manifest: Manifest, output: Path, runs: Runs, runtime: Runtime | None) -> RunRequest:
    """Ask for the same run; its key proves that it is the same."""
    attempt = _attempt(manifest, runs)
    given: dict[str, Any] = dict(manifest.parameters or {})
    if runtime is None and "runtime" in given:
        reason = f"it ran in the environment {given['runtime']['name']!r}; name it with --env"
        raise NotReproducible(path=output, reason=reason)
    contents: dict[str, list[tuple[Input, Path]]] = {"script": [], "module": [], "input": []}
    for each in manifest.inputs or ():
        contents.setdefault(each.role, []).append((each, _found(each, output, attempt)))
    if not contents["script"] or "outputs" not in given:
        raise NotReproducible(path=output, reason="its manifest does not say which script made it")
    code = ScriptCode(modules=tuple(_module(each, file) for each, file in contents["module"]))
    try:
        request = RunRequest(
            script=Content.of(contents["script"][0][1], what="the script", keep=True),
            arguments=tuple(given["arguments"]),
            inputs={str(each.name): Content.of(file, what="the input") for each, file in contents["input"]},
            environment=given["environment"],
            parameters=given["parameters"],
            modules=code.digests,
            code=code,
            container=manifest.container if runtime is None else None,
            runtime=runtime,
            **declaring(given["outputs"]),
        )
    except (RequestInvalid, KeyError, TypeError) as error:
        raise NotReproducible(path=output, reason=f"its manifest asks for no run: {error}") from error
    if request.key != manifest.content_key:
        reason = f"what it says gives the run {request.key}, but it is one of {manifest.content_key}"
        raise NotReproducible(path=output, reason=reason)
    return request


def _attempt(manifest: Manifest, runs: Runs) -> Path | None:
    """Give the folder of the attempt that made it, where it is of this machine."""
    if manifest.content_key is None or manifest.attempt is None:
        return None
    return Path(runs.folder(manifest.content_key).attempt(manifest.attempt).path)


def _module(recorded: Input, file: Path) -> Module:
    name = str(recorded.name)
    if not all(each.isidentifier() for each in name.split(".")):
        raise NotReproducible(path=file, reason=f"{name!r} is no name of a module")
    place = place_of_module(name, Path(recorded.path or file))
    return Module(name=name, file=file, place=place, content=file.read_bytes())


def _found(recorded: Input, output: Path, attempt: Path | None) -> Path:
    """Find an input where it was read, or where the attempt kept it, if it is still what it was."""
    places = [] if recorded.path is None else [place_of_input(output, recorded.path)]
    if recorded.name is not None and leaves(recorded.name):
        raise NotReproducible(path=output, reason=f"the name {recorded.name!r} leads out of the run's folder")
    if attempt is not None:
        own = {"script": "script", "module": f"lib/{str(recorded.name).replace('.', '/')}.py"}
        name = own.get(recorded.role, f"inputs/{recorded.name}")
        places += [attempt / name, (attempt / name).with_suffix("") / "__init__.py"]
    for place in places:
        if place.is_file() and _is_it(place, recorded):
            return place
    said = f"its {recorded.role} {recorded.name or recorded.path or ''!r} is not there any more as it was"
    raise NotReproducible(path=output, reason=said)


def _is_it(file: Path, recorded: Input) -> bool:
    """Compare a file with what was read; who may execute it is another matter where it was brought to be run."""
    entry = listing(file, Looking(plain=True))[0]
    if recorded.digest in {entry.digest, entry.content}:
        return True
    content = file.read_bytes() if recorded.role in {"script", "module"} else None
    return content is not None and recorded.digest in {digest_of_leaf(content, mode=each) for each in _MODES}


def _asked(manifest: Manifest, output: Path, out: Path) -> Asked:
    """Ask for the same scores on the same panel, scored anew."""
    parameters: dict[str, Any] = dict(manifest.parameters or {})
    chosen = parameters.pop("asked", None)
    by_role: dict[str, list[Path]] = {}
    for each in manifest.inputs or ():
        by_role.setdefault(each.role, []).append(_found(each, output, None))
    if chosen is None or not by_role.get("panel") or not by_role.get("score"):
        raise NotReproducible(path=output, reason="its manifest does not say which files were scored")
    build = chosen.pop("build")
    return Asked(
        panel=by_role["panel"][0],
        scores=tuple(dict.fromkeys(by_role["score"])),
        out=out,
        policy=Policy.model_validate(parameters),
        build=None if build is None else Build(build),
        unrelated=next(iter(by_role.get("relatives", ())), None),
        use_cache=False,
        **chosen,
    )
