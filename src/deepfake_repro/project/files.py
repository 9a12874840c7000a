"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, several_writers: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it replaces ``path`` when the block succeeds.

    If the block fails or is interrupted, ``path`` stays as it was. A link at ``path`` is replaced,
    not followed. ``several_writers``: use a unique temporary name, for processes that may write the
    same file at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = uuid.uuid4().hex if several_writers else "part"
    temporary = path.with_name(f"{path.name}.{suffix}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # frees the space when the disk is full
