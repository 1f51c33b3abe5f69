"""The flow that runs one script somewhere, and brings back what it made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from sluiceway.blocks.runtime_environment import runtime_named
from sluiceway.blocks.slurm import reach
from sluiceway.core.checkout import require_one_tree
from sluiceway.core.launch.registry import launcher_named
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs import listing
from sluiceway.core.runs import run as life
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.hosts import runs_here
from sluiceway.core.runs.place import parse
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest, inputs_of
from sluiceway.core.runs.retries import Retries
from sluiceway.core.runs.script_code import script_request
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks import output_page, peers, run, run_log

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow

    from sluiceway.core.runs.host import Attempt

_LAUNCH = ("launcher", "launcher_options", "resources")
_ASKED = ("script", "arguments", "inputs", "outputs", "environment", "parameters", "env")


async def cancel_its_job(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:  # noqa: ARG001 - Prefect's names
    """End the job of a flow run that was cancelled; a crash, or the end of a worker, leaves it alone."""
    asked: dict[str, Any] = {name: flow_run.parameters.get(name) for name in _ASKED}
    runs = runs_here()
    request = _launched(await _request(**asked), *map(flow_run.parameters.get, _LAUNCH))
    attempt, place = listing.attempt_of(runs, request.key)
    async with reach(parse(place), runs) as host:
        job = await host.find(attempt)
        if job is not None:
            await life.cancel(attempt, job, runs=runs, host=host)


@flow(log_prints=False, on_cancellation=[cancel_its_job])
async def run_script(  # noqa: PLR0913, PLR0917 - one per field of the form
    script: Path,
    arguments: list[str] | None = None,
    on: str = "local",
    resources: Resources | None = None,
    inputs: list[Path] | None = None,
    outputs: list[str] | None = None,
    environment: dict[str, str] | None = None,
    parameters: dict[str, Any] | None = None,
    out: Path = Path("data/output/run"),
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect gives parameters by name
    retries: int = 0,
    env: str | None = None,
    launcher: str | None = None,
    launcher_options: dict[str, Any] | None = None,
) -> RunReceipt:
    """Run a script, unless the same script has succeeded on the same inputs before.

    Args:
        script: The script, as a path on the machine where this flow runs; its first line may name its interpreter.
        arguments: What the script gets as $1, $2 and so on.
        on: Where it runs: `local`, or the name of a cluster.
        resources: What it asks of a cluster; what is not said is as the cluster's settings say.
        inputs: Files and folders for the script; it finds them in ../inputs, by their names.
        outputs: Files, folders or patterns that it makes in its working directory and that are to be kept; with
            `:table`, `:metric`, `:figure`, `:file` or `:folder` at the end, they are checked to be one; with `:left`,
            they stay where they were made.
        environment: Variables that it gets besides those of this process.
        parameters: Anything else that it can read in the file that SLUICEWAY_CONTEXT names.
        out: The folder for its outputs and for what it prints.
        fresh: Run it although it has succeeded before.
        retries: How often to try again where it lacked memory or time, a node failed, or it was preempted.
        env: The environment that it runs in, by the name of its block or of its table in clusters.toml.
        launcher: How it is started: `single`, in the tasks that the resources say, or beside `dask`, `ray` or `spark`.
        launcher_options: Options of the launcher, such as `threads`.

    Returns:
        How it ended, and where everything is; where it failed, the flow fails after that was kept.
    """
    require_one_tree(__file__)
    run_log.show_events()
    request = await _request(script, arguments, inputs, outputs, environment, parameters, env)
    request = _launched(request, launcher, launcher_options, resources)
    receipt = await peers.once(
        request.key, lambda: _lived(request, on, resources=resources, fresh=fresh, retries=retries)
    )
    await run.show_receipt(receipt)
    await output_page.ashow_provenance(receipt.folder)
    run.lay_out_results(receipt, out)
    return receipt.require_success()


async def _lived(request: RunRequest, on: str, *, resources: Resources | None, fresh: bool, retries: int) -> RunReceipt:
    """Run it, and again where it failed for no reason of its own."""
    staged = await run.stage_request(request, on, resources=resources, fresh=fresh)
    receipt = staged if isinstance(staged, RunReceipt) else await _finish(staged)
    while retries and not receipt.succeeded and await run.next_attempt(receipt, Retries(most=retries)):
        staged = await run.stage_request(request, on, resources=resources)
        receipt = staged if isinstance(staged, RunReceipt) else await _finish(staged)
    return receipt


def _launched(
    request: RunRequest, name: str | None, options: dict[str, Any] | None, resources: Resources | dict[str, Any] | None
) -> RunRequest:
    wish = Resources.model_validate(resources or {})
    return replace(request, launcher=launcher_named(name, options, resources=wish))


async def _finish(attempt: Attempt) -> RunReceipt:
    job = await run.submit_job(attempt)
    ending = await run.await_job(attempt, job)
    return await run.collect_receipt(attempt, ending)


async def _request(  # noqa: PLR0913, PLR0917 - as above
    script: Path,
    arguments: list[str] | None,
    inputs: list[Path] | None,
    outputs: list[str] | None,
    environment: dict[str, str] | None,
    parameters: dict[str, Any] | None,
    env: str | None,
) -> RunRequest:
    return await script_request(
        Path(script),
        shell=LocalShell(),
        arguments=tuple(arguments or ()),
        inputs=inputs_of(map(Path, inputs or ())),
        environment=environment or {},
        parameters=parameters or {},
        runtime=await runtime_named(env),
        **declaring(outputs or ()),
    )
