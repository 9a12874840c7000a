"""Three-valued evaluation of a claim: what must hold, what can hold.

Printed cells are known up to their rounding, cells of our own up to their intervals.
"""

from __future__ import annotations

import ast
from typing import Self

import numpy as np

from ...evaluation.statistics import LEVEL
from .language import DECIMALS, ROUNDING, Evaluator, Names, Table, Value, amount


class Rounded(Evaluator):
    """Evaluate with cells as (lowest, highest) value; truth as (must hold, can hold).

    Open intervals: that two cells both took the very end of theirs does not count.
    """

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        """Calculate with both ends."""
        left, right = (_both(self.visit(side)) for side in (node.left, node.right))
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right[::-1]
            case ast.Mult():
                ends = np.outer(left, right)
            case ast.Div():
                ends = np.outer(left, 1 / right)
            case _:
                return self.generic_visit(node)
        return np.array([ends.min(), ends.max()])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        """Negate: the ends, and what must and can hold, change places."""
        return _both(super().visit_UnaryOp(node))[::-1]

    def visit_Call(self, node: ast.Call) -> Value:
        """Evaluate ``abs``, ``about``, or a loop over a group."""
        match node:
            case ast.Call(keywords=[], func=ast.Name(id="abs"), args=[inside]):
                low, high = _both(self.visit(inside))
                return np.array([max(low, -high, 0), max(-low, high)])
        return super().visit_Call(node)

    def compare(self, symbol: ast.cmpop, left: Value, right: Value) -> Value:
        """Compare two pairs of ends."""
        (low, high), (other_low, other_high) = _both(left), _both(right)
        is_exact = low == high and other_low == other_high
        match symbol:
            case ast.Lt():
                return np.array([high < other_low, low < other_high])
            case ast.LtE():
                below = low <= other_high if is_exact else low < other_high
                return np.array([high <= other_low, below])
            case ast.Gt():
                return self.compare(ast.Lt(), right, left)
            case ast.GtE():
                return self.compare(ast.LtE(), right, left)
            case ast.Eq():
                can = low == other_low if is_exact else low < other_high and other_low < high
                return np.array([is_exact and low == other_low, can])
        return ~np.asarray(self.compare(ast.Eq(), left, right))[::-1]

    def is_within(self, value: Value, low: float, high: float) -> Value:
        """Say whether a value must lie, and can lie, in an interval."""
        lowest, highest = np.round(_both(value), DECIMALS)
        return np.array([low <= lowest and highest <= high, lowest < high and low < highest])


class Decided(Evaluator):
    """Evaluate on points and their draws; truth as (must hold, can hold).

    ``ratio``: by how much the intervals of what can hold are wider; ``asked`` collects the
    comparisons.
    """

    def __init__(
        self, point: Table, draws: Table, ratio: float, asked: list[ast.expr], names: Names
    ) -> None:
        super().__init__(point, names)
        self.draws = draws
        self.ratio = ratio
        self.asked = asked

    def within(self, names: Names) -> Self:
        """Return an evaluator of the same kind, inside a loop that has bound ``names``."""
        return type(self)(self.table, self.draws, self.ratio, self.asked, names)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        """Negate: the ends, and what must and can hold, change places."""
        return _both(super().visit_UnaryOp(node))[::-1]

    def visit_Compare(self, node: ast.Compare) -> Value:
        """Compare by the interval of the difference."""
        difference = ast.BinOp(node.left, ast.Sub(), node.comparators[0])
        low, high, lowest, highest = self._interval(difference)
        match node.ops[0]:
            case ast.Gt() | ast.GtE():
                return np.array([low > 0, highest > 0])
            case ast.Lt() | ast.LtE():
                return np.array([high < 0, lowest < 0])
            case ast.Eq():
                return np.array([False, lowest <= 0 <= highest])
        return np.array([low > 0 or high < 0, True])

    def visit_Call(self, node: ast.Call) -> Value:
        """Evaluate ``abs``, ``about``, or a loop over a group."""
        match node:
            case ast.Call(keywords=[], func=ast.Name(id="about"), args=[inside, *_]):
                low, high, lowest, highest = self._interval(inside)
                least, most = amount(node)
                covers = lowest <= most + ROUNDING and least - ROUNDING <= highest
                is_true = bool(Evaluator(self.table, self.names).visit(node))
                return np.array([is_true and not low <= 0 <= high, covers])
        return super().visit_Call(node)

    def _interval(self, node: ast.expr) -> tuple[float, float, float, float]:
        """Return the ends of the interval of a number, then those of the wider one."""
        self.asked.append(node)
        value = float(Evaluator(self.table, self.names).visit(node))
        drawn = Evaluator(self.draws, self.names).visit(node)
        low, high = np.round(np.percentile(drawn, LEVEL), DECIMALS)
        low, high = min(low, value), max(high, value)
        return low, high, value - self.ratio * (value - low), value + self.ratio * (high - value)


def rounded_table(point: Table, half: float) -> Table:
    """Return the cells of ``point`` as lowest and highest value before rounding, ``[2]``."""
    return lambda *cell: np.array([point(*cell) - half, point(*cell) + half])


def _both(value: Value) -> np.ndarray:
    return np.broadcast_to(value, 2)
