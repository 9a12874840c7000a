"""Claims: sentences of the papers, and whether a table of results bears them out.

A claim has expressions in the language of :mod:`.expressions.language`. On printed numbers it
holds, does not hold, or could hold before the cells were rounded. On results of our own the videos
may also be too few to decide; then the verdict says how many would do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.stats import norm

from ..evaluation.bounds import NORMAL_QUANTILE, TAIL
from ..evaluation.statistics import Replicates
from ..project.params import read_yaml
from ..project.vocabulary import MISSING, ROW_NAMES
from .expressions.language import Evaluator, MissingCell, Names, Table, Value, bindings, parse
from .expressions.uncertain import Decided, Rounded, rounded_table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Entry = TypeVar("Entry", bound="DataclassInstance")

HOLDS = "holds"
FAILS = "does not hold"
ROUNDED = "within rounding"
UNDECIDED = "cannot be decided here"
WORDS = (HOLDS, FAILS, ROUNDED, UNDECIDED)
_PLURALS = {HOLDS: "hold", FAILS: "do not hold"}
MOST_TIMES = 1024
"""Beyond so many times the videos a difference counts as none."""


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and its checks; ``reading`` says how a vague word is interpreted.

    ``table``: ``table3``, ``printed`` (Table 3 as printed only), ``table1`` (its counts),
    ``distances`` (of one triplet, for formulas), ``names`` (of manipulations) or ``study <name>``.
    ``note`` is printed beside a difference between text and table. ``quoted``: the sentence is the
    paper's, word by word.
    """

    id: str
    section: str
    sentence: str
    checks: tuple[str, ...]
    reading: str = ""
    table: str = "table3"
    note: str = ""
    quoted: bool = True


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim: a word (``HOLDS`` ... or ``MISSING``) and reasons.

    ``times``: of an undecided claim, how many times as many independent videos would decide it if
    all values stayed as they are; none if no such number would. ``sources``: how many people or
    source videos its test sets have now. ``divided``: some seed alone contradicts the mean.
    """

    word: str
    reasons: tuple[str, ...] = ()
    times: float | None = None
    sources: int = 0
    divided: bool = False


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


def shrunk_table(point: Table, draws: Table, times: float) -> Table:
    """Return the draws as they would be with ``times`` as many independent videos."""
    return lambda *cell: point(*cell) + (draws(*cell) - point(*cell)) / times**0.5


def judge(
    claim: Claim,
    point: Table,
    draws: Table | None = None,
    seeds: Sequence[Table] = (),
    half: float = 0.0,
) -> Verdict:
    """Judge a claim on the values of ``point``, and on whether the videos suffice to decide it.

    With ``draws``, each comparison has a 95 % interval. A claim holds if all that it needs lies
    outside of zero by these intervals. It does not hold if even intervals widened for the number of
    its comparisons (Bonferroni) leave no room; otherwise it is undecided. An amount holds if it
    rounds to the text's and its interval excludes zero. Where several ``seeds`` were run, each
    alone must say the same. Without ``draws``, a claim that the cells contradict only by their
    rounding, ``half`` of the last decimal, is ``ROUNDED``. Reasons: each comparison that fails,
    with its numbers, or the missing cell.
    """
    try:
        nodes = [parse(check) for check in claim.checks]
        words = [_word(node, point, draws, seeds, half) for node in nodes]
        reasons = [reason for check in claim.checks for reason in failures(check, point, half)]
        word = next((word for word in (FAILS, UNDECIDED, ROUNDED) if word in words), HOLDS)
        times = _times(nodes, point, draws, seeds) if word == UNDECIDED and draws else None
        divided = not all(_agree(node, point, seeds) for node in nodes)
    except MissingCell as missing:
        return Verdict(MISSING, (str(missing),))
    return Verdict(word, tuple(reasons), times, divided=divided)


def failures(expression: str, table: Table, half: float = 0.0) -> list[str]:
    """List the comparisons that make an expression false, with their numbers, if it is false.

    Those that the rounding of the cells by up to ``half`` explains say so.
    """
    return list(_failures(parse(expression), table, half, {}))


def _word(
    node: ast.expr, point: Table, draws: Table | None, seeds: Sequence[Table], half: float
) -> str:
    is_true = bool(_value(node, point, {}))
    if not _agree(node, point, seeds):
        return UNDECIDED
    if draws is None:
        is_rounding = not is_true and _could_hold(node, point, half, {})
        return HOLDS if is_true else ROUNDED if is_rounding else FAILS
    asked: list[ast.expr] = []
    Decided(point, draws, 1, asked, {}).visit(node)
    ratio = norm.ppf(1 - TAIL / max(len(asked), 1)) / NORMAL_QUANTILE
    must_hold, can_hold = Decided(point, draws, ratio, [], {}).visit(node)
    if must_hold:
        return HOLDS
    return UNDECIDED if can_hold else FAILS


def _agree(node: ast.expr, point: Table, seeds: Sequence[Table]) -> bool:
    """Say whether each seed alone says the same; a row that it did not run says nothing."""
    is_true = bool(_value(node, point, {}))
    for seed in seeds:
        try:
            if bool(_value(node, seed, {})) != is_true:
                return False
        except MissingCell:
            continue
    return True


def _times(
    nodes: Sequence[ast.expr], point: Table, draws: Table, seeds: Sequence[Table]
) -> float | None:
    """Find how many times as many videos would decide, in steps of a square root of two."""
    times = 1.0
    while times < MOST_TIMES:
        times *= 2**0.5
        shrunk = shrunk_table(point, draws, times)
        words = [_word(node, point, shrunk, seeds, 0) for node in nodes]
        if FAILS in words or UNDECIDED not in words:
            return times
    return None


def _could_hold(node: ast.expr, point: Table, half: float, names: Names) -> bool:
    if half == 0:
        return False
    return bool(np.asarray(Rounded(rounded_table(point, half), names).visit(node))[-1])


def _value(node: ast.expr, table: Table, names: Names) -> Value:
    return Evaluator(table, names).visit(node)


def _failures(node: ast.expr, table: Table, half: float, names: Names) -> Iterator[str]:
    if np.all(_value(node, table, names)):
        return
    rounded = f", {ROUNDED}" if _could_hold(node, table, half, names) else ""
    match node:
        case ast.BoolOp(op=ast.And()):
            for value in node.values:
                yield from _failures(value, table, half, names)
        case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() as loop]):
            for bound in bindings(loop.generators, names):
                yield from _failures(loop.elt, table, half, bound)
        case ast.Compare():
            left = _with_value(node.left, table, names)
            right = _with_value(node.comparators[0], table, names)
            symbol = ast.unparse(node).removeprefix(ast.unparse(node.left)).split()[0]
            yield f"{left}, not {symbol} {right}{rounded}"
        case ast.Call(func=ast.Name(id="about")):
            wanted = " to ".join(ast.unparse(argument) for argument in node.args[1:])
            yield f"{_with_value(node.args[0], table, names)}, not {wanted}{rounded}"
        case _:
            yield f"not {_text(node, names)}{rounded}"


def _with_value(node: ast.expr, table: Table, names: Names) -> str:
    if isinstance(node, ast.Constant):
        return ast.unparse(node)
    return f"{_text(node, names)} = {float(_value(node, table, names)):.2f}".removesuffix("0")


class _Bind(ast.NodeTransformer):
    """Replace the names that a loop has bound in an expression, for readers."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        return ast.Attribute(self.visit(node.value), self.names.get(node.attr, node.attr))


def _text(node: ast.expr, names: Names) -> str:
    return ast.unparse(_Bind(names).visit(parse(ast.unparse(node))))


def counts_of(verdicts: Mapping[str, Verdict]) -> str:
    """Count the verdicts by word, such as "19 hold, 1 does not hold"."""
    words = [verdict.word for verdict in verdicts.values()]
    return ", ".join(
        f"{words.count(word)} {in_number(word, words.count(word))}"
        for word in (*WORDS, MISSING)
        if word in words
    )


def in_number(word: str, count: int) -> str:
    """Return the verdict ``word`` as the predicate of ``count`` sentences."""
    if word == MISSING:
        return "concerns something else" if count == 1 else "concern something else"
    return word if count == 1 else _PLURALS.get(word, word)
