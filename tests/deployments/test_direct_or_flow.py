"""Which server a verb's flow run goes to: the one that is configured, one that is up, one of its own, or none."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from sluiceway.core.errors import Unreachable
from sluiceway.deployments.direct_or_flow import UP, Server, connected, server
from tests.conftest import User

NOBODY = "http://127.0.0.1:9/api"


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def alive() -> Iterator[str]:
    """A server that answers, and is not Prefect's: whoever asks for more than its health finds out."""
    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/api"
        serving.shutdown()
        thread.join()


@pytest.fixture
def home(user: User) -> User:
    user.export("SLUICEWAY_HOME", str(user.folder))
    return user


def test_without_any_server_a_verb_works_directly(home: User) -> None:
    assert server(flow=False) is None


def test_a_configured_server_comes_first(home: User, alive: str) -> None:
    home.write(UP, json.dumps({"api": alive}))
    home.export("PREFECT_API_URL", NOBODY)
    assert server(flow=False) == Server(api=NOBODY)


def test_a_server_that_is_up_is_used(home: User, alive: str) -> None:
    home.write(UP, json.dumps({"api": alive}))
    assert server(flow=False) == server(flow=True) == Server(api=alive)
    assert Server(api=alive).pages == alive.removesuffix("/api")


@pytest.mark.parametrize("left", [json.dumps({"api": NOBODY}), '{"api": ', "[]", "{}", '{"api": "http://[/api"}'])
def test_one_that_is_gone_is_passed_over_with_a_remark(
    home: User, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home.write(UP, left)
    assert server(flow=False) is None
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert str(home.folder / UP) in said.err


def test_a_flow_run_that_is_asked_for_has_a_server_of_its_own(home: User) -> None:
    found = server(flow=True)
    assert found is not None
    assert found.is_ours
    assert found.api.startswith("http://127.0.0.1:")


def test_a_configured_server_that_is_gone_is_an_error_that_names_it() -> None:
    with pytest.raises(Unreachable, match=NOBODY), connected(Server(api=NOBODY)):
        pass
