"""Starts Spark's master and a worker on every node of the job, and the payload once all of them have joined.

It is started as `python3 -I spark_side.py OPTIONS PAYLOAD...`. Spark is the one of SPARK_HOME, else the package pyspark
of that Python. The payload gets MASTER and SPARK_MASTER_URL, and a folder of settings (SPARK_CONF_DIR) by which every
spark-submit and every `SparkSession.builder.getOrCreate()` works on this cluster, with the job's memory.

`spark_side.py --worker ...` becomes a worker, once it is known what its node has.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NoReturn, Sequence, Set
from urllib.parse import quote

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.addresses import bracketed, listens, page
    from sluiceway.core.launch.allocation import Node
    from sluiceway.core.launch.children import Failed, complain
    from sluiceway.core.launch.nodeside import Engine, Part, launch, say
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from addresses import bracketed, listens, page
    from allocation import Node
    from children import Failed, complain
    from nodeside import Engine, Part, launch, say

_MASTER, _DEFAULTS, _ENV = "master", "spark-defaults.conf", "spark-env.sh"
_CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
_LINGER_SECONDS = 10.0
# The application's own pages take the next free port after the one they are told: 16 may be tried.
_MASTER_PORTS, _WORKER_PORTS, _UI_PORT = 20, 2, "port2"
_MEBIBYTE = 1 << 20
_UNITS = {"m": 1, "g": 1 << 10, "t": 1 << 20}
# Mebibytes. A daemon has a heap of 256 and what a JVM needs beside it; Spark refuses a heap with less than 450 to use.
_DAEMON_HEAP, _DAEMON, _OVERHEAD, _LEAST = 256, 384, 384, 512
_OVERHEAD_SHARE = 0.1
_GPUS, _FIND_GPUS = "resource.gpu.amount", "resource.gpu.discoveryScript"
# Light programs, which need no compiler's best and no threads to collect garbage.
_DAEMON_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dspark.port.maxRetries=0 -Dspark.ui.reverseProxy=true"
# Drivers run beside us: nobody submits them to the master, by a port that all masters of a node would share.
_DAEMON_OPTIONS += " -Dspark.master.rest.enabled=false"
_LAUNCHED = re.compile(r"Launching executor (\S+) on worker worker-\d+-(\S+)")
_REMOVED = re.compile(r"Removing executor (\S+) because it is (EXITED|FAILED|LOST)")


def main(words: List[str]) -> int:
    """Run the payload beside a Spark cluster; the exit code is the payload's."""
    if words[1] == "--worker":
        become_worker(json.loads(words[2]))
    options = json.loads(words[1])
    return launch("spark", start, [words[1]] + submitted(words[2:], options, spark_home(os.environ)))


def spark_home(variables: Mapping[str, str]) -> str:
    """Give where Spark lies, or nothing: as the environment says, or in the package pyspark of this Python."""
    if variables.get("SPARK_HOME"):
        return variables["SPARK_HOME"]
    found = find_spec("pyspark")
    return os.path.dirname(found.origin) if found and found.origin else ""


def submitted(payload: List[str], options: Mapping[str, Any], home: str) -> List[str]:
    """Give the payload as it is run: programs for Spark by spark-submit, which works on the master that it is told."""
    if not payload[0].endswith((".py", ".jar")):
        return payload
    which = ["--class", options["main_class"]] if options["main_class"] else []
    return [os.path.join(home, "bin", "spark-submit")] + which + payload


def start(engine: Engine, options: Dict[str, Any]) -> Mapping[str, str]:
    """Start the cluster, wait for all of it, and give what tells the payload where it is."""
    home = spark_home(os.environ)
    _require(home)
    head = engine.nodes[0]
    master = _start_master(engine, head, home)
    facts = engine.facts(master)
    address = "spark://%s:%d" % (bracketed(head.address), facts["port0"])
    dashboard = "http://%s:%d/" % (bracketed(head.address), facts["port1"])
    engine.ready(lambda: [] if _asked(dashboard).get("status") == "ALIVE" else [_MASTER], options["ready_seconds"])
    parts = [_start_worker(engine, node, home, address, options) for node in engine.nodes]
    engine.ready(lambda: _absent(parts, dashboard), options["ready_seconds"])
    memory = min((int(each["memory"]) for each in _alive(dashboard)), default=_LEAST)
    told = properties(head, address, facts[_UI_PORT], memory, _settled(engine, parts, options))
    variables = _variables(home, head, address, facts["tmp"])
    write_settings(variables["SPARK_CONF_DIR"], told, os.environ.get("SPARK_CONF_DIR", os.path.join(home, "conf")))
    # The driver of a Python payload is a JVM that hears of its end, and then closes its log of events.
    engine.linger_seconds = _LINGER_SECONDS
    engine.watch = Losses(master.log, parts)
    client = _serve(engine, head, variables, options["ready_seconds"]) if options["connect"] else ""
    engine.connect(address, dashboard, variables=variables, client=client)
    return variables


def _settled(engine: Engine, parts: Sequence[Part], options: Dict[str, Any]) -> Dict[str, Any]:
    """Add to the options what is known only now: where events are written, and the GPUs that every worker has."""
    events = os.path.join(engine.folder, "events")
    os.makedirs(events, exist_ok=True)
    return dict(options, events=events, gpus=min(int(part.facts["gpus"]) for part in parts))


def _serve(engine: Engine, head: Node, variables: Dict[str, str], seconds: float) -> str:
    """Start a server of Spark Connect as the cluster's driver, and give the address for its clients."""
    submit = [os.path.join(variables["SPARK_HOME"], "bin", "spark-submit"), "--class", _CONNECT]
    where = ["--conf", "spark.connect.grpc.binding.address=" + bracketed(head.address)]
    where += ["--conf", "spark.connect.grpc.binding.port={port0}", "spark-internal"]
    server = engine.start(head, submit + where, name="connect", env=variables, ports=1, is_vital=True, is_child=True)
    port = engine.facts(server)["port0"]
    engine.ready(lambda: [] if listens(head.address, port) else [server.name], seconds)
    return "sc://%s:%d" % (bracketed(head.address), port)


def _require(home: str) -> None:
    if not os.access(os.path.join(home, "bin", "spark-class"), os.X_OK):
        where = home or "%s, and SPARK_HOME names none" % sys.executable
        raise Failed("there is no Spark in %s: name an environment that has the package pyspark" % where)
    java = os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java") if "JAVA_HOME" in os.environ else "java"
    if shutil.which(java) is None:
        raise Failed("Spark needs Java 17 or newer: there is no %s on PATH, nor in JAVA_HOME" % java)


def _start_master(engine: Engine, head: Node, home: str) -> Part:
    words = [os.path.join(home, "bin", "spark-class"), "org.apache.spark.deploy.master.Master"]
    words += ["--host", bracketed(head.address), "--port", "{port0}", "--webui-port", "{port1}"]
    own = _daemon(home, head, "SPARK_MASTER_OPTS")
    return engine.start(head, words, name=_MASTER, env=own, ports=_MASTER_PORTS, is_vital=True, is_child=True)


def _daemon(home: str, node: Node, own: str) -> Dict[str, str]:
    options = " ".join([_DAEMON_OPTIONS, "-Djava.io.tmpdir={tmp}", os.environ.get(own, "")])
    return {
        "SPARK_HOME": home,
        "SPARK_LOCAL_IP": bracketed(node.address),
        "SPARK_PUBLIC_DNS": bracketed(node.address),
        "SPARK_DAEMON_MEMORY": os.environ.get("SPARK_DAEMON_MEMORY", "%dm" % _DAEMON_HEAP),
        "SPARK_LOCAL_DIRS": "{tmp}/local",
        "SPARK_WORKER_DIR": "{tmp}/work",
        own: options.strip(),
    }


def _start_worker(engine: Engine, node: Node, home: str, address: str, options: Dict[str, Any]) -> Part:
    reserve = _DAEMON
    if node == engine.nodes[0]:
        reserve += _DAEMON + int(mebibytes(options["driver_memory"]) * (1 + _OVERHEAD_SHARE))
    order = {"home": home, "master": address, "host": bracketed(node.address), "reserve": reserve}
    order.update((name, "{%s}" % name) for name in ("node", "cpus", "memory", "gpus", "port0", "port1", "tmp"))
    order.update(wished={name: options[name] for name in ("cores", "memory")})
    words = [sys.executable, "-I", os.path.abspath(__file__), "--worker", json.dumps(order)]
    own = _daemon(home, node, "SPARK_WORKER_OPTS")
    return engine.start(node, words, env=own, ports=_WORKER_PORTS, sync="work", only=("stdout", "stderr"))


def become_worker(order: Dict[str, Any]) -> NoReturn:
    """Become the worker of this node, which offers what is left beside the daemons and the driver."""
    offered = order["wished"]["memory"] or offer(int(order["memory"]) // _MEBIBYTE, order["reserve"])
    if not offered:
        text = "node %s has %d MiB for this job, too little: Spark needs %d MiB there; ask for more memory"
        complain(text % (order["node"], int(order["memory"]) // _MEBIBYTE, order["reserve"] + _OVERHEAD + _LEAST))
        sys.exit(1)
    own = offered_gpus(gpu_addresses(int(order["gpus"]), os.environ), order["tmp"])
    os.environ["SPARK_WORKER_OPTS"] = " ".join(own + [os.environ.get("SPARK_WORKER_OPTS", "")])
    spark_class = os.path.join(order["home"], "bin", "spark-class")
    argv = [
        spark_class, "org.apache.spark.deploy.worker.Worker",
        "--host", order["host"], "--port", order["port0"], "--webui-port", order["port1"],
        "--cores", str(order["wished"]["cores"] or order["cpus"]), "--memory", offered,
        "--work-dir", os.path.join(order["tmp"], "work"), order["master"],
    ]  # fmt: skip
    os.execv(spark_class, argv)


def offer(memory: int, reserve: int) -> str:
    """Give what executors may have for their heaps of so many mebibytes; nothing where Spark could not start one."""
    left = memory - reserve
    heap = min(left - _OVERHEAD, int(left / (1 + _OVERHEAD_SHARE)))
    return "%dm" % heap if heap >= _LEAST else ""


def gpu_addresses(count: int, variables: Mapping[str, str]) -> List[str]:
    """Give what the job's GPUs on this node are called: as CUDA is told, else by their numbers."""
    named = [each for each in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if each not in ("", "-1")]
    return named if len(named) == count else [str(number) for number in range(count)]


def offered_gpus(addresses: List[str], folder: str) -> List[str]:
    """Give the options by which a worker offers GPUs, which it asks a script for; nothing where there are none."""
    if not addresses:
        return []
    script = os.path.join(folder, "gpus.sh")
    told = json.dumps({"name": "gpu", "addresses": addresses})
    with open(script, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\necho %s\n" % shlex.quote(told))
    os.chmod(script, 0o700)
    return ["-Dspark.worker.%s=%d" % (_GPUS, len(addresses)), "-Dspark.worker.%s=%s" % (_FIND_GPUS, script)]


def mebibytes(text: str) -> int:
    """Read an amount of memory such as 2g."""
    return int(text[:-1]) * _UNITS[text[-1].lower()]


def properties(head: Node, address: str, ui_port: int, memory: int, options: Mapping[str, Any]) -> Dict[str, str]:
    """Give the properties by which a driver on this node works on the cluster, and shows what it does."""
    told = {
        "spark.master": address,
        "spark.driver.host": bracketed(head.address),
        "spark.driver.bindAddress": bracketed(head.address),
        "spark.driver.memory": options["driver_memory"],
        # One executor on each worker, all alike: what the smallest one offers.
        "spark.executor.memory": "%dm" % memory,
        "spark.ui.port": str(ui_port),
        # Whoever reaches the master's pages, by one tunnel, reaches them all.
        "spark.ui.reverseProxy": "true",
        # For people at a terminal; here it would fill a file.
        "spark.ui.showConsoleProgress": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": "file://" + quote(options["events"]),
    }
    if options["gpus"]:
        # Which of them a task gets is what the application asks: spark.task.resource.gpu.amount.
        told["spark.executor." + _GPUS] = str(options["gpus"])
    return dict(told, **options["conf"])


def write_settings(folder: str, told: Mapping[str, str], theirs: str) -> None:
    """Write a folder of settings: those of the site, which go first where they differ, upon ours."""
    os.mkdir(folder, 0o700)
    for name in os.listdir(theirs) if os.path.isdir(theirs) else ():
        if name not in (_DEFAULTS, _ENV):
            os.symlink(os.path.join(theirs, name), os.path.join(folder, name))
    lines = ["%s %s\n" % (_escaped(name), _escaped(value)) for name, value in sorted(told.items())]
    with contextlib.suppress(FileNotFoundError), open(os.path.join(theirs, _DEFAULTS), encoding="utf-8") as file:
        lines.append(file.read())
    with open(os.path.join(folder, _DEFAULTS), "w", encoding="utf-8") as file:
        file.writelines(lines)
    own = shlex.quote(os.path.join(theirs, _ENV))
    with open(os.path.join(folder, _ENV), "w", encoding="utf-8") as file:
        # The warning of the time limit is for the payload; a JVM that hears of it dies of it.
        file.write("trap '' USR1\nif [ -f %s ]; then . %s; fi\n" % (own, own))


def _escaped(text: str) -> str:
    """Write a text as Java reads it from a file of properties."""
    return re.sub(r"[\\:=#! ]", r"\\\g<0>", text).replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _variables(home: str, head: Node, address: str, folder: str) -> Dict[str, str]:
    return {
        "MASTER": address,
        "SPARK_MASTER_URL": address,
        "SPARK_HOME": home,
        "SPARK_CONF_DIR": os.path.join(folder, "conf"),
        "SPARK_LOCAL_IP": bracketed(head.address),
        # What a driver leaves there when it is killed goes with the master.
        "SPARK_LOCAL_DIRS": os.path.join(folder, "local"),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "PATH": os.environ.get("PATH", os.defpath) + ":" + os.path.join(home, "bin"),
    }


class Losses:
    """Tells of executors that are lost while their node goes on, which the master's log is the one to say."""

    def __init__(self, log: str, parts: Sequence[Part]) -> None:
        """Read this log, where workers are known by their addresses."""
        self._log, self._read, self._rest = log, 0, ""
        self._names = {"%s-%d" % (bracketed(each.node.address), each.facts["port0"]): each.name for each in parts}
        self._places = {}  # type: Dict[str, str]

    def __call__(self) -> None:
        """Tell of what was lost since the last time."""
        piece = b""
        # That it cannot be read now ends no run.
        with contextlib.suppress(OSError), open(self._log, "rb") as file:
            file.seek(self._read)
            piece = file.read()
        self._read += len(piece)
        *lines, self._rest = (self._rest + piece.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self._hear(line)

    def _hear(self, line: str) -> None:
        launched, removed = _LAUNCHED.search(line), _REMOVED.search(line)
        if launched:
            self._places[launched.group(1)] = self._names.get(launched.group(2), launched.group(2))
        elif removed:
            where = self._places.get(removed.group(1), "a node")
            text = "executor %s on %s has left the spark cluster: %s" % (
                removed.group(1),
                where,
                removed.group(2).lower(),
            )
            say(kind="log", text=text, level="warning")


def _absent(parts: Sequence[Part], dashboard: str) -> Set[str]:
    """Give the parts whose workers the master does not have; all of them where it does not answer."""
    alive = {(each["host"], each["port"]) for each in _alive(dashboard)}
    return {each.name for each in parts if (bracketed(each.node.address), each.facts.get("port0")) not in alive}


def _alive(dashboard: str) -> List[Dict[str, Any]]:
    return [each for each in _asked(dashboard).get("workers", ()) if each["state"] == "ALIVE"]


def _asked(dashboard: str) -> Dict[str, Any]:
    """Ask the master how it is, and for its workers; it says nothing where it does not answer."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(page(dashboard + "json/").decode("utf-8")))
    return {}


if __name__ == "__main__":
    sys.exit(main(sys.argv))
