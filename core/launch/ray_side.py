"""Starts Ray on every node of the job, and the payload once all of them have joined.

It is started as `python3 -I ray_side.py OPTIONS PAYLOAD...` by a Python whose environment has Ray. On each node that
Python runs it again, as `ray_side.py --node ORDER FACTS`, which makes Ray's own options of what there is on that node
and goes on as `ray start --block`: when one of Ray's processes ends there, it ends the others and itself.

The payload gets RAY_ADDRESS, and `ray.init()` finds the cluster by itself. `ray stop` is never called: it would end
whatever Ray the user has on these nodes.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Set

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.addresses import bracketed, page
    from sluiceway.core.launch.allocation import Node
    from sluiceway.core.launch.children import Failed
    from sluiceway.core.launch.nodeside import Engine, launch, write_whole
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from addresses import bracketed, page
    from allocation import Node
    from children import Failed
    from nodeside import Engine, launch, write_whole

_LOGS, _SEEN, _FACTS = "r/session_latest/logs", ".ray-nodes.json", ("cpus", "memory", "gpus", "tmp", "port0")
_OF_EACH = (
    "--object-manager-port", "--node-manager-port", "--dashboard-agent-listen-port", "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port", "--metrics-export-port",
)  # fmt: skip
_CLIENT = "--ray-client-server-port"
_OF_HEAD = ("--port", "--dashboard-port", _CLIENT)
_METRICS = ("DASHBOARD_METRIC_PORT", "AUTOSCALER_METRIC_PORT")
_PORTS, _OPTIONS = len(_OF_EACH), len(_OF_EACH + _OF_HEAD)
_ALIVE, _STORE_SHARE, _SMALLEST_STORE = 0, 0.3, 75 << 20
_ASK_SECONDS, _PAUSE_SECONDS, _GRACE_SECONDS = 5, 0.3, 2.0
# What Ray says when its processes on a node, or those of the head, take more than half a minute to come.
_LATE = ("timed out during startup", "No node info found for head node")
_TOLD = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Who may connect is who reaches the port, as with the other engines, whatever token the user has elsewhere.
    "RAY_AUTH_MODE": "disabled",
    # The payload is over when it ends: nobody is served any more.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


def main(words: List[str]) -> int:
    """Run the payload beside a Ray cluster, or be a node of that; the exit code is the payload's."""
    if words[1] == "--node":
        return be_a_node(json.loads(words[2]), dict(zip(_FACTS, words[3:])))  # noqa: B905 - Python 3.6
    return launch("ray", start, words[1:])


def start(engine: Engine, options: Dict[str, Any]) -> Mapping[str, str]:
    """Start the cluster, wait for all of it, and give what tells the payload where it is."""
    if find_spec("ray") is None:
        raise Failed("%s has no Ray: name an environment that has the package ray" % sys.executable)
    # Both come with ray[default], and Ray does not start where it is told of ports for what it lacks.
    options["dashboard"] = options["dashboard"] and find_spec("aiohttp_cors") is not None
    options["client"] = find_spec("grpc") is not None
    seen = os.path.join(engine.folder, _SEEN)
    # Its tasks end within a second; the rest of it takes one each, one after another, and has nothing to write.
    engine.grace_seconds = _GRACE_SECONDS
    head, *others = addressed(engine.nodes)
    metrics = {name: "{port%d}" % number for number, name in enumerate(_METRICS, start=_OPTIONS)}
    order = dict(options, seen=seen, count=len(others) + 1)
    first = engine.start(
        head, _node(head, order), env=dict(_TOLD, **metrics), ports=_OPTIONS + len(_METRICS), sync=_LOGS,
        is_vital=True, is_child=True,
    )  # fmt: skip
    first.works = True
    facts = engine.facts(first)
    address, dashboard, client = ["%s:%d" % (bracketed(head.address), facts["port%d" % n]) for n in range(3)]
    for node in others:
        engine.start(node, _node(node, dict(order, address=address)), env=_TOLD, ports=_PORTS, sync=_LOGS)
    names = {node.name for node in engine.nodes}
    shown = "http://" + dashboard if options["dashboard"] else ""
    engine.ready(lambda: _absent(names, seen) or _unshown(shown), options["ready_seconds"])
    os.remove(seen)
    variables = dict(_TOLD, RAY_ADDRESS=address, **({"RAY_API_SERVER_ADDRESS": shown} if shown else {}))
    engine.connect(address, shown, client="ray://" + client if options["client"] else "", variables=variables)
    return variables


def addressed(nodes: List[Node]) -> List[Node]:
    """Give nodes that this machine plays an address each, which Ray takes for that of another machine."""
    return [
        node._replace(address="127.0.0.%d" % number) if node.address == "127.0.0.1" else node
        for number, node in enumerate(nodes, start=2)
    ]


def _node(node: Node, order: Dict[str, Any]) -> List[str]:
    told = json.dumps(dict(order, name=node.name, host=node.address))
    return [sys.executable, os.path.abspath(__file__), "--node", told] + ["{%s}" % each for each in _FACTS]


def be_a_node(order: Dict[str, Any], facts: Dict[str, str]) -> int:
    """Run Ray here until it ends, and where it came too late for its own patience, but not for ours, once more."""
    # Ray has modules of its own, and ours are not to be found in their place.
    sys.path[:] = [each for each in sys.path if each != os.path.dirname(os.path.abspath(__file__))]
    deadline, late = time.monotonic() + order["ready_seconds"], os.path.join(facts["tmp"], "late")
    while True:
        child = os.fork()
        if child == 0:
            return _run(order, facts, late)
        status = os.waitpid(child, 0)[1]
        if not os.path.exists(late) or time.monotonic() > deadline:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        os.remove(late)


def _run(order: Dict[str, Any], facts: Dict[str, str], late: str) -> int:
    """Be the head, or a worker as soon as the head answers."""
    # By name: what this is a part of never needs Ray, only who runs this does.
    ray = import_module("ray.scripts.scripts")
    if "address" in order:
        _wait_for(order["address"], order["ready_seconds"])
    else:
        address = "%s:%s" % (bracketed(order["host"]), facts["port0"])
        threading.Thread(target=_watch, args=(address, order["seen"], order["count"]), daemon=True).start()

    def note(kind: Any, error: BaseException, trace: Any) -> None:
        if any(each in str(error) for each in _LATE):
            open(late, "w").close()
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = note
    sys.argv = ["ray"] + words_for(order, facts, _room("/dev/shm"))  # noqa: S108 - where Ray keeps its objects
    return int(ray.main() or 0)


def words_for(order: Dict[str, Any], facts: Dict[str, str], room: int) -> List[str]:
    """Give the words of `ray start` for this node; `room` are the bytes that its shared memory has left."""
    memory = int(facts["memory"])
    store = order["object_store"] or max(min(int(memory * _STORE_SHARE), room), _SMALLEST_STORE)
    first = int(facts["port0"])
    names = _OF_EACH if "address" in order else _OF_HEAD + _OF_EACH
    words = ["start", "--block", "--disable-usage-stats", "--log-style=record", "--log-color=false"]
    # Ray opens its folder to everybody, which one inside of ours is not.
    words += ["--node-ip-address", order["host"], "--node-name", order["name"], "--temp-dir", facts["tmp"] + "/r"]
    words += ["--num-cpus", facts["cpus"] if order["cpus"] is None else str(order["cpus"])]
    words += ["--num-gpus", facts["gpus"], "--resources", json.dumps(order["resources"])]
    words += ["--memory", str(max(memory - store, 1)), "--object-store-memory", str(store)]
    # Of all ports only those of Ray's own worker processes are any that are free: nobody knows how many they will be.
    words += ["--min-worker-port", "0", "--max-worker-port", "0"]
    for number, name in enumerate(names):
        if name != _CLIENT or order["client"]:
            words += [name, str(first + number)]
    if "address" in order:
        return words + ["--address", order["address"]]
    shown = "true" if order["dashboard"] else "false"
    return words + ["--head", "--dashboard-host", order["host"], "--include-dashboard", shown]


def _room(place: str) -> int:
    with contextlib.suppress(OSError):
        found = os.statvfs(place)
        return found.f_bavail * found.f_frsize
    return 0


def _wait_for(address: str, seconds: float) -> None:
    """Wait until somebody listens there; then, or when it is too late, Ray itself may try."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_SECONDS).close()
            return
        time.sleep(_PAUSE_SECONDS)


def _watch(address: str, place: str, count: int) -> None:
    """Write down who is in the cluster, until everybody is."""
    client_of = import_module("ray._raylet").GcsClient
    broken = (import_module("ray.exceptions").RayError, OSError, RuntimeError, ValueError)
    names: Set[str] = set()
    while len(names) < count:
        with contextlib.suppress(*broken):
            found = client_of(address=address).get_all_node_info(timeout=_ASK_SECONDS).values()
            names = {each.node_name for each in found if each.state == _ALIVE}
            write_whole(place, {"nodes": sorted(names)})
        time.sleep(_PAUSE_SECONDS)


def _absent(names: Set[str], seen: str) -> Set[str]:
    with contextlib.suppress(OSError, ValueError), open(seen, "rb") as file:
        return names - set(json.loads(file.read().decode("utf-8"))["nodes"])
    return names


def _unshown(dashboard: str) -> List[str]:
    """Give what is missing of the dashboard, where there is to be one."""
    if not dashboard:
        return []
    with contextlib.suppress(OSError, ValueError):
        page(dashboard + "/api/version")
        return []
    return ["dashboard"]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
