"""The command line: ``deepfake-repro COMMAND …``, or ``python -m deepfake_repro COMMAND …``.

Wrong input ends with one line and exit code 2. ``score`` returns 0 if every file got a score, 1 if
some did, 2 if none did, and 3 if the program itself cannot work (a library of another version).
"""

from __future__ import annotations

import argparse
import sys

from ..project.machine import pin
from ..project.params import load
from . import app, exchange, operations, pipeline, video
from .commands import Command, Commands

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell."""
UNUSED = "rfc3987_syntax"
"""Checks international addresses for ``jsonschema``, which does without it; loading takes 1.5 s."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser, _ = _parser()
    chosen = parser.parse_args(arguments)
    sys.modules.setdefault(UNUSED, None)  # type: ignore[arg-type]  # as if not installed
    try:
        if profile := _profile(chosen):
            options = load().profile(profile)
            pin(options.cpu, options.accelerator)
        return chosen.run(chosen) or 0
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again", file=sys.stderr)
        return INTERRUPTED


def _profile(chosen: argparse.Namespace) -> str:
    """Return the profile that a command runs for; empty if it runs for none."""
    parameters = getattr(chosen, "parameters", [])
    named = [value.removeprefix("profile=") for value in parameters if value.startswith("profile=")]
    return getattr(chosen, "profile", "") or "".join(named)


def functions() -> dict[str, Command]:
    """Return the function behind each command."""
    _, commands = _parser()
    return commands.functions


def _parser() -> tuple[argparse.ArgumentParser, Commands]:
    parser = argparse.ArgumentParser(
        prog="deepfake-repro",
        description="Deepfake detection that generalises to unseen manipulations: "
        "a reproducible compendium.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = Commands(parser)
    for group in (video, app, pipeline, operations, exchange):
        group.add(commands)
    return parser, commands
