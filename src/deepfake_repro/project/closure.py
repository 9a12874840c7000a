"""What a piece of code computes with: every definition of the package that it can reach, and the libraries behind it.

A stage of the pipeline must run again when a definition that it can reach changes, and must not run again for better
prose or for an addition that it does not use. The package is read as syntax trees and never imported. Names are followed
from the code of a stage to the functions, classes and constants they stand for, in whatever module, and from there on;
what a module does on import counts as soon as anything of it is reached. Docstrings, comments and formatting do not
count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = __name__.partition(".")[0]
SOURCE = Path(__file__).resolve().parents[1]
SCHEMA = (f"{PACKAGE}.project.params", f"{PACKAGE}.project.recipes")
"""Modules whose dataclasses declare what ``params.yaml`` contains: DVC itself tracks the values."""
ON_IMPORT = "<import>"
"""Names the statements of a module that run on import and are not plain definitions."""
EVERYTHING = "*"
"""Names all definitions of a module."""
_BINDINGS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
)
_IGNORED_FIELDS = {"ctx", "type_comment", "type_params", "kind", "type_ignores"}


class Definition(NamedTuple):
    """A name that a module defines at its top level."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass
class Code:
    """What a piece of code can reach: hash per definition of the package, version per library."""

    definitions: dict[str, str]
    libraries: dict[str, str]

    @classmethod
    def union(cls, codes: Sequence[Code]) -> Code:
        """Return what several pieces of code can reach together."""
        definitions = {name: value for code in codes for name, value in code.definitions.items()}
        libraries = {name: value for code in codes for name, value in code.libraries.items()}
        return cls(dict(sorted(definitions.items())), dict(sorted(libraries.items())))

    def digest(self) -> str:
        """Return a hash of both."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def as_json(self) -> str:
        """Return both as indented JSON, one definition per line."""
        content = {"definitions": self.definitions, "libraries": self.libraries}
        return json.dumps(content, indent=1, sort_keys=True) + "\n"


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
            names = set(_bound_names(statement))
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if not names or not isinstance(statement, _BINDINGS):
                self.on_import.append(statement)

    @cached_property
    def imports(self) -> dict[str, Definition]:
        """Name -> definition, of what the module imports from the package at its top level."""
        found: dict[str, Definition] = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.If | ast.Try):
                found |= _imported_names(statement, self)
        return found

    @property
    def package(self) -> str:
        """Dotted name of the package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


class Closure:
    """Follows names through the package in the folder ``source``.

    ``lock``: path of the file that pins the libraries; ``drawing``: modules that only draw pictures and do not count.
    """

    def __init__(self, source: Path = SOURCE, lock: Path | None = None, drawing: Sequence[str] = ()) -> None:
        self._source = source
        self._modules: dict[str, Module | None] = {}
        self._versions = read_lock(lock) if lock else {}
        self._drawing = {f"{PACKAGE}.{name}" for name in drawing}

    def of_text(self, code: str) -> Code:
        """Return what ``code``, such as the code cells of a notebook, can reach."""
        module = Module("", False, ast.parse(code))
        return self._code(self._targets(module.tree, module), module.tree.body)

    def of_function(self, function: Callable[..., Any]) -> Code:
        """Return what a top-level function of the package can reach. Raises ``ValueError`` for another one."""
        definition = Definition(function.__module__, function.__qualname__)
        module = self._module(definition.module)
        if module is None or definition.name not in module.definitions:
            raise ValueError(f"{definition}: not a function at the top level of a module of {PACKAGE}")
        return self._code([definition])

    def _module(self, name: str) -> Module | None:
        """Return the module called ``name``; None if the package has none of this name."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        first, *rest = name.split(".")
        if first != PACKAGE or "" in rest:
            return None
        folder = self._source.joinpath(*rest)
        for path, is_package in ((folder / "__init__.py", True), (folder.with_suffix(".py"), False)):
            if path.is_file():
                return Module(name, is_package, ast.parse(path.read_text(encoding="utf-8")))
        return None

    def _code(self, starts: list[Definition], own: Sequence[ast.stmt] = ()) -> Code:
        waiting, reached = list(starts), set(starts)
        hashes: dict[str, str] = {}
        libraries = set(_libraries(own))
        while waiting:
            definition = waiting.pop()
            if definition.module in self._drawing:
                continue
            statements, targets = self._expand(definition)
            if statements:
                hashes[str(definition)] = digest_of(statements, bare_fields=definition.module in SCHEMA)
                libraries |= set(_libraries(statements))
            new = set(targets) - reached
            waiting += new
            reached |= new
        return Code(dict(sorted(hashes.items())), self._pinned(libraries))

    def _expand(self, definition: Definition) -> tuple[list[ast.stmt], list[Definition]]:
        """Return the statements that make a definition, and what these refer to."""
        module = self._module(definition.module)
        if module is None:
            return [], []
        if definition.name == ON_IMPORT:
            return module.on_import, [*self._imported_by(module), *self._targets_of(module.on_import, module)]
        if definition.name == EVERYTHING:
            return [], [Definition(module.name, name) for name in (*module.definitions, ON_IMPORT)]
        own = Definition(module.name, ON_IMPORT)
        if definition.name in module.imports:
            return [], [own, module.imports[definition.name]]
        statements = [_only(statement, definition.name) for statement in module.definitions.get(definition.name, [])]
        if not statements:
            submodule = f"{module.name}.{definition.name}"
            return [], [own, Definition(submodule, EVERYTHING)] if self._module(submodule) else [own]
        return statements, [own, *self._targets_of(statements, module)]

    def _imported_by(self, module: Module) -> Iterator[Definition]:
        """Yield what runs when ``module`` is imported: its parent package and the modules it imports."""
        yield Definition(module.name.rpartition(".")[0], ON_IMPORT)
        for target in module.imports.values():
            yield Definition(target.module, ON_IMPORT)
            yield Definition(f"{target.module}.{target.name}", ON_IMPORT)

    def _targets_of(self, statements: list[ast.stmt], module: Module) -> list[Definition]:
        return [target for statement in statements for target in self._targets(statement, module)]

    def _targets(self, node: ast.AST, module: Module) -> list[Definition]:
        """Return the definitions that ``node``, a part of ``module``, refers to by name."""
        inner = _imported_names(node, module)
        imported = module.imports | inner
        found = [Definition(target.module, ON_IMPORT) for target in inner.values()]
        followed: set[int] = set()
        for part in ast.walk(node):  # an attribute comes before the expression that it is an attribute of
            if id(part) in followed or not isinstance(part, ast.Name | ast.Attribute):
                continue
            base, *attributes = _dotted(part) or [""]
            if base in imported:
                found.append(self._follow(imported[base], attributes))
                followed |= _chain(part)
            elif isinstance(part, ast.Name) and base in module.definitions:
                found.append(Definition(module.name, base))
        return found

    def _follow(self, target: Definition, attributes: list[str]) -> Definition:
        """Return the definition that ``target.attribute…`` means, as far as the names are modules."""
        parent = self._module(target.module)
        if parent and target.name in parent.definitions and parent.imports.get(target.name) != target:
            return target
        inner = f"{target.module}.{target.name}" if target.name else target.module
        if self._module(inner) is None:
            return target
        if not attributes:
            return Definition(inner, EVERYTHING)
        return self._follow(Definition(inner, attributes[0]), attributes[1:])

    def _pinned(self, modules: set[str]) -> dict[str, str]:
        """Return name -> version of the pinned libraries that provide ``modules``."""
        names = {_canonical_name(name) for module in modules for name in _distributions().get(module, [])}
        return {name: self._versions[name] for name in sorted(names & set(self._versions))}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return module -> distributions that provide it, of the environment."""
    return packages_distributions()


def code_digest(*functions: Callable[..., Any]) -> str:
    """Return one hash of all that top-level ``functions`` of the package can reach."""
    closure = Closure()
    return Code.union([closure.of_function(function) for function in functions]).digest()


def digest_of(statements: list[ast.stmt], bare_fields: bool = False) -> str:
    """Return a short hash of statements without docstrings, the same under every version of Python.

    ``bare_fields``: leave out annotated names without a value, the fields of dataclasses.
    """
    text = "\n".join(_canonical(statement, bare_fields) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_lock(path: Path) -> dict[str, str]:
    """Return canonical name -> version of each line ``name==version`` of a lock file."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {_canonical_name(name): version for name, version in pins}


def _canonical_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _canonical(node: object, bare_fields: bool) -> str:
    """Return a syntax tree as text; ``ast.dump`` differs between versions of Python."""
    if isinstance(node, list):
        kept = (part for part in node if not _is_prose(part) and not (bare_fields and _is_bare_field(part)))
        return "[" + ",".join(_canonical(part, bare_fields) for part in kept) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    values = ((name, getattr(node, name, None)) for name in node._fields if name not in _IGNORED_FIELDS)
    parts = (f"{name}={_canonical(value, bare_fields)}" for name, value in values if value is not None and value != [])
    return f"{type(node).__name__}({','.join(parts)})"


def _only(statement: ast.stmt, name: str) -> ast.stmt:
    """Return ``statement``; of an import only the part that binds ``name``, so that its neighbours do not count."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return statement
    names = [alias for alias in statement.names if (alias.asname or alias.name).partition(".")[0] == name]
    if isinstance(statement, ast.Import):
        return ast.Import(names=names)
    return ast.ImportFrom(module=statement.module, names=names, level=statement.level)


def _is_prose(node: object) -> bool:
    """Return True for a string on its own: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_bare_field(node: object) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is None


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    else:
        names = (part for part in ast.walk(statement) if isinstance(part, ast.Name))
        yield from (name.id for name in names if isinstance(name.ctx, ast.Store))


def _imported_names(node: ast.AST, module: Module) -> dict[str, Definition]:
    """Return name -> definition of every import from the package in ``node``, at whatever depth."""
    found: dict[str, Definition] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            base = _absolute(part, module)
            if base.partition(".")[0] == PACKAGE:
                found |= {alias.asname or alias.name: Definition(base, alias.name) for alias in part.names}
        elif isinstance(part, ast.Import):
            for alias in part.names:
                if alias.name.partition(".")[0] == PACKAGE:
                    found[alias.asname or PACKAGE] = Definition(alias.name if alias.asname else PACKAGE, "")
    return found


def _libraries(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the top-level names of all modules that ``statements`` import from elsewhere."""
    for part in (part for statement in statements for part in ast.walk(statement)):
        if isinstance(part, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and not part.level and part.module:
            yield part.module.partition(".")[0]


def _absolute(statement: ast.ImportFrom, module: Module) -> str:
    """Return the dotted name of the module that a ``from … import`` imports from."""
    if not statement.level:
        return statement.module or ""
    parts = module.package.split(".")
    base = parts[: len(parts) - statement.level + 1]
    return ".".join([*base, *(statement.module.split(".") if statement.module else [])])


def _dotted(node: ast.AST) -> list[str]:
    """Return ``["a", "b", "c"]`` for the expression ``a.b.c``; nothing if it does not begin with a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return [*before, node.attr]
    return []


def _chain(node: ast.AST) -> set[int]:
    """Return the identities of an attribute chain's expressions, from the whole to the name it begins with."""
    identities = {id(node)}
    while isinstance(node, ast.Attribute):
        node = node.value
        identities.add(id(node))
    return identities
