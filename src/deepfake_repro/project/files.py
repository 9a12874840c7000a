"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, several_writers: bool = False) -> Iterator[Path]:
    """A path beside ``path`` to write to; what is there when the block ends well takes the place of ``path``.

    Whoever is interrupted leaves ``path`` as it was; a link at ``path`` is replaced, not followed.
    ``several_writers``: another process may write the same file at the same time, so each gets a
    name of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex if several_writers else 'part'}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # on a full disk its room is needed
