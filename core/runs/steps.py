"""What each step of a run uses: a method that is marked as a step is measured, and noted when it has ended well."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from sluiceway.core.provenance.manifest import Step
from sluiceway.core.provenance.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluiceway.core.remote.clock import Clock

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class Stepwise(Protocol):
    """A run that has steps."""

    @property
    def clock(self) -> Clock:
        """Tells the time."""

    @property
    def steps(self) -> list[Step]:
        """What its steps used, in the order in which they ended."""


Run = TypeVar("Run", bound=Stepwise)


def step(
    name: str,
) -> Callable[[Callable[Concatenate[Run, Given], Answer]], Callable[Concatenate[Run, Given], Answer]]:
    """Mark a method as a step of this name."""

    def marked(
        method: Callable[Concatenate[Run, Given], Answer],
    ) -> Callable[Concatenate[Run, Given], Answer]:
        @wraps(method)
        def measured(run: Run, /, *given: Given.args, **named: Given.kwargs) -> Answer:
            with Usage(run.clock) as usage:
                answer = method(run, *given, **named)
            run.steps.append(Step(name=name, resources=usage.resources))
            return answer

        return measured

    return marked
