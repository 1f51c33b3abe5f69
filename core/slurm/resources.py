"""What a job may ask for, checked before Slurm sees it: sbatch drops, rounds or reinterprets much without a word.

>>> wish = Resources(cpus=4, memory="16G", time="2h", extra_sbatch={"mail-type": "END"})
>>> wish.options
('--cpus-per-task=4', '--mem=16384M', '--time=0-02:00:00', '--mail-type=END')
>>> Resources(memroy="16G")  # doctest: +IGNORE_EXCEPTION_DETAIL
Traceback (most recent call last):
...
ResourcesInvalid: memroy = '16G' cannot be asked of Slurm: there is no such option (did you mean ...
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from sluiceway.core.errors import ResourcesInvalid

# Names that would break finding the job again, its log files, or the answer of sbatch.
_RESERVED = frozenset(
    {
        "array", "begin", "bb", "bbf", "chdir", "clusters", "comment", "dependency", "error", "get-user-env",
        "het-group", "hold", "input", "job-name", "kill-on-invalid-dep", "no-requeue", "open-mode", "output",
        "parsable", "quiet", "requeue", "signal", "test-only", "uid", "gid", "verbose", "wait", "wrap",
    }
)  # fmt: skip
_FIELD_OF_OPTION = {
    "cpus-per-task": "cpus",
    "ntasks": "tasks",
    "ntasks-per-node": "tasks_per_node",
    "mem": "memory",
    "mem-per-cpu": "memory_per_cpu",
    "signal": "warning",
}
_LONG_NAME = re.compile(r"[a-z][a-z0-9]+(?:-[a-z0-9]+)*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, order=True)
class Memory:
    """An amount of memory, in the mebibytes that Slurm counts in; zero is all that a node has.

    >>> str(Memory.parse("1.5 GiB")), str(Memory.gib(16))
    ('1536M', '16384M')
    """

    _FORM: ClassVar[re.Pattern[str]] = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
    _MEBIBYTES: ClassVar[dict[str, float]] = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}

    mebibytes: int

    @classmethod
    def gib(cls, gibibytes: float) -> Memory:
        """Give so many gibibytes."""
        return cls(math.ceil(gibibytes * 1024))

    @classmethod
    def parse(cls, text: object) -> Memory:
        """Read an amount with its unit; a bare number is refused, for nobody knows what it counts."""
        if isinstance(text, Memory):
            return text
        if text in (0, "0"):
            return cls(0)
        found = cls._FORM.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ResourcesInvalid(option="memory", value=str(text), reason="write an amount with a unit, such as 16G")
        return cls(math.ceil(float(found[1]) * cls._MEBIBYTES[found[2].upper()]))

    def times(self, factor: float) -> Memory:
        """Give so much more, rounded up."""
        return Memory(math.ceil(self.mebibytes * factor))

    def __str__(self) -> str:
        """Write it as sbatch takes it."""
        return f"{self.mebibytes}M" if self.mebibytes else "0"


_CLOCK_FORM = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_UNIT_FORM = re.compile(r"(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m(?:in)?)?\s*(?:(\d+)s)?")


def parse_walltime(text: object) -> timedelta:
    """Read a time limit: 2h, 1d12h, 90m, or Slurm's own 1-12:00:00; what could be read two ways is refused.

    >>> parse_walltime("1d12h") == parse_walltime("36:00:00") == parse_walltime("1-12:00:00")
    True
    """
    if isinstance(text, timedelta):
        limit = text
    else:
        stripped = text.strip().lower() if isinstance(text, str) else ""
        found = _CLOCK_FORM.fullmatch(stripped) or _UNIT_FORM.fullmatch(stripped)
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
        limit = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if limit <= timedelta():
        reason = "write a limit above zero with its units, such as 2h, 1d12h or 1-12:00:00"
        raise ResourcesInvalid(option="time", value=str(text), reason=reason)
    return limit


def format_walltime(limit: timedelta) -> str:
    """Write a time limit as sbatch takes it, to the second, rounded up.

    >>> format_walltime(timedelta(hours=30, minutes=5))
    '1-06:05:00'
    """
    seconds = math.ceil(limit.total_seconds())
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"


def _require_printable(value: object) -> object:
    if not isinstance(value, str) or not value or _UNPRINTABLE.search(value):
        raise ResourcesInvalid(option="a name", value=str(value), reason="it must be text on one line")
    return value


_TEXT = {"type": "string"}
Amount = Annotated[Memory, BeforeValidator(Memory.parse), PlainSerializer(str), WithJsonSchema(_TEXT)]
Walltime = Annotated[
    timedelta, BeforeValidator(parse_walltime), PlainSerializer(format_walltime), WithJsonSchema(_TEXT)
]
Name = Annotated[str, BeforeValidator(_require_printable)]
Gpus = Annotated[Name, BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)]
Count = Annotated[int, Field(ge=1)]


class Component(BaseModel):
    """What one job, or one component of a heterogeneous job, asks for; what is not said is left to the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    nodes: Count | None = Field(default=None, description="How many nodes.")
    tasks: Count | None = Field(default=None, description="How many tasks in all.")
    tasks_per_node: Count | None = Field(default=None, description="How many tasks on each node.")
    cpus: Count | None = Field(default=None, description="CPUs for each task.")
    memory: Amount | None = Field(default=None, description="Memory on each node, such as 16G.")
    memory_per_cpu: Amount | None = Field(default=None, description="Memory for each CPU, such as 2G.")
    gpus: Gpus | None = Field(default=None, description="GPUs in all: a number, or type:number.")
    gres: Name | None = Field(default=None, description="Generic resources on each node, such as gpu:a100:2.")
    time: Walltime | None = Field(default=None, description="The time limit, such as 2h or 1-12:00:00.")
    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    constraint: Name | None = None
    reservation: Name | None = None
    nodelist: Name | None = None
    exclude: Name | None = None
    licenses: Name | None = None
    exclusive: bool | Literal["user", "mcs", "topo"] = Field(default=False, description="Share nodes with nobody.")
    extra_sbatch: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Any other option of sbatch by its long name; true for one without a value."
    )

    @model_validator(mode="before")
    @classmethod
    def _require_known_names(cls, given: Any) -> Any:
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if name not in cls.model_fields:
                raise ResourcesInvalid(
                    option=name, value=str(value), reason=_did_you_mean(name, list(cls.model_fields))
                )
        return given

    @model_validator(mode="after")
    def _require_sense(self) -> Self:
        if self.memory is not None and self.memory_per_cpu is not None:
            reason = "it excludes memory; give one of the two"
            raise ResourcesInvalid(option="memory_per_cpu", value=str(self.memory_per_cpu), reason=reason)
        for name, value in self.extra_sbatch.items():
            _require_free(name, value, fields=list(type(self).model_fields))
        return self

    @property
    def options(self) -> tuple[str, ...]:
        """Every option as sbatch takes it, one word each; none is quoted yet."""
        option_of_field = {field: option for option, field in _FIELD_OF_OPTION.items()}
        words = []
        for name in Component.model_fields:
            value = getattr(self, name)
            if name not in ("exclusive", "extra_sbatch") and value is not None:
                written = format_walltime(value) if isinstance(value, timedelta) else str(value)
                words.append(f"--{option_of_field.get(name, name)}={written}")
        free: dict[str, str | int | bool] = {"exclusive": self.exclusive, **self.extra_sbatch}
        words += [
            f"--{name}" if value is True else f"--{name}={value}" for name, value in free.items() if value is not False
        ]
        return tuple(words)


class Resources(Component):
    """What a job asks for, and how it is to wait: what is said here of the whole is an option of no component."""

    warning: Walltime | None = Field(
        default=None, description="How long before the time limit the payload gets the signal USR1, such as 5m."
    )
    queue_limit: Walltime | None = Field(
        default=None, description="How long it may wait in the queue before it is given up, such as 6h."
    )
    dependency: Name | None = Field(
        default=None, description="Jobs that it waits for, as sbatch takes them, such as afterok:812:813."
    )
    components: tuple[Component, ...] = Field(
        default=(), description="The further components of a heterogeneous job; this is the first."
    )


def _did_you_mean(name: str, known: list[str]) -> str:
    option = name.strip("-").replace("_", "-")
    field = _FIELD_OF_OPTION.get(option)
    close = [field] if field else difflib.get_close_matches(name.strip("-").replace("-", "_"), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "any other option of sbatch goes into extra_sbatch"
    return f"there is no such option ({hint})"


def _require_free(name: str, value: object, *, fields: list[str]) -> None:
    option = f"extra_sbatch[{name!r}]"
    if _LONG_NAME.fullmatch(name) is None:
        reason = "write the long name of an option of sbatch, without dashes in front"
    elif name in _FIELD_OF_OPTION or name.replace("-", "_") in fields:
        reason = f"say {_FIELD_OF_OPTION.get(name, name.replace('-', '_'))} instead"
    elif any(each.startswith(name) for each in _RESERVED):
        # sbatch takes any beginning of a name for the whole of it.
        reason = "this option is set here, so that the job is found again"
    elif _UNPRINTABLE.search(str(value)):
        reason = "its value must be on one line"
    else:
        return
    raise ResourcesInvalid(option=option, value=str(value), reason=reason)
