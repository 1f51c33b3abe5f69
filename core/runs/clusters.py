"""What is known of a cluster: how it is reached, where runs lie there, and what jobs ask for unless told otherwise.

The same fields make a table of clusters.toml in sluiceway's home and a Prefect block. In the file, a secret stands as
a reference, `{ env = "NAME" }` or `{ file = "PATH" }`, and never as itself.
"""

from __future__ import annotations

import difflib
import tomllib
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from sluiceway.core import settings
from sluiceway.core.errors import ClusterInvalid, PlaceUnusable
from sluiceway.core.remote.login import Login
from sluiceway.core.slurm.resources import Component, Resources
from sluiceway.core.slurm.watcher import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE = "clusters.toml"
_TABLES = ("clusters", "environments")
_SECRETS = ("password", "passphrase")
_HERE = Annotated[Path, AfterValidator(Path.expanduser)]


class Way(BaseModel):
    """How one machine is reached over SSH; what is left out comes from ssh_config, as it does for ssh itself."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    port: int | None = Field(default=None, ge=1, le=65535, description="The port of its SSH server.")
    user: str | None = Field(default=None, description="The user's name there.")
    keys: tuple[_HERE, ...] = Field(default=(), description="Files of private keys on this machine.")
    certificates: tuple[_HERE, ...] = Field(default=(), description="Files of certificates for these keys.")
    passphrase: SecretStr | None = Field(default=None, description="What opens the keys.")
    password: SecretStr | None = Field(default=None, description="The password of the login.")
    use_agent: bool = Field(default=True, description="Whether to ask the ssh agent for keys.")
    known_hosts: _HERE | None = Field(default=None, description="The file that holds the machine's key.")
    ssh_config: _HERE | None = Field(default=None, description="An ssh_config other than the user's own.")

    def login(self, host: str, via: Login | None) -> Login:
        """Give the way to that machine, through others."""
        return Login(host=host, via=via, **{name: getattr(self, name) for name in Way.model_fields})


class Jump(Way):
    """A machine on the way to a cluster."""

    host: str = Field(description="The machine.")


class ClusterFields(Way):
    """Every field of a cluster."""

    host: str | None = Field(
        default=None, description="The login node; left out where this machine itself has Slurm's commands."
    )
    questions: bool = Field(
        default=False, description="Whether a login asks for a code or the like, which somebody at a terminal answers."
    )
    jumps: tuple[Jump, ...] = Field(default=(), description="Machines to go through, the first to connect to first.")
    base: PurePosixPath = Field(
        default=PurePosixPath("sluiceway"),
        description="The folder for runs there, which every node sees; a relative one begins in the user's home.",
    )
    python: str = Field(default="python3", description="A Python there, 3.6 or newer, that runs beside each job.")
    panels: dict[str, str] = Field(
        default_factory=dict,
        description="Where panels lie there, by the folder or prefix they have here; left out, it is the same.",
    )
    slurm_cluster: str = Field(default="", description="One cluster among several behind the same commands (-M).")
    resources: Resources = Field(default_factory=Resources, description="What jobs ask for unless told otherwise.")
    most_jobs: int | None = Field(
        default=None, ge=1, description="How many jobs of this home may wait and run there at once, over all flows."
    )
    submits_per_minute: float | None = Field(default=None, gt=0, description="How many submits a minute may bring.")
    dask_interface: str | None = Field(
        default=None, description="The network by which Dask on the login node and its workers reach each other: ib0."
    )
    busy_poll_seconds: float = Field(default=2, ge=0.2, description="How often to ask while something happens.")
    longest_poll_seconds: float = Field(default=60, ge=1, description="How rarely to ask while nothing does.")


class ClusterSettings(ClusterFields):
    """A cluster, as it was set up."""

    model_config = ConfigDict(frozen=True)

    @property
    def way(self) -> Login | None:
        """How its login node is reached, through which machines; none where it is this machine."""
        via = None
        for each in self.jumps:
            via = each.login(each.host, via)
        return None if self.host is None else self.login(self.host, via)

    @property
    def pace(self) -> Pace:
        """How often to ask for jobs."""
        busy, longest = timedelta(seconds=self.busy_poll_seconds), timedelta(seconds=self.longest_poll_seconds)
        return Pace(first=min(Pace().first, busy), busy=busy, longest=max(busy, longest))

    def resources_for(self, wish: Resources) -> Resources:
        """Give what a job asks for: the wish, and where it says nothing, what this cluster's jobs ask for.

        >>> usual = Resources(partition="long", memory_per_cpu="2G", time="1h")
        >>> ClusterSettings(resources=usual).resources_for(Resources(memory="9G")).options
        ('--mem=9216M', '--time=0-01:00:00', '--partition=long')
        """
        usual = self.resources.model_dump(exclude_unset=True, exclude_none=True)
        merged = Resources.model_validate(_over(usual, wish))
        usual = {name: value for name, value in usual.items() if name in Component.model_fields}
        components = tuple(Component.model_validate(_over(usual, each)) for each in merged.components)
        return merged.model_copy(update={"components": components}) if components else merged


def _over(usual: dict[str, Any], wish: Component) -> dict[str, Any]:
    """Give a wish, and what is usual where it says nothing."""
    asked = wish.model_dump(exclude_unset=True, exclude_none=True)
    if {"memory", "memory_per_cpu"} & asked.keys():
        usual = {name: value for name, value in usual.items() if name not in {"memory", "memory_per_cpu"}}
    extra = {**usual.get("extra_sbatch", {}), **asked.get("extra_sbatch", {})}
    return {**usual, **asked, "extra_sbatch": extra}


def cluster_in_file(name: str, file: Path) -> ClusterSettings:
    """Read a cluster of clusters.toml; raise PlaceUnusable where it is not there, ClusterInvalid where it is wrong."""
    try:
        document = tomllib.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise ClusterInvalid(name=name, where=str(file), problems=(str(error),)) from error
    strangers = tuple(_unknown(each, _TABLES) for each in document if each not in _TABLES)
    if strangers:
        raise ClusterInvalid(name=name, where=str(file), problems=strangers)
    known = document.get("clusters", {})
    if name not in known:
        raise PlaceUnusable(place=name, reason=f"no cluster of this name is in {str(file)!r}{_hint(name, known)}")
    return cluster_of(name, known[name], where=str(file))


def cluster_of(name: str, fields: Mapping[str, Any], *, where: str) -> ClusterSettings:
    """Make a cluster of a table of the file, or raise ClusterInvalid naming everything that is wrong with it."""
    try:
        return ClusterSettings.model_validate(_resolved(name, fields, where=where))
    except ValidationError as error:
        problems = tuple(_problem(each["loc"], each["type"], each["msg"]) for each in error.errors(include_input=False))
        raise ClusterInvalid(name=name, where=where, problems=problems) from error


def _resolved(name: str, fields: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Replace references to secrets by the secrets, here and in the machines on the way."""
    found = dict(fields)
    for secret in _SECRETS:
        if secret in found:
            try:
                found[secret] = _secret(found[secret])
            except (ValueError, OSError) as error:
                raise ClusterInvalid(name=name, where=where, problems=(f"{secret}: {error}",)) from error
    if isinstance(found.get("jumps"), list):
        jumps = found["jumps"]
        found["jumps"] = [_resolved(name, each, where=where) if isinstance(each, dict) else each for each in jumps]
    return found


def _secret(reference: object) -> SecretStr:
    match reference:
        case {"env": str(variable), **rest} if not rest:
            value = settings.variable(variable)
            if value is None:
                raise ValueError(f"the variable {variable} is not set")
            return SecretStr(value)
        case {"file": str(path), **rest} if not rest:
            return SecretStr(Path(path).expanduser().read_text().rstrip("\n"))
        case _:
            raise ValueError('write where it is, { env = "NAME" } or { file = "PATH" }, and not the secret itself')


def _problem(place: tuple[int | str, ...], kind: str, said: str) -> str:
    *outer, last = map(str, place)
    where = "".join(f"{each}." for each in outer)
    if kind == "extra_forbidden":
        return f"{where}{_unknown(last, (Jump if 'jumps' in outer else ClusterFields).model_fields)}"
    return f"{where}{last}: {said}"


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"{name}: there is no such field{_hint(name, known)}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
