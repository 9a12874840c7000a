"""The claims ledger: sentences of the papers as small expressions over Table 3, evaluated on any table.

An expression has cells ``metric.row.set`` (``auc.fsfm_ba.df40``, percent), numbers, ``+ - * /``,
comparisons, ``and``, ``or``, ``not``, ``abs`` and, over the names of a group, ``all any most
mean``: ``all(m.fsfm.s > m.imagenet.s for m in metrics for s in wild_sets)``. ``about(x, 7.6)`` and
``about(x, 3, 4)`` stand for an amount in the text. Anything else is refused; nothing is ever
executed. A cell can also hold all bootstrap draws: then a comparison gives the share of draws in
which it holds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

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

Value = float | bool | np.ndarray
Table = Callable[[str, str, str], Value]
Entry = TypeVar("Entry")

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
HOLDS, FAILS, WITHIN = "holds", "does not hold", "within the interval"
ROUNDING = 0.05  # the text gives amounts with one decimal
_DECIMALS = 6  # 97.1 - 90.3 is no exact 6.8 in binary
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
_OVER = {
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
    """A sentence of a paper and the checks that it comes to; ``reading`` says how a vague word is read.

    ``table``: ``table3``, ``distances`` (of one triplet, for formulas) or ``study <name>``. ``note`` is printed beside a
    difference between text and table.
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
    """What a table says to a claim: one of ``holds``, ``does not hold``, ``within the interval``, a dash; and why."""

    word: str
    reasons: tuple[str, ...] = ()


def read_entries(file: Path, cls: type[Entry], key: str) -> list[Entry]:
    """The list under ``key`` of a YAML file as dataclasses; ``ValueError`` names an entry with a wrong or missing key."""
    entries = []
    known = {field.name for field in fields(cls)}
    for number, raw in enumerate(read_yaml(file)[key], start=1):
        if wrong := sorted(set(raw) - known):
            raise ValueError(
                f"{file.name}: entry {number} of {key} has the unknown key {wrong[0]!r}; "
                f"known: {', '.join(sorted(known))}"
            )
        try:
            entries.append(
                cls(
                    **{
                        name: tuple(value) if isinstance(value, list) else value
                        for name, value in raw.items()
                    }
                )
            )
        except TypeError as error:
            raise ValueError(
                f"{file.name}: entry {number} of {key} is {str(error).partition('() ')[2]}"
            ) from None
    return entries


def point_table(rows: Mapping[str, Mapping]) -> Table:
    """Cells of ``scores.json`` contents by row."""

    def cell(metric: str, row: str, key: str) -> float:
        if not rows.get(row):
            raise MissingCell(f"{ROW_NAMES.get(row, row)} is not run")
        if key not in rows[row].get(metric, {}):
            raise MissingCell(f"{metric}.{row}.{key} has no value")
        return rows[row][metric][key]

    return cell


def draws_table(replicates: Replicates) -> Table:
    """Cells that hold all bootstrap draws."""

    def cell(metric: str, row: str, key: str) -> np.ndarray:
        try:
            return replicates.cell(metric, row, key)
        except KeyError:
            raise MissingCell(f"{metric}.{row}.{key} has no value") from None

    return cell


def triplet_table(sides: Mapping[str, float]) -> Table:
    """Distances ``d.i.j`` within one triplet, for claims about formulas."""
    return lambda kind, first, second: sides[first + second]


def evaluate(expression: str, table: Table) -> Value:
    """Value of an expression: a number, true or false, or an array over draws.

    Raises ``ValueError`` for anything that is not in the language, :class:`MissingCell` for a cell
    without value.
    """
    return _value(_parsed(expression), table, {})


def judge(claim: Claim, point: Table, draws: Table | None = None) -> Verdict:
    """What ``point`` says to a claim and, where there are ``draws``, whether the videos suffice to say so.

    With draws, a claim holds (or does not) only if it does so in at least 97.5 % of them, which for
    one difference is a 95 % interval without zero; an amount holds if it rounds to the text's and
    is within the interval if that covers it. Reasons: each comparison that fails, with its numbers,
    or what is missing.
    """
    try:
        words = [_judge(_parsed(check), point, draws) for check in claim.checks]
        reasons = [reason for check in claim.checks for reason in failures(check, point)]
    except MissingCell as missing:
        return Verdict(MISSING, (str(missing),))
    return Verdict(next((word for word in (FAILS, WITHIN) if word in words), HOLDS), tuple(reasons))


def failures(expression: str, table: Table) -> list[str]:
    """The comparisons of a false expression that make it false, with their numbers; empty if it is true."""
    return list(_failures(_parsed(expression), table, {}))


def _judge(node: ast.expr, point: Table, draws: Table | None) -> str:
    amount = _is_call(node, "about")
    now = bool(_value(node, point, {}))
    if draws is None:
        return HOLDS if now else FAILS
    if amount:
        low, high = _amount(node)
        reach = np.percentile(_value(node.args[0], draws, {}), LEVEL)
        covered = reach[0] <= high + ROUNDING and low - ROUNDING <= reach[1]
        return HOLDS if now else WITHIN if covered else FAILS
    share = float(np.mean(_value(node, draws, {})))
    decided = share if now else 1 - share
    return WITHIN if decided < LEVEL[1] / 100 else HOLDS if now else FAILS


def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"claim {expression!r} is no expression: {error.msg}") from None


def _value(node: ast.expr, table: Table, names: _Names) -> Value:
    """Walk the tree; every kind of node that is allowed stands here."""
    match node:
        case ast.Constant(value=number) if type(number) in (int, float):
            return number
        case ast.Attribute():
            return table(*_cell(node, names))
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](
                _value(node.left, table, names), _value(node.right, table, names)
            )
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, table, names)
        case ast.UnaryOp(op=ast.Not()):
            return np.logical_not(_value(node.operand, table, names))
        case ast.BoolOp():
            reduce = _OVER["all" if isinstance(node.op, ast.And) else "any"]
            return reduce([_value(value, table, names) for value in node.values])
        case ast.Compare(ops=[op]) if type(op) in _ORDER:
            left, right = (_value(side, table, names) for side in (node.left, node.comparators[0]))
            return _ORDER[type(op)](np.round(left, _DECIMALS), np.round(right, _DECIMALS))
        case ast.Call(keywords=[], func=ast.Name(id="abs"), args=[inside]):
            return np.abs(_value(inside, table, names))
        case ast.Call(keywords=[], func=ast.Name(id="about"), args=[inside, *_]):
            low, high = _amount(node)
            value = np.round(_value(inside, table, names), _DECIMALS)
            return (value >= low - ROUNDING) & (value <= high + ROUNDING)
        case ast.Call(keywords=[], func=ast.Name(id=over), args=[ast.GeneratorExp() as loop]) if (
            over in _OVER
        ):
            return _OVER[over](
                [_value(loop.elt, table, bound) for bound in _bindings(loop.generators, names)]
            )
    raise ValueError(
        f"a claim may not contain {ast.unparse(node)!r}: use cells metric.row.set, numbers, + - * /, "
        "comparisons, and, or, not, abs, about, and all, any, most, mean over a group"
    )


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
            sides = (_shown(side, table, names) for side in (node.left, node.comparators[0]))
            symbol = ast.unparse(node).removeprefix(ast.unparse(node.left)).split()[0]
            yield f"{next(sides)}, not {symbol} {next(sides)}"
        case ast.Call(func=ast.Name(id="about")):
            yield f"{_shown(node.args[0], table, names)}, not {' to '.join(map(ast.unparse, node.args[1:]))}"
        case _:
            yield f"not {_text(node, names)}"


def _shown(node: ast.expr, table: Table, names: _Names) -> str:
    if isinstance(node, ast.Constant):
        return ast.unparse(node)
    return f"{_text(node, names)} = {float(_value(node, table, names)):.2f}".removesuffix("0")


class _Bind(ast.NodeTransformer):
    """Puts the names that a loop has bound into an expression, for people to read."""

    def __init__(self, names: _Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """A bound name."""
        return ast.Name(self.names.get(node.id, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        """A bound part of a cell."""
        return ast.Attribute(self.visit(node.value), self.names.get(node.attr, node.attr))


def _text(node: ast.expr, names: _Names) -> str:
    return ast.unparse(_Bind(names).visit(_parsed(ast.unparse(node))))


def _cell(node: ast.Attribute, names: _Names) -> tuple[str, ...]:
    match node:
        case ast.Attribute(attr=key, value=ast.Attribute(attr=row, value=ast.Name(id=metric))):
            return tuple(names.get(part, part) for part in (metric, row, key))
    raise ValueError(f"a claim may not contain {ast.unparse(node)!r}: a cell is metric.row.set")


def _bindings(loops: Sequence[ast.comprehension], names: _Names) -> Iterator[_Names]:
    """All values of the names of ``for a in group for b in [c, d] if b != c``."""
    if not loops:
        yield names
        return
    for member in _members(loops[0]):
        bound = {**names, loops[0].target.id: member}
        if all(_differs(condition, bound) for condition in loops[0].ifs):
            yield from _bindings(loops[1:], bound)


def _members(loop: ast.comprehension) -> Sequence[str]:
    match loop:
        case ast.comprehension(target=ast.Name(), iter=ast.Name(id=group)) if group in GROUPS:
            return GROUPS[group]
        case ast.comprehension(target=ast.Name(), iter=ast.List(elts=names)) if all(
            isinstance(name, ast.Name) for name in names
        ):
            return [name.id for name in names]
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


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _amount(node: ast.Call) -> tuple[float, float]:
    """Lowest and highest value of ``about(x, value)`` or ``about(x, low, high)``."""
    numbers: list[Any] = [_value(argument, _no_cells, {}) for argument in node.args[1:]]
    if len(numbers) not in (1, 2):
        raise ValueError(
            f"a claim may not contain {ast.unparse(node)!r}: give about(x, value) or about(x, low, high)"
        )
    return numbers[0], numbers[-1]


def _no_cells(*cell: str) -> float:
    raise ValueError(f"{'.'.join(cell)} stands where a claim needs a number")
