"""Tells a Prefect server of all that is ours: block types, a work pool, examples of blocks, deployments, automations.

Whatever is there already stays as it is where it is the user's to change (blocks, the pool's limit, schedules,
automations), and follows this copy of sluiceway where it is ours (block schemas, what deployments run and offer). So
doing it twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from sluiceway.deployments.automations import automations, changed
from sluiceway.deployments.declared import declared
from sluiceway.deployments.examples import block_types, examples

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path
    from uuid import UUID

    from prefect.blocks.core import Block
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore
    from prefect.flows import Flow

    from sluiceway.deployments.declared import Declared

POOL: Final = "sluiceway"
"""The work pool whose workers run flows as processes."""
_MOST_AT_ONCE: Final = 10


class Change(StrEnum):
    """What became of one thing."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One thing that the server knows now."""

    kind: str
    name: str
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user may choose.

    Args:
        folder: Where flow runs start: relative paths of theirs begin here.
        notify: The notification block that automations tell, such as `slack-webhook/ops`; none tells nobody.
    """

    folder: Path
    notify: str | None = None


async def register(wishes: Wishes) -> list[Registered]:
    """Tell the server that settings name of all that is ours, and say what became of each thing."""
    async with get_client() as client:
        done = [await _block_type(client, each) for each in block_types()]
        done += [await _example(client, name, block) for name, block in examples().items()]
        done.append(await _pool(client))
        done += [await _deployment(client, each, wishes) for each in declared()]
        notice = None if wishes.notify is None else await _block_id(client, wishes.notify)
        done += [await _automation(client, each, told=notice is not None) for each in automations(notice)]
    return done


async def _block_type(client: PrefectClient, block: type[Block]) -> Registered:
    name = block.get_block_type_slug()
    known = await _is_there(client.read_block_type_by_slug(name))
    checksum = block._calculate_schema_checksum()  # noqa: SLF001 - there is no other way to ask
    same = known and await _is_there(client.read_block_schema_by_checksum(checksum))
    if not same:
        await block.aregister_type_and_schema(client=client)
    return Registered(kind="block type", name=name, change=_change(known=known, same=same))


async def _is_there(asked: Awaitable[object]) -> bool:
    try:
        await asked
    except ObjectNotFound:
        return False
    return True


async def _example(client: PrefectClient, name: str, block: Block) -> Registered:
    slug = block.get_block_type_slug()
    known = await _is_there(client.read_block_document_by_name(name, slug))
    if not known:
        await block.asave(name, client=client)
    return Registered(kind="block", name=f"{slug}/{name}", change=_change(known=known, same=True))


async def _pool(client: PrefectClient) -> Registered:
    known = await _is_there(client.read_work_pool(POOL))
    if not known:
        pool = WorkPoolCreate(
            name=POOL,
            type=ProcessWorker.type,
            description="Flow runs as processes of the machine where the worker runs.",
            base_job_template=ProcessWorker.get_default_base_job_template(),
            concurrency_limit=_MOST_AT_ONCE,
        )
        await client.create_work_pool(pool)
    return Registered(kind="work pool", name=POOL, change=_change(known=known, same=True))


async def _deployment(client: PrefectClient, wanted: Declared, wishes: Wishes) -> Registered:
    flow: Flow[..., Any] = load_flow_from_entrypoint(wanted.module, use_placeholder_flow=False)
    name, fields = f"{flow.name}/{wanted.name}", _fields(wanted, flow, wishes)
    try:
        known = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        flow_id = await client.create_flow_from_name(flow.name)
        schedules = list(wanted.schedules)
        await client.create_deployment(flow_id=flow_id, name=wanted.name, schedules=schedules, **fields)
        return Registered(kind="deployment", name=name, change=Change.CREATED)
    same = _is_as_wanted(known, fields)
    if not same:
        await client.update_deployment(known.id, DeploymentUpdate(**fields))
    return Registered(kind="deployment", name=name, change=_change(known=True, same=same))


def _fields(wanted: Declared, flow: Flow[..., Any], wishes: Wishes) -> dict[str, Any]:
    """Give what a deployment is made of, but for its schedules: these are the user's once they are there."""
    options = None if wanted.limit is None else ConcurrencyOptions(collision_strategy=wanted.strategy)
    return {
        "entrypoint": wanted.module,
        "description": wanted.description,
        "tags": sorted(wanted.tags),
        "work_pool_name": wanted.pool,
        "work_queue_name": wanted.queue,
        "job_variables": {"working_dir": str(wishes.folder), **wanted.job_variables},
        "concurrency_limit": wanted.limit,
        "concurrency_options": options,
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        # The flow is found by its module, wherever a worker has sluiceway.
        "pull_steps": [],
    }


def _is_as_wanted(known: DeploymentResponse, fields: dict[str, Any]) -> bool:
    limit = known.global_concurrency_limit
    there = {
        **{name: getattr(known, name) for name in fields},
        "concurrency_limit": None if limit is None else limit.limit,
        "tags": sorted(known.tags),
        "pull_steps": known.pull_steps or [],
    }
    return there == fields


async def _automation(client: PrefectClient, wanted: AutomationCore, *, told: bool) -> Registered:
    known = await client.read_automations_by_name(wanted.name)
    if not known:
        await client.create_automation(wanted)
        return Registered(kind="automation", name=wanted.name, change=Change.CREATED)
    # Somebody may have given it another action; only who names a block to tell asks for this one.
    same = not told or known[0].actions == wanted.actions
    if not same:
        await client.update_automation(known[0].id, changed(known[0], actions=wanted.actions))
    return Registered(kind="automation", name=wanted.name, change=_change(known=True, same=same))


async def _block_id(client: PrefectClient, block: str) -> UUID:
    slug, _, name = block.partition("/")
    document = await client.read_block_document_by_name(name, slug)
    return document.id


def _change(*, known: bool, same: bool) -> Change:
    if not known:
        return Change.CREATED
    return Change.UNCHANGED if same else Change.CHANGED
