"""What the keeper does with one environment's files: unpack, check, protect, remove.

It stands before keeper.py in the one text that is sent, so it needs Python 3.6 and nothing else.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
from typing import Any, Iterator, List

_PIECE = 1 << 20
# e_machine of elf(5), by the names of uname(2).
_MACHINES = {
    3: "i686",
    20: "ppc",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}


class Trouble(Exception):
    """What was asked for cannot be done, in words."""


def unpack(archive: str, folder: str, form: str) -> None:
    """Unpack an archive into a folder."""
    if form == "program":
        os.chmod(archive, 0o700)
        run([archive, "--output-directory", folder], folder)
    elif form == "file":
        shutil.copyfile(archive, os.path.join(folder, "image.tar"))
    else:
        own = {"zst": ["--use-compress-program=zstd"], "gz": ["--gzip"]}.get(form, [])
        run(["tar", "--extract", "--no-same-owner"] + own + ["--file", archive, "--directory", folder], folder)


def run(argv: List[str], folder: str) -> None:
    """Run a program to its end, or raise Trouble with what it said."""
    try:
        done = subprocess.run(  # noqa: PLW1510 - looked at below
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise Trouble("%s does not start: %s" % (argv[0], error.strerror)) from error
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()[-1000:]
        raise Trouble("%s ended with exit code %d: %s" % (os.path.basename(argv[0]), done.returncode, said))


def every_file(tree: str) -> Iterator[List[Any]]:
    """Give each file with its size, time and digest, and each link."""
    root = os.fsencode(tree)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names) + [each for each in folders if os.path.islink(os.path.join(folder, each))]:
            place = os.path.join(folder, name)
            found = os.lstat(place)
            digest = digest_of(place) if stat.S_ISREG(found.st_mode) else None
            yield [
                os.path.relpath(place, root).decode("utf-8", "surrogateescape"),
                found.st_size,
                found.st_mtime_ns,
                digest,
            ]


def machines_in(tree: str) -> List[str]:
    """Give the architectures that the programs and libraries in a tree are for, from their ELF headers (elf(5))."""
    found = set()
    for folder, _, names in os.walk(os.fsencode(tree)):
        for name in names:
            place = os.path.join(folder, name)
            about = os.lstat(place)
            if stat.S_ISREG(about.st_mode) and (about.st_mode & 0o111 or b".so" in name):
                with open(place, "rb") as file:
                    head = file.read(20)
                if head[:4] == b"\x7fELF" and len(head) == 20:
                    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
                    found.add(_MACHINES.get(number, "machine %d" % number))
    return sorted(found)


def protect(tree: str) -> None:
    """Let nobody install into what others use."""
    for folder, _, names in os.walk(tree):
        for place in [folder] + [os.path.join(folder, each) for each in names]:
            if not os.path.islink(place):
                os.chmod(place, os.stat(place).st_mode & ~0o222)


def writable(tree: str) -> None:
    """Let a tree be changed again."""
    if os.path.isdir(tree) and not os.path.islink(tree):
        os.chmod(tree, 0o700)
        for folder, folders, _ in os.walk(tree):
            for each in folders:
                if not os.path.islink(os.path.join(folder, each)):
                    os.chmod(os.path.join(folder, each), 0o700)


def remove(place: str) -> None:
    """Remove a file or a tree, whatever it is."""
    with contextlib.suppress(OSError):
        writable(place)
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(place)


def write(path: str, content: bytes) -> None:
    """Write a file that is there whole, and on the disk, or as it was before."""
    staged = "%s.%d" % (path, os.getpid())
    try:
        with open(staged, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(staged, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(staged)


def digest_of(path: bytes) -> str:
    """Give the digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def words_of(error: Exception) -> str:
    """Say what went wrong."""
    if isinstance(error, OSError) and error.errno is not None:
        return "%s (%s)" % (os.strerror(error.errno), error.strerror or error)
    return str(error)


def to_bytes(text: str) -> bytes:
    """Give a text as the file system has it."""
    return text.encode("utf-8", "surrogateescape")
