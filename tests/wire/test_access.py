"""One way to a cluster in a process: opened once, shared, closed with its loop, and logged in to by somebody once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.errors import AuthenticationFailed, CommandFailed
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.access import access_to, answering
from sluiceway.core.runs.clusters import ClusterSettings
from sluiceway.core.slurm.resources import Resources
from tests.wire.login_node import CODE, PASSWORD, LoginNode

if TYPE_CHECKING:
    from sluiceway.core.remote.login import Challenge


def settings(node: LoginNode, **fields: Any) -> ClusterSettings:
    login = node.login
    known = {name: getattr(login, name) for name in ("host", "port", "user", "keys", "known_hosts", "ssh_config")}
    return ClusterSettings(**{**known, "use_agent": False, "base": node.home / "base", **fields})


async def test_everybody_shares_one_connection_whatever_they_ask_for(login_node: LoginNode) -> None:
    """Red on: core/runs/access.py: `if key not in known:` -> `if True:`."""
    asked = [settings(login_node, resources=Resources(cpus=cpus)) for cpus in (1, 2, 3)]
    opened = await asyncio.gather(*(access_to(each, SystemClock()) for each in asked))
    assert len({id(each.shell) for each in opened}) == len({id(each.watcher) for each in opened}) == 1
    assert [each.settings.resources.cpus for each in opened] == [1, 2, 3]
    assert [str(each.base) for each in opened] == [str(login_node.home / "base")] * 3


async def test_the_connection_ends_with_the_loop_that_it_was_opened_in(login_node: LoginNode) -> None:
    """Red on: core/runs/access.py: `closing = asyncio.create_task(_close_in_the_end(shell))` -> `closing =
    asyncio.create_task(asyncio.sleep(0))`.
    """

    async def open_it() -> None:
        await access_to(settings(login_node), SystemClock())

    await asyncio.to_thread(asyncio.run, open_it())
    async with asyncio.timeout(30):
        while not all(each.is_closed() for each in login_node.connections):
            await asyncio.sleep(0.01)


async def test_a_base_that_cannot_be_made_is_told_and_the_next_try_begins_anew(login_node: LoginNode) -> None:
    (login_node.home / "base").write_text("a file")
    with pytest.raises(CommandFailed):
        await access_to(settings(login_node), SystemClock())
    (login_node.home / "base").unlink()
    assert (await access_to(settings(login_node), SystemClock())).base.name == "base"


async def test_who_sits_at_the_terminal_answers_what_the_login_asks_once(login_node: LoginNode) -> None:
    asked: list[Challenge] = []

    async def answer(challenge: Challenge) -> Sequence[str]:
        asked.append(challenge)
        return [PASSWORD, CODE]

    login_node.wants_code = True
    token = answering.set(answer)
    try:
        known = settings(login_node, questions=True)
        for _ in range(3):
            await (await access_to(known, SystemClock())).shell.run(Command.of("true"))
    finally:
        answering.reset(token)
    assert len(asked) == 1


async def test_nobody_is_asked_where_the_cluster_asks_nothing(login_node: LoginNode) -> None:
    async def answer(challenge: Challenge) -> Sequence[str]:
        raise AssertionError(challenge)

    login_node.wants_code = True
    token = answering.set(answer)
    try:
        with pytest.raises(AuthenticationFailed):
            await access_to(settings(login_node), SystemClock())
    finally:
        answering.reset(token)
