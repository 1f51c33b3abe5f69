"""The job variables of the slurm worker, and the run that a flow run becomes with them.

What may hold a secret, and what may change from one worker to the next, travels beside the request and is no part of
its key: a flow run that was submitted once is found again by whoever looks.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field, field_validator

from sluiceway.blocks import worker_reach
from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.core.environments.environment import EnvironmentFields, Kind, environment_with
from sluiceway.core.environments.runtime import runtime_of
from sluiceway.core.errors import PlaceUnusable, RequestInvalid
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import place
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.slurm.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import Flow, FlowRun, State, StateType, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.shell import Shell

UNREACHED = worker_reach.UNREACHED
"""The exit code of a job whose node cannot reach the Prefect API."""
_REACH = Path(worker_reach.__file__).read_text()
_COMMAND = ("sh", "../carried/begin.sh")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What a client on another machine needs; a server's settings, and paths, are this machine's own.
_PASSED_ON = ("PREFECT__", "PREFECT_API_", "PREFECT_CLIENT_", "PREFECT_LOGGING_", "PREFECT_RESULTS_", "PREFECT_TASK",
              "PREFECT_FLOWS_", "PREFECT_CLOUD_", "PREFECT_DEBUG_MODE")  # fmt: skip
_OWN = re.compile(r"(_PATH|_FILE|_DIR|_HOME|_STORAGE_BLOCK)$|^PREFECT_API_(DATABASE|SERVICES|BLOCKS)_")
# Prefect's lines reach the flow run by its API; the rest of what a job prints comes with the worker.
_QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
_LOOPBACK = re.compile(r"localhost|127\.[\d.]+|::1|0\.0\.0\.0")

_BEGIN = b"""\
set -eu
carried=$(cd ../carried && pwd)
. "$carried/variables.sh"
# It may hold secrets, and has been read.
rm -f -- "$carried/variables.sh" || :
python=$(command -v python3 || command -v python) || {
    echo "sluiceway: there is no Python here; name an environment that holds Prefect" >&2
    exit 127
}
"$python" -I "$carried/reach.py" "$PREFECT_API_URL"
[ -z "$worker_folder" ] || cd -- "$worker_folder"
exec sh -c "$worker_command"
"""

_CLUSTER = Field(
    title="Cluster",
    min_length=1,
    description="The cluster: the name of a Slurm cluster block, or of a table in clusters.toml where the worker runs.",
)
_RESOURCES = Field(
    default_factory=Resources,
    title="Resources",
    description="What the job asks of Slurm; what is left out is as the cluster's settings say.",
)
_ENVIRONMENT = Field(
    default="",
    title="Environment",
    description=(
        "What the flow run runs in, Prefect and the flow's packages included: the absolute path of an environment that "
        "is on the nodes, or the name of a Runtime environment block. Empty: what the nodes have."
    ),
)
_WORKING_DIR = Field(
    default="",
    title="Working directory",
    pattern=r"^(/[^\x00-\x1f]*)?$",
    description=(
        "Where the command starts on the nodes, as an absolute path: from there a deployment's relative path counts. "
        "Empty: a new folder for each job."
    ),
)
_API_URL = Field(
    default="",
    title="API URL",
    pattern=r"^(https?://\S+)?$",
    description=(
        "The Prefect API as the nodes reach it, such as http://head.cluster:4200/api. Empty: the worker's own. "
        "Each flow run needs it: 127.0.0.1 is another machine there."
    ),
)
_CHECK_API = Field(
    default=True,
    title="Check the API",
    description="Whether the login node has to reach the API before a job waits in the queue. Nodes look in any case.",
)
_CANCEL_GRACE = Field(
    default=30,
    ge=0,
    le=3600,
    title="Cancel grace (seconds)",
    description="How long a flow run that is cancelled may take to end by itself before its job is cancelled.",
)


class SlurmVariables(BaseVariables):
    """The job variables: what a deployment, or a single flow run, may say of its job."""

    cluster: str = _CLUSTER
    resources: Resources = _RESOURCES
    environment: str = _ENVIRONMENT
    working_dir: str = _WORKING_DIR
    api_url: str = _API_URL
    check_api: bool = _CHECK_API
    cancel_grace_seconds: int = _CANCEL_GRACE


class SlurmJobConfiguration(BaseJobConfiguration):
    """The job variables of one flow run, checked."""

    cluster: str = _CLUSTER
    resources: Resources = _RESOURCES
    environment: str = _ENVIRONMENT
    working_dir: str = _WORKING_DIR
    api_url: str = _API_URL
    check_api: bool = _CHECK_API
    cancel_grace_seconds: int = _CANCEL_GRACE

    @field_validator("env", mode="after")
    @classmethod
    def _require_names(cls, env: dict[str, str | None]) -> dict[str, str | None]:
        for name, value in env.items():
            if not _NAME.fullmatch(name) or "\0" in (value or ""):
                raise RequestInvalid(what="the variable", value=name, reason="no shell can set it")
        return env

    @field_validator("cluster", mode="after")
    @classmethod
    def _require_place(cls, cluster: str) -> str:
        if isinstance(place.parse(cluster), place.Dask):
            raise PlaceUnusable(place=cluster, reason="a flow run becomes a job, which Dask has none of")
        return cluster

    @property
    def where(self) -> place.Place:
        """The cluster, as runs name places; `local` is this machine."""
        return place.parse(self.cluster)

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Add what is known of the flow run, and where the nodes find the API."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        if self.api_url:
            self.env["PREFECT_API_URL"] = self.api_url
        self.env = {**_QUIET, **self.env}

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        ours = super()._base_environment()
        return {name: each for name, each in ours.items() if name.startswith(_PASSED_ON) and not _OWN.search(name)}

    @staticmethod
    def _base_flow_run_command() -> str:
        # Not by its script, whose first line names one Python on one machine.
        return "python3 -m prefect flow-run execute"


def template() -> dict[str, Any]:
    """Give the base job template: the form of a work pool, without what means nothing to Slurm."""
    variables = SlurmVariables.model_json_schema()
    variables.pop("title", None)
    configuration = SlurmJobConfiguration.json_template()
    for name in ("labels", "name"):
        variables["properties"].pop(name, None)
        configuration.pop(name, None)
    order = ["cluster", "environment", "resources", "api_url", "check_api", "env", "working_dir", "command"]
    known = variables["properties"]
    variables["properties"] = {name: known[name] for name in [*order, *(set(known) - set(order))]}
    return {"job_configuration": configuration, "variables": variables}


def known_request(flow_run: UUID, submission: UUID) -> RunRequest:
    """Give the request of a flow run as far as its end needs it: which flow run, and which time it was submitted."""
    told = {"flow_run": str(flow_run), "submission": str(submission)}
    return RunRequest(command=_COMMAND, parameters=told, title=f"flow run {flow_run}")


def submission_of(states: Sequence[State[Any]]) -> UUID:
    """Give the state with which a flow run was last handed to a worker: what one submission is known by."""
    ordered = sorted(states, key=lambda each: each.timestamp)
    before: list[StateType | None] = [None, *(each.type for each in ordered)]
    handed = [each for each, last in zip(ordered, before, strict=False) if each.is_pending() and last != each.type]
    return (handed or ordered)[-1].id


async def request_for(configuration: SlurmJobConfiguration, flow_run: UUID, submission: UUID) -> RunRequest:
    """Give the whole request: that, and what its job carries and runs in."""
    known = known_request(flow_run, submission)
    return RunRequest(
        command=known.command,
        parameters=known.parameters,
        title=f"{configuration.name}: {known.title}" if configuration.name else known.title,
        carried={
            "begin.sh": _BEGIN,
            "reach.py": _REACH.encode(),
            "variables.sh": _variables(configuration),
        },
        runtime=await _runtime(configuration.environment),
    )


def require_api(configuration: SlurmJobConfiguration) -> str:
    """Give the URL of the API as the nodes are to reach it, or raise PlaceUnusable where nobody knows one."""
    url = configuration.env.get("PREFECT_API_URL")
    if not url:
        reason = "the flow run's process there needs the URL of a Prefect API; set the job variable api_url"
        raise PlaceUnusable(place=configuration.cluster, reason=reason)
    return url


async def require_reached(url: str, *, cluster: str, shell: Shell, python: str) -> None:
    """Let a machine look whether it reaches the API, and raise PlaceUnusable with what to do where it does not."""
    done = await shell.run(Command.of(python, "-I", "-c", _REACH, url))
    if done.exit_code != UNREACHED:
        return
    said = done.stderr.decode(errors="replace").strip().removeprefix("sluiceway: ")
    raise PlaceUnusable(place=cluster, reason=f"on its login node, {said}. {advice(url)}")


def advice(url: str) -> str:
    """Say what to do where a machine does not reach the API."""
    host = urlsplit(url).hostname or ""
    own = f"{host} is each machine's own address. " if _LOOPBACK.fullmatch(host) else ""
    return (
        f"{own}Let the server listen on an address that the nodes reach (prefect server start --host 0.0.0.0), and "
        "set the job variable api_url to it; where only the nodes reach it, set check_api to false"
    )


async def _runtime(environment: str) -> Runtime | None:
    if not environment.startswith("/"):
        return await runtime_named(environment)
    fields = EnvironmentFields(kind=Kind.PATH, path=PurePosixPath(environment))
    return await runtime_of(environment_with("path", fields, where="the job variable"))


def _variables(configuration: SlurmJobConfiguration) -> bytes:
    lines = [
        f"export {name}={shlex.quote(each)}" for name, each in sorted(configuration.env.items()) if each is not None
    ]
    lines.append(f"worker_folder={shlex.quote(configuration.working_dir)}")
    lines.append(f"worker_command={shlex.quote(configuration.command or '')}")
    return "\n".join([*lines, ""]).encode(errors="surrogateescape")
