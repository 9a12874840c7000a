"""A parser whose commands are listed by group."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[[argparse.Namespace], int | None]


class Commands:
    """Adds commands to a parser, whose help lists them by group."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self.functions: dict[str, Command] = {}

    def group(self, title: str) -> None:
        """Begin a group of commands in the help."""
        self._parser.epilog = f"{self._parser.epilog or ''}\n{title}\n"

    def add(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command that calls ``run`` with its arguments."""
        self._parser.epilog = f"{self._parser.epilog or ''}  {name:21} {what}\n"
        self.functions[name] = run
        command = self._commands.add_parser(name, description=f"{what[0].upper()}{what[1:]}.")
        command.set_defaults(run=run)
        return command

    def add_for_profile(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command with the option ``--profile``."""
        command = self.add(name, run, what)
        command.add_argument("--profile", required=True, help="demo, smoke, open or paper")
        return command

    def add_for_run(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command with the arguments profile, row and seed."""
        command = self.add(name, run, what)
        command.add_argument("profile", help="demo, smoke, open or paper")
        command.add_argument("variant", help="row of Table 3, such as fsfm_ba")
        command.add_argument("seed", type=int)
        return command
