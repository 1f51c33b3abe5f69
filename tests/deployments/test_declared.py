"""prefect.yaml is the one list of deployments, and what it declares is there."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from sluiceway.core.slurm.resources import Resources
from sluiceway.deployments.automations import automations, changed
from sluiceway.deployments.declared import FILE, Declared, declared
from sluiceway.deployments.examples import block_types, examples
from tests.conftest import ROOT

DECLARED = declared()


def test_it_is_the_file_that_prefect_deploy_reads() -> None:
    assert FILE.resolve() == ROOT / "prefect.yaml"
    assert {each.name for each in DECLARED} == {"refresh", "score-reference", "run-script", "verify", "reconcile", "gc"}


@pytest.mark.parametrize("deployment", DECLARED, ids=lambda each: each.name)
def test_each_flow_is_found_by_its_module_and_each_field_of_its_form_says_what_it_is(deployment: Declared) -> None:
    flow: Flow[..., object] = load_flow_from_entrypoint(deployment.module, use_placeholder_flow=False)
    schema = parameter_schema(flow)
    # What is a model of its own is described field by field.
    models = [schema.definitions["RefreshOptions"]["properties"]] if deployment.name == "refresh" else []
    fields = [each for form in (schema.properties, *models) for each in form.values() if "$ref" not in str(each)]
    assert all(each.get("description") for each in fields)


@pytest.mark.parametrize("deployment", DECLARED, ids=lambda each: each.name)
def test_each_deployment_carries_the_tag_by_which_automations_know_ours(deployment: Declared) -> None:
    assert "sluiceway" in deployment.tags
    assert deployment.pool == "sluiceway"


def test_never_are_two_refreshes_at_once_and_the_second_waits() -> None:
    (refresh,) = [each for each in DECLARED if each.name == "refresh"]
    assert (refresh.limit, refresh.strategy) == (1, ConcurrencyLimitStrategy.ENQUEUE)
    assert {each.slug: each.active for each in refresh.schedules} == {"nightly": True, "open": False}


def test_examples_hold_no_secret_and_are_of_types_of_ours() -> None:
    ours = set(block_types())
    for block in examples().values():
        assert type(block) in ours
        assert "**********" not in str(block.model_dump(mode="json"))


def test_a_sign_of_life_may_come_late_before_a_run_counts_as_crashed() -> None:
    zombies = automations(None)[0].trigger
    assert isinstance(zombies, EventTrigger)
    assert zombies.within >= 3 * timedelta(seconds=180)


@pytest.mark.parametrize("wanted", automations(uuid4()), ids=lambda each: each.name)
def test_an_automation_that_is_changed_goes_back_without_what_the_server_alone_says(wanted: AutomationCore) -> None:
    known = Automation(id=uuid4(), **wanted.model_dump())
    # As Prefect's client sends it.
    sent = changed(known, enabled=False).model_dump(mode="json", exclude_unset=True)
    assert set(sent) == set(AutomationCore.model_fields) - {"owner_resource"}
    # As values, since what is expected is a set, and JSON lists it in any order.
    assert AutomationCore.model_validate(sent) == wanted.model_copy(update={"enabled": False})


def test_the_pool_of_slurm_jobs_that_stands_there_as_an_example_asks_for_what_a_cluster_takes() -> None:
    cluster = yaml.safe_load(FILE.read_text())["definitions"]["pools"]["cluster"]
    assert Resources.model_validate(cluster["job_variables"]["resources"]).cpus == 4
