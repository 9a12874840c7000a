"""The claims language: sentences of the papers as small expressions over Table 3.

An expression has cells ``metric.row.set`` (``auc.fsfm_ba.df40``, percent), numbers, ``+ - * /``,
comparisons, ``and``, ``or``, ``not``, ``abs`` and, over the names of a group, ``all any most
mean``: ``all(m.fsfm.s > m.imagenet.s for m in metrics for s in wild_sets)``. ``about(x, 7.6)`` and
``about(x, 3, 4)`` stand for an amount in the text. Anything else is rejected; nothing is ever
executed. A cell can also contain all bootstrap draws: a comparison then gives the draws in which it
is true.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from ..evaluation.statistics import LEVEL, Replicates
from ..project.params import read_yaml
from ..project.vocabulary import (
    IN_DISTRIBUTION,
    IN_THE_WILD,
    METRICS,
    MISSING,
    PAPER_ROWS,
    ROW_NAMES,
    SCENARIOS,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = float | bool | np.ndarray
Table = Callable[[str, str, str], Value]
"""Metric, row and set -> the value of a cell."""
Entry = TypeVar("Entry", bound="DataclassInstance")

GROUPS: Mapping[str, Sequence[str]] = {
    "metrics": METRICS,
    "rows": PAPER_ROWS,
    "triplet_rows": ("fsfm_ba", "fsfm_hphn", "fsfm_ephn"),
    "attribution_rows": ("fsfm_category", "fsfm_dataset"),
    "training_sets": IN_DISTRIBUTION,
    "df40_sets": ("df40_fs", "df40_re", "df40"),
    "wild_sets": IN_THE_WILD,
    "scenarios": tuple(SCENARIOS),
}
HOLDS = "holds"
FAILS = "does not hold"
WITHIN = "within the interval"
ROUNDING = 0.05  # the text gives amounts with one decimal
_DECIMALS = 6  # 97.1 - 90.3 is not exactly 6.8 in binary
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_REDUCTIONS = {
    "all": lambda values: np.logical_and.reduce(values),
    "any": lambda values: np.logical_or.reduce(values),
    "most": lambda values: np.mean(values, axis=0) > 0.5,
    "mean": lambda values: np.mean(values, axis=0),
}
_Names = Mapping[str, str]


class MissingCell(ValueError):
    """A cell that the table does not have."""


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and its checks; ``reading`` says how a vague word is interpreted.

    ``table``: ``table3``, ``distances`` (of one triplet, for formulas) or ``study <name>``.
    ``note`` is printed beside a difference between text and table.
    """

    id: str
    section: str
    sentence: str
    checks: tuple[str, ...]
    reading: str = ""
    table: str = "table3"
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim: ``HOLDS``, ``FAILS``, ``WITHIN`` or ``MISSING``, with reasons."""

    word: str
    reasons: tuple[str, ...] = ()


def read_entries(file: Path, cls: type[Entry], key: str) -> list[Entry]:
    """Read the list under ``key`` of a YAML file as instances of the dataclass ``cls``.

    Raises ``ValueError`` naming an entry with an unknown or missing key.
    """
    entries = []
    allowed = {field.name for field in fields(cls)}
    for number, raw in enumerate(read_yaml(file)[key], start=1):
        unknown = sorted(set(raw) - allowed)
        if unknown:
            raise ValueError(
                f"{file.name}: entry {number} of {key} has the unknown key {unknown[0]!r}: "
                f"use one of {', '.join(sorted(allowed))}"
            )
        values = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()
        }
        try:
            entries.append(cls(**values))
        except TypeError as error:
            reason = str(error).partition("() ")[2]  # "missing 1 required ..."
            raise ValueError(f"{file.name}: entry {number} of {key} is {reason}") from None
    return entries


def point_table(rows: Mapping[str, Mapping]) -> Table:
    """Return the cells of ``rows``: content of ``scores.json`` by row."""

    def cell(metric: str, row: str, key: str) -> float:
        if not rows.get(row):
            raise MissingCell(f"{ROW_NAMES.get(row, row)} was not run")
        if key not in rows[row].get(metric, {}):
            raise MissingCell(f"{metric}.{row}.{key} has no value")
        return rows[row][metric][key]

    return cell


def draws_table(replicates: Replicates) -> Table:
    """Return cells that contain all bootstrap draws."""

    def cell(metric: str, row: str, key: str) -> np.ndarray:
        try:
            return replicates.cell(metric, row, key)
        except KeyError:
            raise MissingCell(f"{metric}.{row}.{key} has no value") from None

    return cell


def triplet_table(sides: Mapping[str, float]) -> Table:
    """Return distances ``d.i.j`` within one triplet as cells, for claims about formulas."""
    return lambda kind, first, second: sides[first + second]


def evaluate(expression: str, table: Table) -> Value:
    """Evaluate an expression to a number, a truth value, or an array over draws.

    Raises ``ValueError`` for anything outside the language, :class:`MissingCell` for a cell without
    a value.
    """
    return _value(_parse(expression), table, {})


def judge(claim: Claim, point: Table, draws: Table | None = None) -> Verdict:
    """Judge a claim on the values of ``point``, and on whether the videos suffice to decide it.

    With ``draws``, a claim holds (or does not hold) only if it does so in at least 97.5 % of them,
    which for one difference means a 95 % interval without zero; an amount holds if it rounds to the
    text's, and is within the interval if the interval covers it. Reasons: each comparison that
    fails, with its numbers, or the missing cell.
    """
    try:
        words = [_judge(_parse(check), point, draws) for check in claim.checks]
        reasons = [reason for check in claim.checks for reason in failures(check, point)]
    except MissingCell as missing:
        return Verdict(MISSING, (str(missing),))
    worst = next((word for word in (FAILS, WITHIN) if word in words), HOLDS)
    return Verdict(worst, tuple(reasons))


def failures(expression: str, table: Table) -> list[str]:
    """List the comparisons that make an expression false, with their numbers, if it is false."""
    return list(_failures(_parse(expression), table, {}))


def _judge(node: ast.expr, point: Table, draws: Table | None) -> str:
    is_true = bool(_value(node, point, {}))
    word = HOLDS if is_true else FAILS
    if draws is None:
        return word
    match node:
        case ast.Call(func=ast.Name(id="about")):
            covered = _covers_amount(node, draws)
            return WITHIN if covered and not is_true else word
    share = float(np.mean(_value(node, draws, {})))
    agreement = share if is_true else 1 - share
    return WITHIN if agreement < LEVEL[1] / 100 else word


def _covers_amount(node: ast.Call, draws: Table) -> bool:
    low, high = _amount(node)
    interval = np.percentile(_value(node.args[0], draws, {}), LEVEL)
    return bool(interval[0] <= high + ROUNDING and low - ROUNDING <= interval[1])


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"claim {expression!r} is not a valid expression: {error.msg}; correct it"
        ) from None


def _value(node: ast.expr, table: Table, names: _Names) -> Value:
    return _Evaluator(table, names).visit(node)


class _Evaluator(ast.NodeVisitor):
    """Evaluate an expression; there is one method for each kind of node that is allowed."""

    def __init__(self, table: Table, names: _Names) -> None:
        self.table = table
        self.names = names  # bound by the loops around the expression

    def generic_visit(self, node: ast.AST) -> NoReturn:
        raise ValueError(
            f"a claim may not contain {ast.unparse(node)!r}: use cells metric.row.set, numbers, "
            "+ - * /, comparisons, and, or, not, abs, about, and all, any, most, mean over a group"
        )

    def visit_Constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        return self.table(*_cell(node, self.names))

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        if type(node.op) not in _ARITHMETIC:
            self.generic_visit(node)
        return _ARITHMETIC[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        match node.op:
            case ast.USub():
                return -self.visit(node.operand)
            case ast.Not():
                return np.logical_not(self.visit(node.operand))
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        name = "all" if isinstance(node.op, ast.And) else "any"
        return _REDUCTIONS[name]([self.visit(value) for value in node.values])

    def visit_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _ORDER:
            self.generic_visit(node)
        left = np.round(self.visit(node.left), _DECIMALS)
        right = np.round(self.visit(node.comparators[0]), _DECIMALS)
        return _ORDER[type(node.ops[0])](left, right)

    def visit_Call(self, node: ast.Call) -> Value:
        match node:
            case ast.Call(keywords=[], func=ast.Name(id="abs"), args=[inside]):
                return np.abs(self.visit(inside))
            case ast.Call(keywords=[], func=ast.Name(id="about"), args=[inside, *_]):
                low, high = _amount(node)
                value = np.round(self.visit(inside), _DECIMALS)
                return (value >= low - ROUNDING) & (value <= high + ROUNDING)
            case ast.Call(keywords=[], func=ast.Name(id=name), args=[ast.GeneratorExp() as loop]):
                if name in _REDUCTIONS:
                    bindings = _bindings(loop.generators, self.names)
                    values = [_value(loop.elt, self.table, names) for names in bindings]
                    return _REDUCTIONS[name](values)
        return self.generic_visit(node)


def _failures(node: ast.expr, table: Table, names: _Names) -> Iterator[str]:
    if np.all(_value(node, table, names)):
        return
    match node:
        case ast.BoolOp(op=ast.And()):
            for value in node.values:
                yield from _failures(value, table, names)
        case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() as loop]):
            for bound in _bindings(loop.generators, names):
                yield from _failures(loop.elt, table, bound)
        case ast.Compare():
            left = _with_value(node.left, table, names)
            right = _with_value(node.comparators[0], table, names)
            symbol = ast.unparse(node).removeprefix(ast.unparse(node.left)).split()[0]
            yield f"{left}, not {symbol} {right}"
        case ast.Call(func=ast.Name(id="about")):
            amount = " to ".join(ast.unparse(argument) for argument in node.args[1:])
            yield f"{_with_value(node.args[0], table, names)}, not {amount}"
        case _:
            yield f"not {_text(node, names)}"


def _with_value(node: ast.expr, table: Table, names: _Names) -> str:
    if isinstance(node, ast.Constant):
        return ast.unparse(node)
    return f"{_text(node, names)} = {float(_value(node, table, names)):.2f}".removesuffix("0")


class _Bind(ast.NodeTransformer):
    """Replace the names that a loop has bound in an expression, for readers."""

    def __init__(self, names: _Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        return ast.Attribute(self.visit(node.value), self.names.get(node.attr, node.attr))


def _text(node: ast.expr, names: _Names) -> str:
    return ast.unparse(_Bind(names).visit(_parse(ast.unparse(node))))


def _cell(node: ast.Attribute, names: _Names) -> tuple[str, ...]:
    match node:
        case ast.Attribute(attr=key, value=ast.Attribute(attr=row, value=ast.Name(id=metric))):
            return tuple(names.get(part, part) for part in (metric, row, key))
    raise ValueError(f"a claim may not contain {ast.unparse(node)!r}: a cell is metric.row.set")


def _bindings(loops: Sequence[ast.comprehension], names: _Names) -> Iterator[_Names]:
    """Yield all bindings of the names of ``for a in group for b in [c, d] if b != c``."""
    if not loops:
        yield names
        return
    variable, members = _loop(loops[0])
    for member in members:
        bound = {**names, variable: member}
        if all(_differs(condition, bound) for condition in loops[0].ifs):
            yield from _bindings(loops[1:], bound)


def _loop(loop: ast.comprehension) -> tuple[str, Sequence[str]]:
    """Return the variable of a loop and the names that it runs over."""
    match loop:
        case ast.comprehension(target=ast.Name(id=variable), iter=ast.Name(id=group)):
            if group in GROUPS:
                return variable, GROUPS[group]
        case ast.comprehension(target=ast.Name(id=variable), iter=ast.List(elts=elements)):
            members = [element.id for element in elements if isinstance(element, ast.Name)]
            if len(members) == len(elements):
                return variable, members
    raise ValueError(
        f"a claim may not loop over {ast.unparse(loop.iter)!r}: use a list of names or one of "
        f"{', '.join(GROUPS)}"
    )


def _differs(condition: ast.expr, names: _Names) -> bool:
    match condition:
        case ast.Compare(
            left=ast.Name(id=left), ops=[ast.NotEq()], comparators=[ast.Name(id=right)]
        ):
            return names.get(left, left) != names.get(right, right)
    raise ValueError(
        f"a claim may not contain the condition {ast.unparse(condition)!r}: use name != name"
    )


def _amount(node: ast.Call) -> tuple[float, float]:
    """Return the lowest and highest value of ``about(x, value)`` or ``about(x, low, high)``."""
    numbers: list[Any] = [_value(argument, _no_cells, {}) for argument in node.args[1:]]
    if len(numbers) not in (1, 2):
        raise ValueError(
            f"a claim may not contain {ast.unparse(node)!r}: "
            "give about(x, value) or about(x, low, high)"
        )
    return numbers[0], numbers[-1]


def _no_cells(*cell: str) -> float:
    raise ValueError(f"a claim needs a number in about(), not the cell {'.'.join(cell)}: give one")
