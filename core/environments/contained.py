"""Runs a payload in a container, where the work is done: which runtime, the image brought in, and the command's words.

It travels beside enter.py and needs Python 3.6 alone. No word of it is ever read by a shell; folders are mounted by
lines of CSV, as all of these runtimes read them, so that a folder may be called anything. The payload sees the run's
folder, each input that is a link, and the snapshot of the user's code, under the names that they have outside, and
nothing else of the node.
"""

import binascii
import contextlib
import fcntl
import json
import os
import shutil
import stat
import sys
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

if TYPE_CHECKING or __package__:
    from sluiceway.core.environments import watched
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import watched

# docker is last: it is often there for users who may not use it.
ORDER = ("podman-hpc", "podman", "apptainer", "singularity", "docker")
_APPTAINER = ("apptainer", "singularity")
_KEPT = (b"SLUICEWAY_", b"SLURM_", b"CUDA_", b"ROCR_", b"OMP_", b"DASK_", b"RAY_", b"SPARK_")


class NoContainer(Exception):
    """The payload cannot run in its container on this node."""


def command(
    container: Dict[str, Any], folder: bytes, argv: List[bytes], environment: Dict[bytes, bytes]
) -> Tuple[List[bytes], Dict[bytes, bytes], Dict[str, Any], Optional[watched.Watch]]:
    """Give the command that runs the payload in its container, its variables, what really runs, and who watches it."""
    runtime = chosen(container["runtime"])
    record = {"runtime": runtime, "image": container["image"], "digest": container["digest"]}
    if runtime == "none":
        return argv, environment, dict(record, digest=None), None
    if runtime in _APPTAINER:
        words = [_bytes(runtime), b"exec", b"--pwd=" + _work(folder)] + list(_mounts(folder, container))
        return words + _options(container) + [_sif(runtime, container)] + argv, environment, record, None
    watch = _loaded(runtime, container, dict(environment))
    environment = watch.client.environment
    words = watch.client.words + [b"run", b"--rm", b"--pull=never", b"--network=host", b"--entrypoint="]
    words += [b"--name=" + watch.name]
    words += [b"--workdir=" + _work(folder)] + list(_mounts(folder, container))
    if runtime == "docker":
        words.append(b"--user=%d:%d" % (os.getuid(), os.getgid()))
    words += list(_variables(folder, container, environment)) + _options(container)
    return words + [_bytes(container["digest"])] + argv, environment, record, watch


def _options(container: Dict[str, Any]) -> List[bytes]:
    return [_bytes(each) for each in container["run_options"]]


def chosen(asked: str) -> str:
    """Give the runtime that is used here: the one that was asked for, or the first that there is."""
    if asked == "none":
        return asked
    found = [each for each in (ORDER if asked == "auto" else (asked,)) if shutil.which(each)]
    if not found:
        wanted = "none of %s is" % ", ".join(ORDER) if asked == "auto" else "%s is not" % asked
        raise NoContainer('%s on PATH; runtime = "none" would run the payload without its container' % wanted)
    return found[0]


def _work(folder: bytes) -> bytes:
    return os.path.join(folder, b"work")


def _mounts(folder: bytes, container: Dict[str, Any]) -> Iterator[bytes]:
    """Give the run's whole folder, for what attempts share, each input where its link points, and the user's code."""
    run = folder
    while os.path.basename(os.path.dirname(run)) not in (b"runs", b""):
        run = os.path.dirname(run)
    yield _mount(run)
    for each in container["mounts"]:
        yield _mount(_bytes(each), b"ro")
    for place, _, names in os.walk(os.path.join(folder, b"inputs")):
        for name in sorted(names):
            link = os.path.join(place, name)
            if os.path.islink(link):
                yield _mount(os.path.realpath(link), b"ro", at=os.path.join(place, os.readlink(link)))


def _mount(source: bytes, *options: bytes, at: Optional[bytes] = None) -> bytes:
    fields = [b"type=bind", b"source=" + source, b"destination=" + (at or source)]
    return b"--mount=" + b",".join(_quoted(each) for each in fields + list(options))


def _quoted(field: bytes) -> bytes:
    """Write a field of a line of CSV."""
    return (
        b'"' + field.replace(b'"', b'""') + b'"' if any(each in field for each in (b",", b'"', b"\n", b"\r")) else field
    )


def _variables(folder: bytes, container: Dict[str, Any], environment: Dict[bytes, bytes]) -> Iterator[bytes]:
    """Name the variables that go inside; their values stay out of the list of processes."""
    with open(os.path.join(folder, b"request.json"), "rb") as file:
        asked = {_bytes(name) for name in json.loads(file.read().decode("ascii"))["environment"]}
    asked.update(_bytes(name) for name in container["variables"])
    for name in sorted(environment):
        if name in asked or name == b"PYTHONPATH" or name.startswith(_KEPT):
            yield b"--env=" + name


def _store(environment: Dict[bytes, bytes]) -> List[bytes]:
    """Keep images and containers on the node itself where it has no place for the user's.

    A job has no runtime folder of its own on many nodes, and the home is often on a file server, on which images
    cannot lie.
    """
    if _given(environment):
        return []
    own = _own(environment)
    environment[b"XDG_RUNTIME_DIR"] = own + b"/run"
    return [
        b"--root=" + own + b"/storage",
        b"--runroot=" + own + b"/run/containers",
        b"--tmpdir=" + own + b"/run/libpod",
    ]


def _given(environment: Dict[bytes, bytes]) -> bytes:
    """Give the user's runtime folder on this node, if it has one."""
    given = environment.get(b"XDG_RUNTIME_DIR", b"")
    return given if given and os.path.isdir(given) and os.access(given, os.W_OK) else b""


def _node(environment: Dict[bytes, bytes]) -> bytes:
    return environment.get(b"SLURMD_NODENAME", os.uname().nodename.encode())


def _own(environment: Dict[bytes, bytes]) -> bytes:
    """Give a folder of this user alone on this node."""
    own = b"/tmp/sluiceway-%d-%s" % (os.getuid(), _node(environment))
    for place in (own, own + b"/run"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, 0o700)
        found = os.lstat(place)
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise NoContainer("%s is not this user's own folder" % os.fsdecode(place))
    return own


def _loaded(runtime: str, container: Dict[str, Any], environment: Dict[bytes, bytes]) -> watched.Watch:
    """Bring the image into the runtime's store, once a node; it is asked for by its digest, so it is no other."""
    words = [_bytes(runtime)] + (_store(environment) if runtime == "podman" else [])
    folder = _given(environment) or _own(environment) + b"/run"
    client = watched.Client(words, environment, lambda: _alone(folder, b"mend"))
    locks, digest = os.path.join(folder, b"sluiceway-" + _node(environment)), _bytes(container["digest"])
    with _alone(folder, b"image"):
        watched.sweep(client, locks)
        if client.ask(b"image", b"inspect", digest).returncode:
            done = client.ask(b"load", b"--input=" + _bytes(container["archive"]))
            if done.returncode or client.ask(b"image", b"inspect", digest).returncode:
                said = done.stderr.decode("utf-8", "replace").strip()[-500:]
                raise NoContainer("the image could not be loaded: %s" % (said or "the archive holds another one"))
        name = b"sluiceway-%d-%s" % (os.getuid(), binascii.hexlify(os.urandom(8)))
        return watched.Watch(client, locks, name)


def _sif(runtime: str, container: Dict[str, Any]) -> bytes:
    """Give the image as one file of apptainer's own, made once beside the archive that was shipped."""
    archive = _bytes(container["archive"])
    image = _bytes(container["scratch"]) + b".sif"
    with _alone(os.path.dirname(image), os.path.basename(image)):
        if not os.path.exists(image):
            staged = image + b".%d" % os.getpid()
            source = _bytes(container["form"]) + b":" + archive
            done = watched.Client([_bytes(runtime)], dict(os.environb), contextlib.suppress).ask(
                b"build", b"--force", staged, source
            )
            if done.returncode:
                raise NoContainer(
                    "%s could not make its image: %s" % (runtime, done.stderr.decode("utf-8", "replace")[-500:])
                )
            os.rename(staged, image)
    return image


@contextlib.contextmanager
def _alone(folder: bytes, name: bytes) -> Iterator[None]:
    """Let one process of this user do something at a time."""
    handle = os.open(
        os.path.join(folder, b".%s.%d.lock" % (name, os.getuid())), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        # Some file servers have no locks; then two may do the same work, and the later one wins.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
