"""What a piece of code depends on: all definitions that it can reach, and the libraries they use.

A stage must rerun when a definition that it can reach changes. It must not rerun after a change of
prose or an addition that it does not use. The package is read as syntax trees and never imported.
From the code of a stage, names are resolved recursively to functions, classes and constants in any
module. A module's import-time statements count as soon as one of its definitions is reached.
Docstrings, comments and formatting do not count, nor do the
entries of a ``Registry`` that the parameters of a stage do not name.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from .syntax import (
    PACKAGE,
    Definition,
    Module,
    chain,
    digest_of,
    dotted,
    entries_named,
    imported_modules,
    imported_names,
    only,
)

SOURCE = Path(__file__).resolve().parents[2]
SCHEMA = (f"{PACKAGE}.project.params", f"{PACKAGE}.project.recipes")
"""Modules whose dataclasses declare what ``params.yaml`` contains: DVC itself tracks the values."""
NAMING = ("project.code.closure", "project.code.syntax")
"""Modules that only name scratch folders by the code that fills them: they change no result."""
ON_IMPORT = "<import>"
"""Names the statements of a module that run on import and are not plain definitions."""
EVERYTHING = "*"
"""Names all definitions of a module."""


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


class Closure:
    """Follows names through the package in the folder ``source``.

    ``lock``: path of the file that pins the libraries; ``ignored``: modules that do not count, such
    as those that only draw pictures; ``chosen``: entries of registries that count, None for all.
    """

    def __init__(
        self,
        source: Path = SOURCE,
        lock: Path | None = None,
        ignored: Sequence[str] = (),
        chosen: Collection[str] | None = None,
    ) -> None:
        self._source = source
        self._modules: dict[str, Module | None] = {}
        self._versions = read_lock(lock) if lock else {}
        self._ignored = {f"{PACKAGE}.{name}" for name in (*ignored, *NAMING)}
        self._chosen = chosen

    def choosing(self, chosen: Collection[str]) -> Closure:
        """Return a closure with these entries of registries, over the same parsed modules."""
        other = copy(self)
        other._chosen = chosen
        return other

    def of_text(self, code: str) -> Code:
        """Return what ``code``, such as the code cells of a notebook, can reach."""
        module = Module("", False, ast.parse(code))
        return self._code(self._targets(module.tree, module), module.tree.body)

    def of_function(self, function: Callable[..., Any]) -> Code:
        """Return what a top-level function of the package can reach; ``ValueError`` for others."""
        definition = Definition(function.__module__, function.__qualname__)
        module = self._module(definition.module)
        if module is None or definition.name not in module.definitions:
            raise ValueError(
                f"{definition}: not a function at the top level of a module of {PACKAGE}"
            )
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
        for path, is_package in (
            (folder / "__init__.py", True),
            (folder.with_suffix(".py"), False),
        ):
            if path.is_file():
                return Module(name, is_package, ast.parse(path.read_text(encoding="utf-8")))
        return None

    def _code(self, starts: list[Definition], own: Sequence[ast.stmt] = ()) -> Code:
        waiting, reached = list(starts), set(starts)
        hashes: dict[str, str] = {}
        modules = set(imported_modules(own))
        while waiting:
            definition = waiting.pop()
            if definition.module in self._ignored:
                continue
            statements, targets = self._expand(definition)
            if statements:
                hashes[str(definition)] = digest_of(
                    statements, bare_fields=definition.module in SCHEMA
                )
                modules |= set(imported_modules(statements))
            new = set(targets) - reached
            waiting += new
            reached |= new
        return Code(dict(sorted(hashes.items())), self._pinned(modules))

    def _expand(self, definition: Definition) -> tuple[list[ast.stmt], list[Definition]]:
        """Return the statements that make a definition, and what these refer to."""
        module = self._module(definition.module)
        if module is None:
            return [], []
        if definition.name == ON_IMPORT:
            return module.on_import, [
                *self._imported_by(module),
                *self._targets_of(module.on_import, module),
            ]
        if definition.name == EVERYTHING:
            return [], [Definition(module.name, name) for name in (*module.definitions, ON_IMPORT)]
        own = Definition(module.name, ON_IMPORT)
        if definition.name in module.imports:
            return [], [own, module.imports[definition.name]]
        statements = [
            self._counted(only(statement, definition.name))
            for statement in module.definitions.get(definition.name, [])
        ]
        if not statements:
            submodule = f"{module.name}.{definition.name}"
            return [], [own, Definition(submodule, EVERYTHING)] if self._module(submodule) else [
                own
            ]
        return statements, [own, *self._targets_of(statements, module)]

    def _counted(self, statement: ast.stmt) -> ast.stmt:
        return statement if self._chosen is None else entries_named(statement, self._chosen)

    def _imported_by(self, module: Module) -> Iterator[Definition]:
        """Yield what runs when ``module`` is imported: its parent package and its own imports."""
        yield Definition(module.name.rpartition(".")[0], ON_IMPORT)
        for target in module.imports.values():
            yield Definition(target.module, ON_IMPORT)
            yield Definition(f"{target.module}.{target.name}", ON_IMPORT)

    def _targets_of(self, statements: list[ast.stmt], module: Module) -> list[Definition]:
        return [target for statement in statements for target in self._targets(statement, module)]

    def _targets(self, node: ast.AST, module: Module) -> list[Definition]:
        """Return the definitions that ``node``, a part of ``module``, refers to by name."""
        inner = imported_names(node, module)
        imported = module.imports | inner
        targets = [Definition(target.module, ON_IMPORT) for target in inner.values()]
        followed: set[int] = set()
        for part in ast.walk(node):  # yields an attribute before the expression it belongs to
            if id(part) in followed or not isinstance(part, ast.Name | ast.Attribute):
                continue
            base, *attributes = dotted(part) or [""]
            if base in imported:
                targets.append(self._follow(imported[base], attributes))
                followed |= chain(part)
            elif isinstance(part, ast.Name) and base in module.definitions:
                targets.append(Definition(module.name, base))
        return targets

    def _follow(self, target: Definition, attributes: list[str]) -> Definition:
        """Return the definition that ``target.attribute…`` refers to, through nested modules."""
        parent = self._module(target.module)
        if (
            parent
            and target.name in parent.definitions
            and parent.imports.get(target.name) != target
        ):
            return target
        inner = f"{target.module}.{target.name}" if target.name else target.module
        if self._module(inner) is None:
            return target
        if not attributes:
            return Definition(inner, EVERYTHING)
        return self._follow(Definition(inner, attributes[0]), attributes[1:])

    def _pinned(self, modules: set[str]) -> dict[str, str]:
        """Return name -> version of the pinned libraries that provide ``modules``."""
        names = {
            canonical_name(name) for module in modules for name in _distributions().get(module, [])
        }
        return {name: self._versions[name] for name in sorted(names & set(self._versions))}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return module -> distributions that provide it, of the environment."""
    return packages_distributions()


def code_digest(*functions: Callable[..., Any]) -> str:
    """Return one hash of all that top-level ``functions`` of the package can reach."""
    closure = Closure()
    return Code.union([closure.of_function(function) for function in functions]).digest()


def read_lock(path: Path) -> dict[str, str]:
    """Return canonical name -> version of each line ``name==version`` of a lock file."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {canonical_name(name): version for name, version in pins}


def canonical_name(distribution: str) -> str:
    """Normalise the name of a package as PyPI does."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
