"""Which outputs there are: by their manifests alone, wherever they lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sluiceway.core.provenance import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BESIDE = f".{manifests.FOLDERS_NAME}"


def outputs_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Give the outputs at or below these paths, each once; a path where there is none is given itself.

    What is inside of an output is its content, whatever it looks like. Folders whose names begin with a dot are left
    out.
    """
    seen: set[Path] = set()
    for path in paths:
        for output in _below(path) if _is_gathering(path) else [_output_of(path)]:
            if output not in seen:
                seen.add(output)
                yield output


def is_output(path: Path) -> bool:
    """Tell whether a manifest is there for a path."""
    return manifests.path_of(path).is_file()


def _is_gathering(path: Path) -> bool:
    """Tell whether a path is a folder of outputs instead of one."""
    return path.is_dir() and not is_output(path) and next(_below(path), None) is not None


def _output_of(path: Path) -> Path:
    """Give the output that is meant by the name of its manifest, too."""
    if path.name == manifests.FOLDERS_NAME:
        return path.parent
    return path.with_name(path.name.removesuffix(_BESIDE)) if path.name.endswith(_BESIDE) else path


def _below(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as scanned:
        found = sorted(scanned, key=lambda each: each.name)
    for each in found:
        path = folder / each.name
        if each.name.endswith(_BESIDE):
            yield _output_of(path)
        elif each.is_dir() and os.path.isfile(f"{each.path}/{manifests.FOLDERS_NAME}"):  # noqa: PTH113 - asked of many
            yield path
        elif each.is_symlink():
            if path.exists() and is_output(path.resolve()):
                yield path
        elif each.is_dir() and not each.name.startswith("."):
            yield from _below(path)
