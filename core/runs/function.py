"""A call of a Python function as a run: what travels, what the call's key is made of, and what comes back.

The function and what it is called with travel as pickles, with cloudpickle beside them, so that nothing has to be
installed where it is called but Python of the same minor version and what the function imports. Everything of the
user's own modules (`core.runs.own_code`) travels by value, everything else by name.

The key is made of the texts of the user's own modules, the versions of the distributions they import here, the minor
version of Python, and the arguments' canonical forms (`core.runs.arguments`). A pickle's bytes are not part of it: they
differ from process to process. What a module computed when it was imported, or reads while it runs, is not seen.
"""

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import pickle
import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from sluiceway.core.errors import AnswerUnreadable, CallRaised, RequestInvalid
from sluiceway.core.events import tell
from sluiceway.core.runs import function_side
from sluiceway.core.runs.arguments import Forms, NoForm
from sluiceway.core.runs.function_side import ANSWER, CALL, FUNCTION, ITEMS
from sluiceway.core.runs.own_code import own_modules, own_software
from sluiceway.core.runs.request import Element, RunRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.errors import RunFailed

log = logging.getLogger(__name__)

PROGRAM = "function_side.py"
STANDS_FOR = "sluiceway_function"
_OF_IMPORT = frozenset({"__loader__", "__spec__", "__cached__"})
_CLOUDPICKLE = Path(cloudpickle.__file__).parent
_registering = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What one call gives to the function."""

    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A function, and what it is called with: once, or once for each item of a map.

    `python` is the interpreter there, else the one on PATH; `variables` are set in it; it runs in `runtime`.
    """

    function: Callable[..., Any]
    items: Sequence[Item]
    python: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    runtime: Runtime | None = None

    def __post_init__(self) -> None:
        """Refuse what is no plain function: only its text can be keyed."""
        if not inspect.isfunction(self.function):
            reason = "only a function that def or lambda made can be called somewhere else"
            raise RequestInvalid(what="the function", value=repr(self.function), reason=reason)

    @property
    def name(self) -> str:
        """What people call the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def request(self) -> RunRequest:
        """Ask for the one call there is; or raise RequestInvalid where something in it cannot travel."""
        return self._request(f"../carried/{PROGRAM}", "0", outputs=(ANSWER.format(0),))

    def array_request(self) -> RunRequest:
        """Ask for all calls as an array, whose elements make some of them each."""
        # The elements' folders are inside of the attempt's.
        return self._request(f"../../carried/{PROGRAM}", outputs=())

    def element(self, numbers: Iterable[int]) -> Element:
        """Give the element of an array that makes these calls."""
        texts = tuple(map(str, numbers))
        return Element(arguments=texts, outputs=tuple(map(ANSWER.format, texts)))

    def _request(self, *program: str, outputs: tuple[str, ...]) -> RunRequest:
        forms = Forms()
        parameters: dict[str, Any] = {"function": self.name, "calls": len(self.items)}
        try:
            parameters["function form"] = forms.digest(self.function)
            parameters["arguments"] = self._digest(forms)
        except NoForm as error:
            # A key of its own: never taken for another call's, and never found again.
            parameters["unkeyed"] = secrets.token_hex(16)
            tell(log, "call without a key", level=logging.WARNING, function=self.name, because=f"it has {error}")
        software = own_software(forms.modules)
        several = f", {len(self.items)} times" if len(self.items) > 1 else ""
        return RunRequest(
            command=("python3", *program),
            outputs=outputs,
            environment=self.variables,
            parameters=parameters,
            modules=software.modules,
            versions={**software.environment, "python": "{}.{}".format(*sys.version_info)},
            carried=self._carried(),
            runtime=self.runtime,
            title=f"{self.name}(){several}",
        )

    def _digest(self, forms: Forms) -> str:
        signature = inspect.signature(self.function)
        bound = (signature.bind(*each.arguments, **each.named) for each in self.items)
        return forms.digest([forms.digest(each.arguments) for each in bound])

    def _carried(self) -> dict[str, bytes]:
        """Give the files that lie beside the payload, by name."""
        own = own_modules()
        given = [_places(each) for each in self.items]
        shared = _shared(given)
        with _by_value(own):
            function = self._pickled((self.function, shared), what="it, or what all its calls are given,")
            items = [self._pickled(_without(each, shared), what="an argument") for each in given]
        starts = accumulate(map(len, items), initial=0)
        call = {
            "version": sys.version_info[:2],
            "python": self.python,
            "own": sorted(each.__name__ for each in own),
            "items": [[start, len(each)] for start, each in zip(starts, items, strict=False)],
            "is_single": len(items) == 1,
        }
        return {
            PROGRAM: Path(function_side.__file__).read_bytes(),
            CALL: json.dumps(call).encode("ascii"),
            FUNCTION: function,
            ITEMS: b"".join(items),
            **{f"cloudpickle/{each.name}": each.read_bytes() for each in _CLOUDPICKLE.glob("*.py")},
        }

    def _pickled(self, value: object, *, what: str) -> bytes:
        buffer = io.BytesIO()
        try:
            _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
        except Exception as error:  # what a class does when it is pickled is its own
            reason = f"{what} cannot be pickled: {type(error).__name__}: {error}"
            raise RequestInvalid(what="the call of", value=self.name, reason=reason) from error
        return buffer.getvalue()


_Given = dict[int | str, Any]


def _places(item: Item) -> _Given:
    """Give what a call is given, by position or name."""
    given: _Given = dict(enumerate(item.arguments))
    given.update(item.named)
    return given


def _shared(given: list[_Given]) -> _Given:
    """Give the objects that all calls, being several, are given in the same place: they travel once."""
    first, *others = given
    return {
        place: value
        for place, value in first.items()
        if others and all(place in each and each[place] is value for each in others)
    }


def _without(given: _Given, shared: _Given) -> _Given:
    return {place: value for place, value in given.items() if place not in shared}


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Sends what stands for a function, such as a task of Prefect's, as that function; a module without its loader."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ModuleType):
            return self._module(obj)
        plain = getattr(obj, "__dict__", {}).get(STANDS_FOR)
        # copy.copy gives a function itself: an import that is there everywhere.
        return super().reducer_override(obj) if plain is None else (copy.copy, (plain,))

    def _module(self, module: ModuleType) -> tuple[Any, tuple[Any, ...]]:
        # Who imported it here may be a package's own loader, which is nowhere there.
        make, (name, *state) = self.dispatch_table[ModuleType](module)
        return make, (name, *({key: value for key, value in each.items() if key not in _OF_IMPORT} for each in state))


@contextmanager
def _by_value(own: list[ModuleType]) -> Iterator[None]:
    """Let these modules travel by value."""
    # cloudpickle keeps one list for the whole process.
    with _registering:
        added = [each for each in own if each.__name__ not in cloudpickle.list_registry_pickle_by_value()]
        for each in added:
            cloudpickle.register_pickle_by_value(each)
        try:
            yield
        finally:
            for each in added:
                cloudpickle.unregister_pickle_by_value(each)


def answer_of(output: Path, failure: RunFailed) -> Any:
    """Give what the function returned, or raise what it raised, caused by what is known of the run.

    Whoever reads an answer trusts the place that it comes from as much as their own code: it is a pickle.
    """
    line, _, content = output.read_bytes().partition(b"\n")
    told = json.loads(line)
    if told["kind"] == "returned":
        try:
            return pickle.loads(content)  # noqa: S301
        except Exception as error:  # what a class does when it is made is its own
            reason = f"{type(error).__name__}: {error}"
            raise AnswerUnreadable(run=failure.run, path=output, reason=reason) from error
    cause = replace(failure, why=f"{failure.why}; the function raised {told['type']}", tail=told["traceback"])
    raise _exception(told, content, run=failure.run) from cause


def _exception(told: dict[str, Any], content: bytes, *, run: str) -> BaseException:
    """Give the exception itself where it can be made here, else words about it."""
    try:
        error = pickle.loads(content)  # noqa: S301
        if isinstance(error, Exception):
            return error
        reason = "it would end this process, too"
    except Exception as error:  # noqa: BLE001 - what a class does when it is made is its own
        reason = f"{type(error).__name__}: {error}" if content else "it could not be pickled there"
    return CallRaised(run=run, kind=told["type"], text=told["text"], reason=reason)


def has_returned(output: Path) -> bool:
    """Whether an answer is one of a function that returned."""
    with output.open("rb") as file:
        return bool(json.loads(file.readline())["kind"] == "returned")
