"""What a Prefect server does by itself for our flow runs: end those in name only, start again what crashed, tell."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from sluiceway.tasks.provenance import FAILED as VERIFY_FAILED

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.events.schemas.automations import Automation

# A process tells every three minutes that it lives, unless its worker is set otherwise.
_SILENCE: Final = timedelta(minutes=10)
_BREATH: Final = timedelta(hours=1)
_OURS: Final = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.sluiceway"}
_REFRESH: Final = {"prefect.resource.role": "deployment", "prefect.resource.name": "refresh"}
_RUNS: Final = {"prefect.resource.id": "prefect.flow-run.*"}
_RUN: Final = "prefect.flow-run"


def automations(notice: UUID | None, *, silence: timedelta = _SILENCE) -> list[AutomationCore]:
    """Give every automation of ours.

    Args:
        notice: The notification block to tell; without one, what would be told stands in the server's events only.
        silence: After so long without a sign of life, a flow run of ours has crashed.
    """
    return [_zombies(silence), _again(), _verify_failed(notice), _refresh_failed(notice)]


def changed(known: Automation, **fields: Any) -> AutomationCore:
    """Give an automation of the server's with other values of these fields, as the server takes it back."""
    # Of what it gives, it refuses these; and Prefect's client sends nothing that was not set by name.
    sent = known.model_copy(update=fields).model_dump(mode="json", exclude={"id", "owner_resource"})
    return AutomationCore.model_validate(sent)


def _zombies(silence: timedelta) -> AutomationCore:
    return AutomationCore(
        name="sluiceway: a run in name only has crashed",
        description="A flow run whose process has given no sign of life is marked as crashed.",
        trigger=EventTrigger(
            match=_RUNS,
            match_related=_OURS,
            after={f"{_RUN}.heartbeat"},
            # Whatever it says, it lives; a run that waits for a peer says so, too.
            expect={f"{_RUN}.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"its process has given no sign of life for {silence}; the same run again goes on from there",
            )
        ],
    )


def _again() -> AutomationCore:
    return AutomationCore(
        name="sluiceway: a refresh that crashed starts again",
        description="It goes on from where the crashed one was; once an hour at most, for what crashes each time.",
        trigger=_refresh_is("Crashed", within=_BREATH),
        actions=[RunDeployment(source="inferred")],
    )


def _verify_failed(notice: UUID | None) -> AutomationCore:
    return AutomationCore(
        name="sluiceway: an output is not what its manifest says",
        description="Told once an hour at most; the run's page lists every finding.",
        trigger=EventTrigger(expect={VERIFY_FAILED}, posture=Posture.Reactive, threshold=1, within=_BREATH),
        actions=[_tell(notice, "sluiceway: verification failed", "{{ event.payload.said }}")],
    )


def _refresh_failed(notice: UUID | None) -> AutomationCore:
    body = "{{ flow_run.name }} is {{ flow_run.state.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
    return AutomationCore(
        name="sluiceway: a refresh failed",
        description="Nothing was published by it; its page says why.",
        trigger=_refresh_is("Failed", "TimedOut", "Crashed"),
        actions=[_tell(notice, "sluiceway: a refresh failed", body)],
    )


def _refresh_is(*states: str, within: timedelta = timedelta(0)) -> EventTrigger:
    return EventTrigger(
        match=_RUNS,
        match_related=[_REFRESH, _OURS],
        expect={f"{_RUN}.{state}" for state in states},
        for_each={"prefect.resource.id"} if not within else set(),
        posture=Posture.Reactive,
        threshold=1,
        within=within,
    )


def _tell(notice: UUID | None, subject: str, body: str) -> Any:
    if notice is None:
        return DoNothing()
    return SendNotification(block_document_id=notice, subject=subject, body=body)
