"""Run all checks and print one line per finding: ok, warning or error, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ...project.params import load
from . import checkout, system
from .finding import ERROR, STATES, Finding


def diagnose(base: Path, fast: bool = False) -> Iterator[Finding]:
    """Check this machine and the checkout in ``base`` for the profiles of ``run``.

    ``fast``: only what takes less than two seconds together: nothing that imports PyTorch, reads
    weights or lists corpora.
    """
    yield system.check_python(base)
    yield from system.check_packages(base)
    try:
        params = load(base / "params.yaml")
    except ValueError as error:
        yield Finding(ERROR, "params.yaml", str(error), "correct it")
        return
    yield from system.check_processor(params)
    yield from system.check_gpu(params)
    yield from system.check_disk(base, params)
    yield system.check_open_files()
    yield system.check_shared_memory(params)
    yield from system.check_temporary_folder()
    yield from checkout.check_git(base)
    yield from checkout.check_dvc(base)
    yield from checkout.check_roots(base, params)
    yield from checkout.check_start_files(base, params)
    if not fast:
        # PyTorch and timm take seconds to import.
        from . import thorough

        yield from thorough.check(base, params)


def show(findings: Iterable[Finding]) -> int:
    """Print each finding as soon as it is there, and a count; return 1 if any is an error."""
    counts = dict.fromkeys(STATES, 0)
    for finding in findings:
        counts[finding.state] += 1
        print(finding.line(), flush=True)
    listing = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"doctor: {listing}")
    return int(counts[ERROR] > 0)
