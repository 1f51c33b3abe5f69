"""An export: outputs with manifests, code and their piece of the ledger, as a Workflow Run RO-Crate.

The folder, or archive, holds `verify.py`, which needs Python and nothing else, and `ro-crate-metadata.json` by the
Provenance Run Crate profile. Nothing in it is written, or leads, outside of it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.errors import NotExportable
from sluiceway.core.provenance import crate_verify
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.crate_metadata import Crate, Exported, metadata_of
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.inputs import place_of_module
from sluiceway.core.provenance.key import canonical_json
from sluiceway.core.provenance.reproduce import leaves
from sluiceway.core.provenance.seal import NOT_CONTENT
from sluiceway.core.provenance.tree import digest_of_tree, text_of
from sluiceway.core.provenance.verify import Depth, Verifier, place_of_input
from sluiceway.core.store.durable import Storing, flush

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.provenance.ledger import Entry, History
    from sluiceway.core.provenance.manifest import Manifest

_VERIFY, _METADATA, _RECIPE = "verify.py", "ro-crate-metadata.json", "recipe.json"
_OUTPUTS, _CODE = "outputs", "code"
_FIRST_OF_ZIP: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the crate's reader is told of it."""

    name: str = "Outputs with their provenance"
    licence: str | None = None


def export(outputs: Sequence[Path], target: Path, *, history: History, told: Told | None = None) -> Path:
    """Write outputs as a crate: a folder that is not there yet, or an archive where the name ends with .zip.

    Args:
        outputs: The outputs; each must verify, and be in the ledger.
        target: Where to.
        history: The ledger.
        told: What the crate's reader is told of it.
    """
    if target.exists() and not (target.suffix == ".zip" and target.is_file()):
        raise NotExportable(path=target, reason="there is something already; name a folder that is not there yet")
    taken = _taken(outputs, history)
    with Storing("export to", target):
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name[:80]}.") as scratch:
            crate = Path(scratch) / "crate"
            crate.mkdir()
            _fill(crate, taken, history, told or Told())
            wrong = list(crate_verify.findings(crate_verify.Export.at(str(crate))))
            if wrong:
                raise NotExportable(path=target, reason=f"what was copied does not verify: {wrong[0]}")
            _put(crate, target)
        flush(target.absolute().parent)
    return target


def _put(crate: Path, target: Path) -> None:
    """Bring a crate to its place, whole or not at all."""
    if target.suffix != ".zip":
        crate.replace(target)
        return
    packed = crate.with_name("crate.zip")
    _pack(crate, packed)
    flush(packed)
    packed.replace(target)


def _taken(outputs: Sequence[Path], history: History) -> list[Exported]:
    """Look at outputs, refuse one that is not as it was sealed, and give each a name of its own."""
    verifier = Verifier(history=history, depth=Depth.FULL)
    names: set[str] = set()
    taken = []
    for each in outputs:
        manifest, wrong = verifier.manifest(each)
        if manifest is None or (wrong := [*wrong, *verifier.data(each, manifest)]):
            raise NotExportable(path=each, reason=str(wrong[0]))
        digest = digest_of_file(manifests.path_of(each))
        if digest not in history.by_manifest:
            raise NotExportable(path=each, reason="its manifest is not in the ledger")
        name = _free(text_of(each.resolve().name) or "output", names)
        taken.append(Exported(name=f"{_OUTPUTS}/{name}", source=each, manifest=manifest, digest=digest))
    if not taken:
        raise NotExportable(path=Path(), reason="no output was named")
    return taken


def _free(name: str, taken: set[str]) -> str:
    """Give a name that nobody has; the manifest of a file takes one, too."""
    found, number = name, 1
    while {found, f"{found}.{manifests.FOLDERS_NAME}"} & taken:
        number += 1
        found = f"{number}-{name}"
    taken |= {found, f"{found}.{manifests.FOLDERS_NAME}"}
    return found


def _fill(crate: Path, taken: list[Exported], history: History, told: Told) -> None:
    for each in taken:
        _copy_output(each, crate)
    code = {name: file for each in taken for name, file in _code(each)}
    for name, file in code.items():
        _copy_file(file, crate / name)
    segment = _segment(taken, history)
    content = {
        _VERIFY: Path(crate_verify.__file__).read_bytes(),
        crate_verify.LEDGER: b"".join(each.line + b"\n" for each in segment),
        _RECIPE: canonical_json([_recipe(each) for each in taken]).encode() + b"\n",
    }
    about = Crate(
        name=told.name,
        licence=told.licence,
        published=segment[-1].sealed,
        outputs=tuple(taken),
        code={name: digest_of_file(crate / name) for name in code},
        files={name: digest_of_bytes(each) for name, each in content.items()},
    )
    content[_METADATA] = metadata_of(about)
    for name, written in content.items():
        (crate / name).write_bytes(written)
    files = {**about.code, **{name: digest_of_bytes(each) for name, each in content.items()}}
    (crate / crate_verify.EXPORT).write_text(_record(taken, files, head=digest_of_bytes(segment[-1].line)))


def _record(taken: list[Exported], files: dict[str, str], *, head: str) -> str:
    """Say what the crate holds, and last the digest of having said so."""
    record: dict[str, Any] = {
        "form": crate_verify.FORM,
        "outputs": [{"name": each.name, "manifest": each.manifest_name, "digest": each.digest} for each in taken],
        "files": files,
        "head": head,
    }
    record["digest"] = digest_of_bytes(canonical_json(record).encode())
    return canonical_json(record)


def _segment(taken: list[Exported], history: History) -> list[Entry]:
    """Give the entries from the first of these outputs to the last: those between them hold the chain together."""
    numbers = [history.by_manifest[each.digest].sequence for each in taken]
    return history.entries[min(numbers) - 1 : max(numbers)]


def _recipe(exported: Exported) -> dict[str, Any]:
    manifest = exported.manifest.model_dump(mode="json", include={"output_id", "recipe", "parameters", "content_key"})
    return {"output": exported.name, **manifest}


def _code(exported: Exported) -> Iterator[tuple[str, Path]]:
    """Give the script and the modules of a run that are still as they ran."""
    for each in exported.manifest.inputs or ():
        if each.role not in {"script", "module"} or each.path is None:
            continue
        file = place_of_input(exported.source, each.path)
        if file.is_file() and each.digest == digest_of_tree(file):
            inside = file.name if each.role == "script" else place_of_module(str(each.name), file)
            if not leaves(inside):
                yield f"{_CODE}/{exported.name.partition('/')[2]}/{inside}", file


def _copy_output(exported: Exported, crate: Path) -> None:
    source, target = exported.source.resolve(), crate / exported.name
    _copy_file(manifests.path_of(source), crate / exported.manifest_name)
    if not source.is_dir():
        _copy_file(source, target)
    elif exported.manifest.data_version is not None:
        _copy_tree(source, target, source, leave_out=NOT_CONTENT)
    else:
        _copy_listed(exported.manifest, source, target)


def _copy_listed(manifest: Manifest, source: Path, target: Path) -> None:
    """Copy what a manifest lists of a run; other files lie beside that."""
    work = source / "work"
    root = work if manifest.output_type == "run" and work.is_dir() else source
    for each in manifest.outputs or ():
        file = root / each.name
        if leaves(each.name) or not file.resolve().is_relative_to(root.resolve()):
            raise NotExportable(path=source, reason=f"its file {each.name!r} leads out of its folder")
        _copy_file(file, target / each.name)


def _copy_tree(source: Path, target: Path, root: Path, leave_out: frozenset[bytes] = frozenset()) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for each in sorted(source.iterdir()):
        status = each.lstat()
        if os.fsencode(each.name) in leave_out:
            continue
        if stat.S_ISLNK(status.st_mode):
            leads = Path(os.path.normpath(each.parent / each.readlink()))
            if each.readlink().is_absolute() or not leads.is_relative_to(root):
                raise NotExportable(path=each, reason="it is a link that leads out of the output")
            (target / each.name).symlink_to(each.readlink())
        elif stat.S_ISDIR(status.st_mode):
            _copy_tree(each, target / each.name, root)
        else:
            _copy_file(each, target / each.name)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)


def _pack(crate: Path, target: Path) -> None:
    """Pack a folder so that the same content gives the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(crate.rglob("*")):
            status = each.lstat()
            name = each.relative_to(crate).as_posix()
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise NotExportable(path=each, reason="an archive can hold no such name; export to a folder") from error
            folder = stat.S_ISDIR(status.st_mode)
            entry = zipfile.ZipInfo(f"{name}/" if folder else name, _FIRST_OF_ZIP)
            entry.create_system, entry.external_attr = _UNIX, status.st_mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            if folder:
                archive.writestr(entry, b"")
            elif stat.S_ISLNK(status.st_mode):
                archive.writestr(entry, os.fsencode(each.readlink()))
            else:
                with each.open("rb") as file, archive.open(entry, "w", force_zip64=True) as packed:
                    shutil.copyfileobj(file, packed, 1 << 20)
