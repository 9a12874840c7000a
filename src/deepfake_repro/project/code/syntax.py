"""Source files as syntax trees: definitions, imports, and hashes that prose does not change."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

PACKAGE = __name__.partition(".")[0]
_BINDINGS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
)
"""Statements that only give a name its value."""
_IGNORED_FIELDS = {"ctx", "type_comment", "type_params", "kind", "type_ignores"}


class Definition(NamedTuple):
    """A name that a module defines at its top level."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass
class Module:
    """The top level of one source file."""

    name: str
    is_package: bool
    tree: ast.Module
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    on_import: list[ast.stmt] = field(default_factory=list)

    def __post_init__(self) -> None:
        for statement in self.tree.body:
            if _is_prose(statement) or _is_for_type_checkers(statement):
                continue
            if _is_for_a_script(statement):
                self.definitions.setdefault("__name__", []).append(statement)
                continue
            names = set(_bound_names(statement))
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if not names or not isinstance(statement, _BINDINGS):
                self.on_import.append(statement)

    @cached_property
    def imports(self) -> dict[str, Definition]:
        """Name -> definition, of what the module imports from the package at its top level."""
        names: dict[str, Definition] = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.If | ast.Try):
                names |= imported_names(statement, self)
        return names

    @property
    def package(self) -> str:
        """Dotted name of the package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def digest_of(statements: list[ast.stmt], bare_fields: bool = False) -> str:
    """Return a short hash of statements without docstrings, the same under every version of Python.

    ``bare_fields``: leave out annotated names without a value, the fields of dataclasses.
    """
    text = "\n".join(_canonical(statement, bare_fields) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def imported_modules(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the top-level names of all modules that ``statements`` import from elsewhere."""
    for part in (part for statement in statements for part in ast.walk(statement)):
        if isinstance(part, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and not part.level and part.module:
            yield part.module.partition(".")[0]


def _canonical(node: object, bare_fields: bool) -> str:
    """Return a syntax tree as text; ``ast.dump`` differs between versions of Python."""
    if isinstance(node, list):
        kept = (
            part
            for part in node
            if not _is_prose(part) and not (bare_fields and _is_bare_field(part))
        )
        return "[" + ",".join(_canonical(part, bare_fields) for part in kept) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    values = (
        (name, getattr(node, name, None)) for name in node._fields if name not in _IGNORED_FIELDS
    )
    parts = (
        f"{name}={_canonical(value, bare_fields)}"
        for name, value in values
        if value is not None and value != []
    )
    return f"{type(node).__name__}({','.join(parts)})"


def only(statement: ast.stmt, name: str) -> ast.stmt:
    """Return ``statement``, or the part of an import that binds ``name``."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return statement
    names = [
        alias for alias in statement.names if (alias.asname or alias.name).partition(".")[0] == name
    ]
    if isinstance(statement, ast.Import):
        return ast.Import(names=names)
    return ast.ImportFrom(module=statement.module, names=names, level=statement.level)


def _is_prose(node: object) -> bool:
    """Return True for a string on its own: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_bare_field(node: object) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is None


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _is_for_a_script(node: ast.stmt) -> bool:
    """Return True for ``if __name__ == "__main__"``, which counts where ``__name__`` is used."""
    return isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ ==")


def entries_named(statement: ast.stmt, names: Collection[str]) -> ast.stmt:
    """Return ``statement``; of ``X = Registry("kind", {"name": entry, …})`` only entries named."""
    entries = _registry_entries(statement)
    if entries is None:
        return statement
    return ast.Assign(
        targets=[ast.Name(id=name) for name in sorted(set(_bound_names(statement)))],
        value=ast.Dict(
            keys=[ast.Constant(value=name) for name in entries if name in names],
            values=[entry for name, entry in entries.items() if name in names],
        ),
    )


def _registry_entries(statement: ast.stmt) -> dict[str, ast.expr] | None:
    """Return the entries of a registry by name; None for other statements."""
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if not isinstance(value, ast.Call) or dotted(value.func)[-1:] != ["Registry"]:
        return None
    entries = value.args[-1]
    if not isinstance(entries, ast.Dict):
        return None
    names = [key.value for key in entries.keys if isinstance(key, ast.Constant)]
    if len(names) != len(entries.values):
        return None
    return {str(name): entry for name, entry in zip(names, entries.values, strict=True)}


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    else:
        names = (part for part in ast.walk(statement) if isinstance(part, ast.Name))
        yield from (name.id for name in names if isinstance(name.ctx, ast.Store))


def imported_names(node: ast.AST, module: Module) -> dict[str, Definition]:
    """Return name -> definition of every import from the package in ``node``, at whatever depth."""
    names: dict[str, Definition] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            base = _absolute(part, module)
            if base.partition(".")[0] == PACKAGE:
                names |= {
                    alias.asname or alias.name: Definition(base, alias.name) for alias in part.names
                }
        elif isinstance(part, ast.Import):
            for alias in part.names:
                if alias.name.partition(".")[0] == PACKAGE:
                    names[alias.asname or PACKAGE] = Definition(
                        alias.name if alias.asname else PACKAGE, ""
                    )
    return names


def _absolute(statement: ast.ImportFrom, module: Module) -> str:
    """Return the dotted name of the module that a ``from … import`` imports from."""
    if not statement.level:
        return statement.module or ""
    parts = module.package.split(".")
    base = parts[: len(parts) - statement.level + 1]
    return ".".join([*base, *(statement.module.split(".") if statement.module else [])])


def dotted(node: ast.AST) -> list[str]:
    """Return ``["a", "b", "c"]`` for the expression ``a.b.c``; empty if it has no name first."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return [*before, node.attr]
    return []


def chain(node: ast.AST) -> set[int]:
    """Return the identities of all expressions of an attribute chain, down to its first name."""
    identities = {id(node)}
    while isinstance(node, ast.Attribute):
        node = node.value
        identities.add(id(node))
    return identities
