"""Run a command and list the functions of the package that it really executes.

python executed.py OUT COMMAND …        (in a checkout whose package is in the path)
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from pathlib import Path
from types import FrameType

import deepfake_repro
from deepfake_repro.cli import main

PACKAGE = Path(deepfake_repro.__file__).parent


def at_import(frame: FrameType) -> bool:
    """Whether a frame is the body of a module or class, whose variables are not local."""
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED


def definition(frame: FrameType) -> str | None:
    """``module:name`` of the top-level function or class that a frame belongs to."""
    if at_import(frame) or (frame.f_back and at_import(frame.f_back)):
        return None
    path = Path(frame.f_code.co_filename)
    name = frame.f_code.co_qualname.partition(".")[0]
    if not path.is_relative_to(PACKAGE) or name.startswith("<"):
        return None
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    module = ".".join([PACKAGE.name, *(part for part in parts if part != "__init__")])
    return f"{module}:{name}"


def run(out: Path, arguments: list[str]) -> int:
    """Run the command line and write what was executed to ``out``."""
    seen: dict[object, str | None] = {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code not in seen:
            seen[frame.f_code] = definition(frame)

    threading.setprofile(watch)
    sys.setprofile(watch)
    code = main(arguments)
    sys.setprofile(None)
    executed = sorted({name for name in seen.values() if name})
    out.write_text(json.dumps(executed, indent=1))
    return code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
