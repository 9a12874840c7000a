"""The language of claims: sentences of the papers as small expressions over Table 3.

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
from typing import Any, NoReturn, Self

import numpy as np

from ...project.vocabulary import IN_DISTRIBUTION, IN_THE_WILD, METRICS, PAPER_ROWS, SCENARIOS

Value = float | bool | np.ndarray
Table = Callable[[str, str, str], Value]
"""Metric, row and set -> the value of a cell."""

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
ROUNDING = 0.05
"""Half of the last decimal of a printed amount or cell."""
DECIMALS = 6  # 97.1 - 90.3 is not exactly 6.8 in binary
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
Names = Mapping[str, str]


class MissingCell(ValueError):
    """A cell that the table does not have."""


def evaluate(expression: str, table: Table) -> Value:
    """Evaluate an expression to a number, a truth value, or an array over draws.

    Raises ``ValueError`` for anything outside the language, :class:`MissingCell` for a cell without
    a value.
    """
    return Evaluator(table, {}).visit(parse(expression))


def cells_of(expression: str) -> set[tuple[str, str, str]]:
    """Collect the cells that an expression asks for."""
    cells = set()

    def noted(metric: str, row: str, key: str) -> float:
        cells.add((metric, row, key))
        return 1.0

    evaluate(expression, noted)
    return cells


def parse(expression: str) -> ast.expr:
    """Parse an expression; ``ValueError`` if it is not one."""
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"claim {expression!r} is not a valid expression: {error.msg}; correct it"
        ) from None


class Evaluator(ast.NodeVisitor):
    """Evaluate an expression; there is one method for each kind of node that is allowed."""

    def __init__(self, table: Table, names: Names) -> None:
        self.table = table
        self.names = names  # bound by the loops around the expression

    def within(self, names: Names) -> Self:
        """Return an evaluator of the same kind, inside a loop that has bound ``names``."""
        return type(self)(self.table, names)

    def generic_visit(self, node: ast.AST) -> NoReturn:
        """Reject whatever has no method of its own."""
        raise ValueError(
            f"a claim may not contain {ast.unparse(node)!r}: use cells metric.row.set, numbers, "
            "+ - * /, comparisons, and, or, not, abs, about, and all, any, most, mean over a group"
        )

    def visit_Constant(self, node: ast.Constant) -> Value:
        """Evaluate a number."""
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        """Look up a cell."""
        return self.table(*_cell(node, self.names))

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        """Add, subtract, multiply or divide."""
        if type(node.op) not in _ARITHMETIC:
            self.generic_visit(node)
        return _ARITHMETIC[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        """Negate a number or a truth."""
        match node.op:
            case ast.USub():
                return -self.visit(node.operand)
            case ast.Not():
                return np.logical_not(self.visit(node.operand))
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        """Join truths by ``and`` or ``or``."""
        name = "all" if isinstance(node.op, ast.And) else "any"
        return _REDUCTIONS[name]([self.visit(value) for value in node.values])

    def visit_Compare(self, node: ast.Compare) -> Value:
        """Compare two values, free of binary noise."""
        if len(node.ops) != 1 or type(node.ops[0]) not in _ORDER:
            self.generic_visit(node)
        left = np.round(self.visit(node.left), DECIMALS)
        right = np.round(self.visit(node.comparators[0]), DECIMALS)
        return self.compare(node.ops[0], left, right)

    def compare(self, symbol: ast.cmpop, left: Value, right: Value) -> Value:
        """Compare two rounded values."""
        return _ORDER[type(symbol)](left, right)

    def is_within(self, value: Value, low: float, high: float) -> Value:
        """Say whether a value lies in an interval, both ends included."""
        value = np.round(value, DECIMALS)
        return (value >= low) & (value <= high)

    def visit_Call(self, node: ast.Call) -> Value:
        """Evaluate ``abs``, ``about``, or a loop over a group."""
        match node:
            case ast.Call(keywords=[], func=ast.Name(id="abs"), args=[inside]):
                return np.abs(self.visit(inside))
            case ast.Call(keywords=[], func=ast.Name(id="about"), args=[inside, *_]):
                low, high = amount(node)
                return self.is_within(self.visit(inside), low - ROUNDING, high + ROUNDING)
            case ast.Call(keywords=[], func=ast.Name(id=name), args=[ast.GeneratorExp() as loop]):
                if name in _REDUCTIONS:
                    bound = bindings(loop.generators, self.names)
                    values = [self.within(names).visit(loop.elt) for names in bound]
                    return _REDUCTIONS[name](values)
        return self.generic_visit(node)


def _cell(node: ast.Attribute, names: Names) -> tuple[str, ...]:
    match node:
        case ast.Attribute(attr=key, value=ast.Attribute(attr=row, value=ast.Name(id=metric))):
            return tuple(names.get(part, part) for part in (metric, row, key))
    raise ValueError(f"a claim may not contain {ast.unparse(node)!r}: a cell is metric.row.set")


def bindings(loops: Sequence[ast.comprehension], names: Names) -> Iterator[Names]:
    """Yield all bindings of the names of ``for a in group for b in [c, d] if b != c``."""
    if not loops:
        yield names
        return
    variable, members = _loop(loops[0])
    for member in members:
        bound = {**names, variable: member}
        if all(_differs(condition, bound) for condition in loops[0].ifs):
            yield from bindings(loops[1:], bound)


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


def _differs(condition: ast.expr, names: Names) -> bool:
    match condition:
        case ast.Compare(
            left=ast.Name(id=left), ops=[ast.NotEq()], comparators=[ast.Name(id=right)]
        ):
            return names.get(left, left) != names.get(right, right)
    raise ValueError(
        f"a claim may not contain the condition {ast.unparse(condition)!r}: use name != name"
    )


def amount(node: ast.Call) -> tuple[float, float]:
    """Return the lowest and highest value of ``about(x, value)`` or ``about(x, low, high)``."""
    numbers: list[Any] = [Evaluator(_no_cells, {}).visit(argument) for argument in node.args[1:]]
    if len(numbers) not in (1, 2):
        raise ValueError(
            f"a claim may not contain {ast.unparse(node)!r}: "
            "give about(x, value) or about(x, low, high)"
        )
    return numbers[0], numbers[-1]


def _no_cells(*cell: str) -> float:
    raise ValueError(f"a claim needs a number in about(), not the cell {'.'.join(cell)}: give one")
