"""Cache policies for Prefect that go by contents: what a task is given, the code that it runs, and nothing else.

    @task(cache_policy=CONTENT - "out")
    def align(sample: Path, reference: Path, out: Path, *, seed: int = 1) -> Path: ...

Prefect's own INPUTS sees a path, not the file behind it, and TASK_SOURCE only the task's own lines. With CONTENT a task
runs again exactly when the bytes of a path's file or folder changed, another argument, the task's code or that of a
module of the user's own that it imports, or the version of a distribution that these import. Policies are added up with
`+`, Prefect's own too. docs/provenance.md says more.

A result that names a file which is gone, or is not as it was sealed, is not served: the task runs again. Prefect's
events `cache.hit` and `cache.damaged` say which results were served, and which were not and why.

The code is read once in a process, when its key is first needed, for that is the code that the process runs.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import pickle
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from prefect.cache_policies import CachePolicy, CompoundCachePolicy
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE

from sluiceway.core.errors import LedgerBroken, NotCanonical, TreeUnreadable
from sluiceway.core.events import tell
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.ledger import History, ledger_here
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.provenance.reach import reached
from sluiceway.core.provenance.seal import content_at
from sluiceway.core.provenance.software import Software, file_of, imports, software_of
from sluiceway.core.provenance.statcache import StatCache, cache_here
from sluiceway.core.provenance.verify import Verifier
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.arguments import Forms, NoForm
from sluiceway.core.runs.own_code import own_software, source_of
from sluiceway.tasks.run_events import CACHE_DAMAGED, CACHE_HIT, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prefect import Task
    from prefect.context import TaskRunContext
    from prefect.results import ResultStore

log = logging.getLogger(__name__)

_SAME = "the same code has made it of the same contents, and what it names is as it was"
# A task's retries or tags are Prefect's affair and do not change what it computes.
_BYSTANDERS = frozenset({"prefect", "sluiceway"})
_known: WeakKeyDictionary[Callable[..., Any], Software] = WeakKeyDictionary()


@dataclass
class ContentPolicy(CachePolicy):
    """A key of contents; `policy - "name"` leaves an argument out, such as the place that a task writes to.

    Attributes:
        arguments: Whether the task's arguments count: paths by the content there, all else by value.
        code: Whether the task's code counts, with all of the user's own that it imports.
        modules: More modules that count with what they import, for what a task calls in another way.
        left_out: Arguments that do not count.
    """

    arguments: bool = True
    code: bool = True
    modules: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's form
        **kwargs: Any,  # noqa: ARG002
    ) -> str | None:
        """Give the key; Prefect logs what has none, and then runs the task without caching."""
        return _key_of_whole_result(self._key(task_ctx, inputs), task_ctx.task, task_ctx.result_store)

    def _key(self, task_ctx: TaskRunContext, inputs: dict[str, Any]) -> str:
        function = task_ctx.task.fn
        counted = {name: value for name, value in inputs.items() if name not in self.left_out} if self.arguments else {}
        with cache_here(SystemClock()) as cache:
            forms = ContentForms(cache)
            digests = {name: _digest(forms, name, value) for name, value in counted.items()}
            around = _digest(forms, "what is around the function", _around(function)) if self.code else None
        parts = [_own_and_ours({*forms.modules, *self.modules})]
        if self.code:
            parts.append(code_of(function))
        return content_key(
            "task",
            inputs=digests,
            parameters={"name": function.__qualname__ if self.code else None, "around": around},
            modules={name: digest for each in parts for name, digest in each.modules.items()},
            environment={name: version for each in parts for name, version in each.environment.items()},
        )

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Count what another policy counts, too."""
        added = super().__add__(other)
        return _Several(**vars(added)) if isinstance(added, CompoundCachePolicy) else added

    def __sub__(self, other: str) -> CachePolicy:
        """Leave an argument out."""
        if not isinstance(other, str):
            raise TypeError(f"only the name of an argument can be left out, not {other!r}")
        return replace(self, left_out=(*self.left_out, other))


@dataclass
class _Several(CompoundCachePolicy):
    """Several policies: to leave an argument out leaves it out of all, where Prefect's would silently keep it."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        key = super().compute_key(task_ctx, inputs, flow_parameters, **kwargs)
        return None if key is None else _key_of_whole_result(key, task_ctx.task, task_ctx.result_store)

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return _Several(**vars(super().__add__(other)))

    def __sub__(self, other: str) -> CachePolicy:
        return replace(self, policies=[each - other for each in self.policies])


class ContentForms(Forms):
    """Writes values in their one form, and paths by the content that is there."""

    def __init__(self, cache: StatCache) -> None:
        """Read no file that the cache knows."""
        super().__init__()
        self._cache = cache

    def _form(self, value: Any) -> Any:
        if isinstance(value, Path):
            try:
                return ["content", content_at(value, self._cache)]
            except TreeUnreadable as error:
                raise NoForm(f"the path {str(value)!r}: {error.reason}") from error
        return super()._form(value)


CONTENT = ContentPolicy()
"""Arguments and code."""
ARGUMENTS = ContentPolicy(code=False)
"""Arguments alone: the code may change."""
CODE = ContentPolicy(arguments=False)
"""Code alone."""


def source(*modules: str) -> ContentPolicy:
    """Give a policy by which these modules count, with what they import: for what a task calls in another way."""
    return ContentPolicy(arguments=False, code=False, modules=modules)


def code_of(function: Callable[..., Any]) -> Software:
    """Give the code of a function: what it reaches in its own module, and the modules and distributions behind that."""
    if function not in _known:
        _known[function] = _code_of(function)
    return _known[function]


def _key_of_whole_result(key: str, task: Task[Any, Any], store: ResultStore | None) -> str:
    """Give a key under which no result is stored yet, or one that is whole: this one, or one made of it.

    Prefect knows no result that is there but cannot be relied on; under another key it makes it again.
    """
    tried = key
    while store is not None and (damage := _damage(tried, store)) is not None:
        tell(log, "cached result damaged", level=logging.WARNING, key=tried, reason=damage)
        announce(CACHE_DAMAGED, f"result.{tried}", task=task.name, key=tried, reason=damage)
        tried = content_key("made again", inputs={"damaged": tried}, parameters={}, modules={}, environment={})
    if store is not None and not _is_refreshed(task) and store.exists(tried):
        announce(CACHE_HIT, f"result.{tried}", task=task.name, key=tried, reason=_SAME)
    return tried


def _is_refreshed(task: Task[Any, Any]) -> bool:
    """Tell whether the task is to run whatever is stored."""
    return PREFECT_TASKS_REFRESH_CACHE.value() if task.refresh_cache is None else task.refresh_cache


def _code_of(function: Callable[..., Any]) -> Software:
    plain = inspect.unwrap(function)
    place = Path(plain.__code__.co_filename)
    try:
        text = place.read_bytes()
    except OSError as error:
        reason = f"its text is in no file: {error.strerror}"
        raise NotCanonical(where="the task", value=plain.__qualname__, reason=reason) from error
    package = str(plain.__globals__.get("__package__") or "")
    found = reached(text, plain.__qualname__.partition(".")[0], package, _BYSTANDERS)
    behind = _own_and_ours(found.imports)
    own = f"sha256:{hashlib.sha256(found.text).hexdigest()}"
    return Software(modules={**behind.modules, "task": own}, environment=behind.environment)


def _own_and_ours(names: Iterable[str]) -> Software:
    """Give the user's own modules among these, those of sluiceway, and all that they import."""
    own = own_software(names)
    used = {*names, *(each for name in own.modules for each in _imports_of(name))}
    ours = software_of(*sorted(each for each in used if each.startswith("sluiceway.") and file_of(each)))
    return Software(modules={**own.modules, **ours.modules}, environment={**own.environment, **ours.environment})


def _imports_of(module: str) -> Iterable[str]:
    file = source_of(module)
    if file is None:
        return ()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return imports(file.read_bytes(), package)


def _damage(key: str, store: ResultStore) -> str | None:
    """Say what is wrong with the files of a stored result: one is gone, or is not as it was sealed."""
    try:
        paths = list(_paths_in(store.read(key).result)) if store.exists(key) else []
    except (OSError, ValueError, TypeError, EOFError, AttributeError, ImportError, pickle.PickleError):
        # Prefect itself finds that it cannot be read, and makes it again.
        return None
    gone = next((each for each in paths if not each.exists()), None)
    if gone is not None:
        return f"{str(gone)!r} is not there"
    sealed = [each for each in paths if is_output(each)]
    with cache_here(SystemClock()) as cache:
        verifier = Verifier(history=_history(), cache=cache) if sealed else None
        findings = [str(each) for path in sealed for each in (verifier.findings(path) if verifier else ())]
    return findings[0] if findings else None


def _history() -> History:
    try:
        return ledger_here(SystemClock()).history()
    except LedgerBroken:
        # Without it, an output is compared with its own manifest.
        return History([])


def _paths_in(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (path for each in value for path in _paths_in(each))
    elif isinstance(value, dict):
        yield from (path for each in value.values() for path in _paths_in(each))
    elif is_dataclass(value):
        yield from (path for each in fields(value) for path in _paths_in(getattr(value, each.name)))


def _around(function: Callable[..., Any]) -> list[Any]:
    """Give the values that a function took from around it when it was made."""
    return [each.cell_contents for each in getattr(inspect.unwrap(function), "__closure__", None) or ()]


def _digest(forms: Forms, name: str, value: object) -> str:
    try:
        return forms.digest(value)
    except NoForm as error:
        reason = f"it has no one form to compare ({error}); leave it out with CONTENT - {name!r}"
        raise NotCanonical(where=f"the argument {name!r}", value=type(value).__name__, reason=reason) from error
