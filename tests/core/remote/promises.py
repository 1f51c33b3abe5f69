"""What every Shell promises, whatever machine it reaches: this one, a test server, or the devcluster."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.errors import CommandFailed, CommandTimedOut, TransferFailed
from sluiceway.core.remote.shell import Command, Shell

HOSTILE = [
    "plain",
    "with space",
    "with'single",
    'with"double',
    "with\nnewline",
    "$(id)",
    "`id`",
    "$HOME",
    "-leading-dash",
    "back\\slash",
    "semi;colon&and|pipe",
    "star*?[a]",
    "~",
    "trailing\n",
    "Grüße-日本",
]
hostile = pytest.mark.parametrize("name", HOSTILE, ids=repr)


class ShellPromises:
    """A test class for one kind of Shell; it needs the fixtures `shell` and `folder` (a new folder there)."""

    async def test_a_command_gives_its_exit_code_and_both_streams(self, shell: Shell) -> None:
        done = await shell.run(Command.of("sh", "-c", "echo out; echo err >&2; exit 3"))
        assert (done.exit_code, done.signal, done.stdout, done.stderr) == (3, None, b"out\n", b"err\n")

    async def test_a_command_ended_by_a_signal_has_a_signal_and_no_exit_code(self, shell: Shell) -> None:
        done = await shell.run(Command.of("sh", "-c", "kill -9 $$"))
        assert (done.exit_code, done.signal) == (None, "KILL")
        assert not done.succeeded

    async def test_a_failing_command_raises_only_when_success_is_required(self, shell: Shell) -> None:
        done = await shell.run(Command.of("sh", "-c", "echo no such account >&2; exit 1"))
        with pytest.raises(CommandFailed, match=r"exit code 1:\nno such account"):
            done.require_success()

    async def test_a_program_that_is_not_there_is_exit_code_127(self, shell: Shell) -> None:
        assert (await shell.run(Command.of("no-such-program"))).exit_code == 127

    @hostile
    async def test_arguments_arrive_as_they_were_given(self, shell: Shell, name: str) -> None:
        done = await shell.run(Command.of("printf", "%s|", name, "", "end"))
        assert done.stdout == f"{name}||end|".encode()

    @hostile
    async def test_values_of_a_script_are_never_read_as_script(self, shell: Shell, name: str) -> None:
        done = await shell.run(Command.script('printf "%s|" "$1" "$2"', name, name))
        assert done.stdout == f"{name}|{name}|".encode()

    async def test_standard_input_arrives_whole_and_ends(self, shell: Shell) -> None:
        content = os.urandom(300_000)
        assert (await shell.run(Command.of("cat", stdin=content))).stdout == content

    async def test_a_command_that_does_not_read_its_input_still_ends_well(self, shell: Shell) -> None:
        assert (await shell.run(Command.of("true", stdin=bytes(5_000_000)))).exit_code == 0

    async def test_no_input_is_an_end_at_once(self, shell: Shell) -> None:
        assert (await shell.run(Command.of("cat"), timeout=timedelta(seconds=20))).stdout == b""

    async def test_a_command_that_takes_too_long_is_named_with_its_limit(self, shell: Shell) -> None:
        with pytest.raises(CommandTimedOut, match=r"within 0\.3 s to: sleep 61"):
            await shell.run(Command.of("sleep", "61"), timeout=timedelta(seconds=0.3))

    @hostile
    async def test_a_small_file_is_written_and_read(self, shell: Shell, folder: PurePosixPath, name: str) -> None:
        await shell.write(folder / name, b"first")
        await shell.write(folder / name, b"second\x00\xff")
        assert await shell.read(folder / name) == b"second\x00\xff"
        listed = await shell.run(Command.of("ls", "-A", "--zero", "--", str(folder)))
        assert listed.text.rstrip("\0") == name

    async def test_a_written_file_is_its_owners_alone_unless_said_otherwise(
        self, shell: Shell, folder: PurePosixPath
    ) -> None:
        await shell.write(folder / "own", b"")
        await shell.write(folder / "program", b"", mode=0o755)
        seen = await shell.run(Command.of("stat", "--format=%a", str(folder / "own"), str(folder / "program")))
        assert seen.text.split() == ["600", "755"]

    async def test_appending_adds_to_what_is_there(self, shell: Shell, folder: PurePosixPath) -> None:
        for part in (b"one\n", b"two\n"):
            await shell.append(folder / "log", part)
        assert await shell.read(folder / "log") == b"one\ntwo\n"

    async def test_writing_into_a_folder_that_is_not_there_says_so(self, shell: Shell, folder: PurePosixPath) -> None:
        with pytest.raises(CommandFailed, match="No such file"):
            await shell.write(folder / "missing" / "file", b"")

    @hostile
    async def test_a_file_goes_there_and_back_unchanged(
        self, shell: Shell, folder: PurePosixPath, tmp_path: Path, name: str
    ) -> None:
        sent, back = tmp_path / name, tmp_path / f"{name}.back"
        sent.write_bytes(os.urandom(100_000))
        sent.chmod(0o750)
        await shell.put(sent, folder / name)
        await shell.get(folder / name, back)
        assert back.read_bytes() == sent.read_bytes()
        assert back.stat().st_mode & 0o777 == 0o750

    async def test_a_copy_that_takes_too_long_is_named_and_leaves_no_half(
        self, shell: Shell, folder: PurePosixPath, tmp_path: Path
    ) -> None:
        (tmp_path / "big").write_bytes(bytes(2**26))
        with pytest.raises(CommandTimedOut, match=r"within 0\.001 s to: copy of '.*/big'"):
            await shell.put(tmp_path / "big", folder / "target", timeout=timedelta(milliseconds=1))
        seen = await shell.run(Command.of("stat", "--format=%s", str(folder / "target")))
        assert seen.text.strip() in ("", str(2**26))

    async def test_an_empty_file_goes_there_and_back(self, shell: Shell, folder: PurePosixPath, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        await shell.put(tmp_path / "empty", folder / "empty")
        await shell.get(folder / "empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    async def test_a_file_that_is_not_here_cannot_be_put(
        self, shell: Shell, folder: PurePosixPath, tmp_path: Path
    ) -> None:
        with pytest.raises(TransferFailed, match="No such file"):
            await shell.put(tmp_path / "missing", folder / "x")

    async def test_a_file_that_is_not_there_cannot_be_got_and_leaves_nothing(
        self, shell: Shell, folder: PurePosixPath, tmp_path: Path
    ) -> None:
        with pytest.raises(TransferFailed, match="No such file"):
            await shell.get(folder / "missing", tmp_path / "x")
        assert list(tmp_path.iterdir()) == []

    async def test_putting_into_a_folder_that_is_not_there_leaves_nothing(
        self, shell: Shell, folder: PurePosixPath, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(TransferFailed, match="No such file"):
            await shell.put(tmp_path / "file", folder / "missing" / "x")


def digest(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
