"""Starts Dask's scheduler and a worker on every node of the job, and the payload once all of them have joined.

It is started as `python3 -I dask_side.py OPTIONS PAYLOAD...` by a Python whose environment has Dask; that Python runs
the scheduler and the workers. The payload gets DASK_SCHEDULER_ADDRESS, and `distributed.Client()` finds the scheduler
by itself.
"""

import contextlib
import json
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Set

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.addresses import bracketed, page
    from sluiceway.core.launch.allocation import Node
    from sluiceway.core.launch.children import Failed
    from sluiceway.core.launch.nodeside import Engine, launch
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from addresses import bracketed, page
    from allocation import Node
    from children import Failed
    from nodeside import Engine, launch

_SCHEDULER = "scheduler"


def main(words: List[str]) -> int:
    """Run the payload beside a Dask cluster; the exit code is the payload's."""
    return launch("dask", start, words[1:])


def start(engine: Engine, options: Dict[str, Any]) -> Mapping[str, str]:
    """Start the cluster, wait for all of it, and give what tells the payload where it is."""
    if find_spec("distributed") is None:
        raise Failed("%s has no Dask: name an environment that has the package distributed" % sys.executable)
    head = engine.nodes[0]
    scheduler = engine.start(head, _scheduler(head), name=_SCHEDULER, ports=2, is_vital=True, is_child=True)
    facts = engine.facts(scheduler)
    address = "tcp://%s:%d" % (bracketed(head.address), facts["port0"])
    dashboard = "http://%s:%d/status" % (bracketed(head.address), facts["port1"])
    engine.ready(lambda: [] if _answers(dashboard) else [_SCHEDULER], options["ready_seconds"])
    for node in engine.nodes:
        engine.start(node, _worker(node, address, options))
    names = {node.name for node in engine.nodes}
    engine.ready(lambda: _absent(names, dashboard), options["ready_seconds"])
    variables = {"DASK_SCHEDULER_ADDRESS": address}
    engine.connect(address, dashboard, variables=variables)
    return variables


def _scheduler(head: Node) -> List[str]:
    # Dask reads no address of version 6 before the port of its pages, but takes a name for one.
    shown = head.name if ":" in head.address else head.address
    where = ["--host", bracketed(head.address), "--port", "{port0}", "--dashboard-address", shown + ":{port1}"]
    return [sys.executable, "-m", "distributed.cli.dask_scheduler"] + where


def _worker(node: Node, address: str, options: Dict[str, Any]) -> List[str]:
    offered = ["cpus={cpus}", "memory={memory}", "gpus={gpus}"]
    offered += ["%s=%s" % each for each in sorted(options["resources"].items())]
    return [
        sys.executable, "-m", "distributed.cli.dask_worker", address,
        "--name", node.name, "--host", bracketed(node.address), "--no-dashboard",
        "--nthreads", str(options["threads"] or "{cpus}"),
        "--memory-limit", options["memory"] or "{memory}",
        "--resources", " ".join(offered),
        "--local-directory", "{tmp}",
        "--death-timeout", "60",
        "--nanny" if options["nanny"] else "--no-nanny",
    ]  # fmt: skip


def _absent(names: Set[str], dashboard: str) -> Set[str]:
    """Give the workers that the scheduler does not have; where it only counts them, none or all."""
    with contextlib.suppress(OSError, ValueError):
        return names - {str(each["name"]) for each in _asked(dashboard, "/json/identity.json")["workers"].values()}
    # Of workers that have worked it cannot tell everything as JSON.
    with contextlib.suppress(OSError, ValueError):
        if _asked(dashboard, "/json/counts.json")["workers"] >= len(names):
            return set()
    return names


def _answers(dashboard: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(_asked(dashboard, "/json/counts.json"))
    return False


def _asked(dashboard: str, which: str) -> Dict[str, Any]:
    return dict(json.loads(page(dashboard.replace("/status", which)).decode("utf-8")))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
