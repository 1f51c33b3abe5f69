"""The fake's programs: each reads its arguments as the real one does, asks or changes the state, and answers."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from tests.fake_slurm.state import FINAL, Store, finish, matches, requeue, shown_id, signal_runner

_NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"
_NO_DATABASE = """\
sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:localhost:6819: \
Connection refused
sacct: error: Sending PersistInit msg: Connection refused
sacct: error: Problem talking to the database: Connection refused
"""
_OPTIONS = (
    "-J --job-name", "--comment", "-p --partition", "-A --account", "-t --time", "-D --chdir", "-o --output",
    "-e --error", "-a --array", "-d --dependency", "--signal", "--open-mode", "--kill-on-invalid-dep", "-N --nodes",
    "-n --ntasks", "--ntasks-per-node", "-c --cpus-per-task", "--mem", "--mem-per-cpu", "-q --qos", "-G --gpus",
    "--gres", "-C --constraint", "-x --exclude", "-w --nodelist", "--reservation", "-L --licenses", "-M --clusters",
    "--wrap", "--nice", "--mail-type", "--mail-user",
)  # fmt: skip
_FLAGS = ("--parsable", "-H --hold", "--requeue", "--no-requeue", "--test-only", "--exclusive")


class Failed(Exception):
    """The program says this on stderr and ends with this exit code."""

    def __init__(self, said: str, exit_code: int = 1) -> None:
        super().__init__(said)
        self.exit_code = exit_code


def run(program: str, folder: str) -> NoReturn:
    """Be one of the programs."""
    store = Store(Path(folder))
    arguments = sys.argv[1:]
    with store.changed() as state:
        state["asked"].append([program, *arguments])
        fault = _take_fault(state, program)
    if fault == "kill before":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault and fault.startswith("late"):
        _die_now_and_work_later(float(fault.split()[1]))
    if fault == "garbage":
        sys.stdout.write("\x1b[2J|||what?|||\n")
        sys.exit(0)
    try:
        said = PROGRAMS[program](store, arguments)
    except Failed as error:
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)
    if fault == "kill after":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "lose":
        sys.stderr.write(f"{program}: error: Batch job submission failed: Socket timed out on send/recv operation\n")
        sys.exit(1)
    if fault and fault.startswith("wait"):
        time.sleep(float(fault.split()[1]))
    sys.stdout.write(said)
    sys.exit(0)


def _die_now_and_work_later(seconds: float) -> None:
    """Kill this program, but for a copy that holds nothing of it open: as a controller that has heard it already."""
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    os.setsid()
    os.closerange(3, 100)
    time.sleep(seconds)


def _take_fault(state: dict[str, Any], program: str) -> str | None:
    for fault in state["faults"]:
        if fault["command"] == program:
            state["faults"].remove(fault)
            return str(fault["how"])
    return None


def _require_controller(state: dict[str, Any], said: str) -> None:
    if not state["controller"]:
        raise Failed(f"{said}: {_NO_CONTROLLER}\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Failed(f"{self.prog}: unrecognized option: {message}\n", 255)


def _sbatch_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sbatch", add_help=False)
    for names in _OPTIONS:
        parser.add_argument(*names.split())
    for names in _FLAGS:
        parser.add_argument(*names.split(), action="store_true")
    parser.add_argument("script", nargs="?")
    parser.add_argument("arguments", nargs="*")
    return parser


def _sbatch(store: Store, arguments: list[str]) -> str:
    given = _sbatch_parser().parse_args(arguments)
    if given.wrap:
        text = f"#!/bin/sh\n{given.wrap}\n".encode()
    else:
        text = Path(given.script).read_bytes() if given.script else sys.stdin.buffer.read()
    directives, components = _directives(text)
    # What stands on the command line wins over what stands in the script.
    given = _sbatch_parser().parse_args([*directives, *arguments])
    with store.changed() as state:
        _require_controller(state, "sbatch: error: Batch job submission failed")
        refusal = next((each for each in state["faults"] if each["command"] == "refuse"), None)
        if refusal is not None:
            state["faults"].remove(refusal)
            raise Failed(f"sbatch: error: Batch job submission failed: {refusal['how']}\n")
        if given.test_only:
            sys.stderr.write("sbatch: Job 9 to start at 1795277045 using 1 processors on nodes node1 in partition p\n")
            return ""
        number = _make(store, state, given, text, components)
    return f"{number}\n" if given.parsable else f"Submitted batch job {number}\n"


def _directives(text: bytes) -> tuple[list[str], int]:
    """Read the #SBATCH lines of the first component, and count the components."""
    words: list[str] = []
    components = 1
    for line in text.decode(errors="surrogateescape").splitlines():
        if line.startswith("#SBATCH hetjob"):
            components += 1
        elif line.startswith("#SBATCH") and components == 1:
            words += shlex.split(line.removeprefix("#SBATCH"))
        elif line.strip() and not line.startswith("#"):
            break
    return words, components


def _make(store: Store, state: dict[str, Any], given: argparse.Namespace, text: bytes, components: int) -> int:
    number = int(state["next"])
    script = store.folder / f"script-{number}"
    script.write_bytes(text)
    script.chmod(0o755)
    tasks: list[int | None] = [None]
    if given.array:
        first, _, last = given.array.partition("%")[0].partition("-")
        tasks = list(range(int(first), int(last or first) + 1))
    chdir = given.chdir or str(Path.cwd())
    now = int(time.time())
    for index, task in enumerate(tasks):
        # As with the real one, the last element keeps the array's own id.
        raw = number if index == len(tasks) - 1 else number + 1 + index
        element = f"{number}_{task}" if task is not None else str(number)
        stdout = Path(chdir, _place(given.output or f"slurm-{element}.out", raw, number, task))
        stderr = Path(chdir, _place(given.error, raw, number, task)) if given.error else stdout
        state["jobs"].append(
            {
                "id": raw, "number": number, "task": task,
                "name": given.job_name or Path(given.script or "sbatch").name,
                "comment": given.comment or "(null)", "script": str(script), "chdir": chdir, "stdout": str(stdout),
                "stderr": str(stderr), "append": given.open_mode == "append", "state": "PENDING",
                "reason": "JobHeldUser" if given.hold else "None", "held": given.hold, "restarts": 0, "status": 0,
                "submit": now, "start": 0, "end": 0, "begin": 0, "nodes": "", "pid": None, "doom": None, "history": [],
                "requeue": given.requeue and not given.no_requeue, "forgotten": False, "unaccounted": False,
                "limit": _limit(given.time), "lead": int(given.signal.split("@")[1]) if given.signal else None,
                "dependencies": _dependencies(given.dependency), "components": components,
                "kill_on_invalid_dep": given.kill_on_invalid_dep == "yes",
            }
        )  # fmt: skip
    state["next"] = number + max(len(tasks), components)
    return number


def _place(pattern: str, raw: int, number: int, task: int | None) -> str:
    values = {"%": "%", "j": str(raw), "A": str(number), "a": str(4294967294 if task is None else task)}
    return re.sub(r"%([%jAa])", lambda found: values[found[1]], pattern)


def _limit(text: str | None) -> float:
    if not text:
        return 600.0
    days, _, clock = text.rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    if len(parts) == 1:
        parts.append(0)
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds + 86400 * int(days or 0)


def _dependencies(text: str | None) -> list[tuple[str, int]]:
    found = re.findall(r"(\w+):(\d+)", text or "")
    return [(kind, int(number)) for kind, number in found]


def _listing(program: str, arguments: list[str], short: dict[str, str]) -> argparse.Namespace:
    parser = _Parser(prog=program, add_help=False)
    for letter, name in short.items():
        names = [f"--{name.rstrip('=')}"] if letter.startswith("?") else [f"-{letter}", f"--{name.rstrip('=')}"]
        parser.add_argument(*names, action="store" if name.endswith("=") else "store_true")
    return parser.parse_args(arguments)


def _squeue(store: Store, arguments: list[str]) -> str:
    names = {
        "h": "noheader", "r": "array", "t": "states=", "u": "user=", "n": "name=", "o": "format=", "O": "Format=",
        "j": "jobs=", "M": "clusters=", "?me": "me",
    }  # fmt: skip
    given = _listing("squeue", arguments, names)
    with store.changed() as state:
        _require_controller(state, "slurm_load_jobs error")
        known = [job for job in state["jobs"] if not job["forgotten"]]
    if given.jobs:
        wanted = given.jobs.split(",")
        known = [job for job in known if any(matches(job, each) for each in wanted)]
        if not known:
            raise Failed("slurm_load_jobs error: Invalid job id specified\n")
    if given.name is not None:
        known = [job for job in known if job["name"] in given.name.split(",")]
    if given.states != "all":
        known = [job for job in known if job["state"] not in FINAL]
    lines = [_queue_line(job, component, given) for job in known for component in range(job["components"])]
    return "".join(f"{line}\n" for line in lines)


def _queue_line(job: dict[str, Any], component: int, given: argparse.Namespace) -> str:
    shown = shown_id(job) if job["components"] == 1 else f"{shown_id(job)}+{component}"
    start = str(job["start"]) if job["start"] else "N/A"
    values = {
        "JobArrayID": shown, "JobID": str(job["id"] + component), "State": job["state"].split()[0],
        "RestartCnt": str(job["restarts"]), "exit_code": str(job["status"]), "Reason": job["reason"],
        "StartTime": start, "SubmitTime": str(job["submit"]), "NodeList": job["nodes"], "Comment": job["comment"],
        "Name": job["name"],
    }  # fmt: skip
    if given.Format:
        return re.sub(r"(\w+):(\|?),?", lambda found: values[found[1]] + found[2], given.Format)
    letters = {"i": "JobArrayID", "T": "State", "k": "Comment", "j": "Name", "r": "Reason", "S": "StartTime"}
    return re.sub(r"%(\w)", lambda found: values[letters[found[1]]], given.format or "%i %T")


def _sacct(store: Store, arguments: list[str]) -> str:
    names = {
        "n": "noheader", "X": "allocations", "P": "parsable2", "D": "duplicates", "u": "user=", "S": "starttime=",
        "j": "jobs=", "M": "clusters=", "?name": "name=", "o": "format=",
    }  # fmt: skip
    given = _listing("sacct", arguments, names)
    state = store.seen()
    if state["accounting"] == "down":
        raise Failed(_NO_DATABASE)
    if state["accounting"] == "none":
        raise Failed("Slurm accounting storage is disabled\n")
    jobs = state["jobs"] if state["snapshot"] is None else state["snapshot"]
    lines = []
    for job in jobs:
        is_wanted = not given.jobs or any(matches(job, each) for each in given.jobs.split(","))
        if job["unaccounted"] or not is_wanted or (given.name and job["name"] not in given.name.split(",")):
            continue
        for row in [*(job["history"] if given.duplicates else []), job]:
            lines += _account_lines(row, given)
    return "".join(f"{line}\n" for line in lines)


def _account_lines(job: dict[str, Any], given: argparse.Namespace) -> list[str]:
    code, number = (job["status"] >> 8, 0) if job["status"] & 0x7F == 0 else (0, job["status"] & 0x7F)
    by = f" by {os.getuid()}" if job["state"] == "CANCELLED" else ""
    values = dict.fromkeys(("DerivedExitCode", "AllocTRES", "MaxRSS", "Reason", "WorkDir"), "")
    values |= {
        "JobID": shown_id(job), "JobIDRaw": str(job["id"]), "State": job["state"] + by, "JobName": job["name"],
        "ExitCode": f"{code}:{number}" if job["state"] == "FAILED" else "0:0", "Submit": str(job["submit"]),
        "Start": str(job["start"] or "Unknown"), "End": str(job["end"] or "Unknown"),
        "ElapsedRaw": str(max(0, (job["end"] or int(time.time())) - (job["start"] or int(time.time())))),
        "TotalCPU": "00:00.002", "AllocCPUS": "1", "NodeList": job["nodes"] or "None assigned",
        "Comment": job["comment"],
    }  # fmt: skip
    fields = (given.format or "JobID,JobName,State,ExitCode").split(",")
    rows = [values]
    if job["components"] > 1:
        parts = range(job["components"])
        rows = [{**values, "JobID": f"{job['id']}+{part}", "JobIDRaw": str(job["id"] + part)} for part in parts]
    if job["start"] and not given.allocations:
        step = {"JobID": f"{values['JobID']}.batch", "JobIDRaw": f"{job['id']}.batch", "JobName": "batch"}
        rows.append({**values, **step, "MaxRSS": "3356K"})
    return ["|".join(row[each] for each in fields) for row in rows]


def _scancel(store: Store, arguments: list[str]) -> str:
    with store.changed() as state:
        _require_controller(state, "scancel: error: slurm_kill_job")
        wanted = [each for each in arguments if not each.startswith("-")]
        states = [each.partition("=")[2] for each in arguments if each.startswith("--state=")]
        for job in state["jobs"]:
            is_meant = any(matches(job, each) for each in wanted) and job["state"] in (states or [job["state"]])
            if not is_meant or job["state"] in FINAL:
                continue
            if job["state"] == "RUNNING" and job["pid"]:
                job["doom"] = "CANCELLED"
                signal_runner(job, signal.SIGUSR2)
            else:
                finish(job, "CANCELLED")
    return ""


def _scontrol(store: Store, arguments: list[str]) -> str:
    with store.changed() as state:
        if arguments[:1] == ["ping"]:
            return f"Slurmctld(primary) at fake is {'UP' if state['controller'] else 'DOWN'}\n"
        _require_controller(state, "scontrol: error")
        if arguments == ["show", "config"]:
            return f"Configuration data as of now\nMaxArraySize            = {state.get('largest array', 1001)}\n"
        if arguments[:1] == ["show"] and arguments[1] in ("partition", "node"):
            return _shown(state.get("partitions", {}), arguments[1])
        for job in state["jobs"]:
            if arguments[:1] == ["requeue"] and matches(job, arguments[1]):
                if job["pid"]:
                    job["doom"] = "requeue:REQUEUED"
                    signal_runner(job, signal.SIGUSR1)
                else:
                    requeue(job, as_was="REQUEUED")
                return ""
    raise Failed("Invalid job id specified\n")


def _shown(partitions: dict[str, list[str]], what: str) -> str:
    """Tell of partitions, of which the first is the default, or of their nodes, by the architectures of these."""
    if what == "partition":
        default = dict.fromkeys(partitions, "NO") | dict.fromkeys([*partitions][:1], "YES")
        return "".join(f"PartitionName={name} AllowGroups=ALL Default={default[name]} \n" for name in partitions)
    nodes = ((name, machine) for name, machines in partitions.items() for machine in machines)
    return "".join(
        f"NodeName=n{number} Arch={machine} CoresPerSocket=1 Partitions={name} \n"
        for number, (name, machine) in enumerate(nodes)
    )


PROGRAMS = {"sbatch": _sbatch, "squeue": _squeue, "sacct": _sacct, "scancel": _scancel, "scontrol": _scontrol}
