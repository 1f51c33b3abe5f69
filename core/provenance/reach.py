"""What a function of a module reaches in that module: the statements it depends on, and what they import.

A script often holds several tasks and the flow that calls them, and an edit of one must not change the others' keys. So
of a task's own module only that counts which the function names, directly or through what it names: functions, classes,
constants, imports. Names in texts, `globals()` and the like are not seen.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.provenance.software import absolute, imports

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The text of the statements that count, and the names of the modules, or things in them, that they import."""

    text: bytes
    imports: frozenset[str]


@functools.cache
def reached(text: bytes, name: str, package: str = "", bystanders: frozenset[str] = frozenset()) -> Reached:
    """Give what the definition of this name at the top of a module reaches; without one, all of the module.

    Args:
        text: The module's text.
        name: A function or class that is defined there.
        package: The package that the module is in, for imports that begin with a dot.
        bystanders: Packages whose decorators do not change what the function itself computes.
    """
    module = _Module(text, package)
    roots = [each for each in module.statements if isinstance(each, _DEFINITIONS) and each.name == name]
    if not roots:
        return Reached(text=text, imports=imports(text, package))
    for root in roots:
        root.decorator_list = [each for each in root.decorator_list if not module.is_of(each, bystanders)]
    counted = module.reached_from([*roots, *filter(_acts, module.statements)])
    lines = [module.text_of(each) for each in counted if not _is_import(each)]
    used = {used for each in counted for used in _names(each)}
    bound = sorted((alias, target) for alias, target in module.imported if alias in used or alias == "*")
    lines += [f"{alias} = {target}" for alias, target in bound]
    inside = {found for each in counted if not _is_import(each) for found in imports(_parsed(each), package)}
    # `from a import b` may be the module a.b or something in a.
    targets = {target for _, target in bound}
    above = {target.rpartition(".")[0] for target in targets} - {""}
    return Reached(text="\n".join(lines).encode(), imports=frozenset({*targets, *above, *inside}))


class _Module:
    """A module's statements, and which of them give a name its meaning."""

    def __init__(self, text: bytes, package: str) -> None:
        self._lines = text.decode().splitlines()
        self.statements = [each for each in ast.parse(text).body if not _is_left_out(each)]
        self.imported: set[tuple[str, str]] = set()
        self._binding: dict[str, list[ast.stmt]] = {}
        for each in self.statements:
            for name in _bound(each):
                self._binding.setdefault(name, []).append(each)
            for node in _outside_of_functions(each):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    self.imported |= _aliases(node, package)

    def reached_from(self, roots: list[ast.stmt]) -> list[ast.stmt]:
        """Give the statements that these reach, in the module's order."""
        found: set[ast.stmt] = set()
        waiting = [*roots]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += [binding for name in _names(each) for binding in self._binding.get(name, ())]
        return [each for each in self.statements if each in found]

    def is_of(self, decorator: ast.expr, packages: frozenset[str]) -> bool:
        """Tell whether a decorator comes from one of these packages."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(called, ast.Attribute):
            called = called.value
        name = called.id if isinstance(called, ast.Name) else None
        return any(target.partition(".")[0] in packages for alias, target in self.imported if alias == name)

    def text_of(self, statement: ast.stmt) -> str:
        """Give a statement's lines; of a definition, with the decorators that count."""
        decorators = getattr(statement, "decorator_list", [])
        spans = [(each.lineno, each.end_lineno) for each in (*decorators, statement)]
        return "\n".join("\n".join(self._lines[first - 1 : last]) for first, last in spans)


def _parsed(statement: ast.stmt) -> bytes:
    return ast.unparse(statement).encode()


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _is_left_out(statement: ast.stmt) -> bool:
    """Tell what does not run where a task does: for type checkers alone, or for a script that is run itself."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = ast.unparse(statement.test)
    return "TYPE_CHECKING" in test or test.replace('"', "'") == "__name__ == '__main__'"


def _acts(statement: ast.stmt) -> bool:
    """Tell a statement that does something at import and gives no name a meaning, such as `random.seed(1)`."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    return not is_text and not is_future and (not set(_bound(statement)) or _has_star(statement))


def _has_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(each.name == "*" for each in statement.names)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Give the names that a statement gives a meaning at the top of the module."""
    for node in _outside_of_functions(statement):
        if isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (each.asname or each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            # `settings["x"] = 1` changes what settings means.
            yield from (each.id for each in ast.walk(node.value) if isinstance(each, ast.Name))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def _outside_of_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        for each in ast.iter_child_nodes(node):
            yield from _outside_of_functions(each)


def _names(statement: ast.stmt) -> set[str]:
    return {each.id for each in ast.walk(statement) if isinstance(each, ast.Name)}


def _aliases(node: ast.Import | ast.ImportFrom, package: str) -> set[tuple[str, str]]:
    """Give each name that is imported, with what it stands for."""
    if isinstance(node, ast.Import):
        return {(each.asname or each.name.partition(".")[0], each.name) for each in node.names}
    source = absolute(node, package)
    return {(each.asname or each.name, f"{source}.{each.name}") for each in node.names}
