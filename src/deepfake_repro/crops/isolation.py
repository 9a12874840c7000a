"""Extraction behind a guard: a video that crashes or hangs a decoder costs itself, never the run.

Each thread of work asks one child process for its videos. The child answers frame by frame, so
neither side holds a video; when it dies or falls silent it is replaced and asked again. Only a
video that failed ``ATTEMPTS`` times is given up, with the frames it gave: a child that someone
killed loses nothing.

An exception in the child is either what content can bring about (``OF_A_VIDEO``): then it costs the
video. Or it is a call that a library does not know: then every video would "crash", and the run
stops with the library's message.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import av
import cv2

from ..project.params import CropOptions
from .decoding import is_refused_call
from .extraction import DetectorFactory, Found, stream
from .store import Row

ATTEMPTS = 3
STDERR = 2  # what a native library prints must not end up in a notebook
OF_A_VIDEO = (
    av.FFmpegError,
    cv2.error,
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
)
Extractor = Callable[[Row, Path], Iterator[Found]]


class ProgramError(RuntimeError):
    """An error of the program or of a library's version, met in the child: no property of the video under way."""


class StoppedError(RuntimeError):
    """The work was stopped from outside (``stop_all``): what is unfinished must not be taken for finished."""


class _LostError(RuntimeError):
    """The child died or fell silent; ``args``: reason for the skipped table, and what happened."""


class Guard:
    """``stream`` in a child process of its own; called with (index row, root) it yields what each frame gives.

    ``settings``: detector factory and options, pickled. A video that fails ``ATTEMPTS`` times ends with a
    record ``crashed``, or ``timeout`` if it gave nothing for ``timeout`` seconds. Raises what the factory
    raises, ``ProgramError`` for an exception that no content brings about, ``RuntimeError`` if no child can be
    started, ``StoppedError`` once closed.
    """

    def __init__(self, settings: bytes, timeout: float) -> None:
        self.settings, self.closed, self._busy = settings, False, False
        self._timeout, self._lock = timeout, threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        _GUARDS.add(self)

    def __call__(self, video_row: Row, root: Path) -> Iterator[Found]:
        """Yield what each sampled frame of the video gives, as ``stream`` does."""
        given = 0
        for _ in range(ATTEMPTS):
            try:
                for found in islice(self._ask(video_row, root), given, None):
                    given += 1
                    yield found
                return
            except _LostError as lost:
                reason, event = lost.args
                self._end()
        yield (
            [],
            [
                {
                    "video_id": video_row["video_id"],
                    "reason": reason,
                    "detail": f"{event} after {given} sampled frames",
                }
            ],
        )

    def close(self) -> None:
        """End the child; a thread that waits for it gets ``StoppedError``."""
        with self._lock:  # never between a look at ``closed`` and a new child
            self.closed = True
            self._end()

    def _ask(self, video_row: Row, root: Path) -> Iterator[Found]:
        """One attempt at a video; a child that was not heard to the end, for whatever reason, is not asked again."""
        if self._busy:
            self._end()
        self._start()
        self._busy = True
        try:
            self._connection.send((video_row, root))
        except ConnectionError:
            raise _LostError("crashed", self._death()) from None
        while (found := self._receive(self._timeout)) is not None:
            if isinstance(found, dict):
                raise _failure(**found, where=f"first met at {video_row['video_id']}")
            yield found
        self._busy = False

    def _receive(self, timeout: float | None) -> Any:
        try:
            if self._connection.poll(timeout):
                return self._connection.recv()
        except (EOFError, OSError):
            raise _LostError("crashed", self._death()) from None
        raise _LostError("timeout", "no answer")

    def _death(self) -> str:
        """How the child ended: the name of the signal, or the exit code."""
        if self.closed:
            raise StoppedError("the extraction was stopped")
        code = self._child.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _start(self) -> None:
        """Make sure that a child is there whose detector is ready."""
        if self._child is not None and self._child.poll() is None:
            return
        for _ in range(ATTEMPTS):
            self._launch()
            try:
                self._connection.send_bytes(self.settings)
                problem = self._receive(None)
            except (ConnectionError, _LostError):
                continue
            if problem is None:
                return
            if isinstance(problem, dict):
                raise _failure(
                    **problem | {"of_a_video": False}, where="first met when the detector was made"
                )
            raise problem
        raise RuntimeError(
            f"the extraction process does not start ({self._death()}): its message stands above"
        )

    def _launch(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        # One thread each: the children share the cores. A session of its own: Ctrl-C is the
        # parent's to handle.
        settings = {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        }
        with self._lock:
            if self.closed:
                raise StoppedError("the extraction was stopped")
            self._connection, theirs = Pipe()
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env=os.environ | settings,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                start_new_session=True,
            )
            theirs.close()

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()
_mine = threading.local()  # of each thread: the guard it goes on using
_stopped = threading.Event()


def extractor(factory: DetectorFactory, options: CropOptions) -> Extractor:
    """This thread's ``Guard`` for these settings; ``stream`` itself, in this process, without ``video_timeout``."""
    if _stopped.is_set():
        raise StoppedError("the extraction was stopped")
    if not options.video_timeout:
        return partial(stream, detector=factory(), options=options)
    settings, current = pickle.dumps((factory, options)), getattr(_mine, "guard", None)
    if current is None or current.closed or current.settings != settings:
        if current is not None:
            current.close()
        current = _mine.guard = Guard(settings, options.video_timeout)
    return current


def stop_all() -> None:
    """Close the guards of all threads of this process and let none be made until ``allow_all``."""
    _stopped.set()
    for guard in list(_GUARDS):
        guard.close()


def allow_all() -> None:
    """End the effect of ``stop_all``, when the threads it meant have ended."""
    _stopped.clear()


def serve(connection: Connection) -> None:
    """The child's side: make the detector, then answer each (index row, root) frame by frame, ending with None."""
    sys.excepthook = partial(_tell, connection)
    cv2.setNumThreads(1)
    factory, options = connection.recv()
    try:
        detector = factory()
    except (ImportError, OSError, ValueError) as problem:
        connection.send(problem)
        return
    connection.send(None)
    requests: SimpleQueue[tuple[Row, Path]] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    while True:
        for found in stream(*requests.get(), detector, options):
            connection.send(found)
        connection.send(None)


def _tell(
    connection: Connection,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Send the exception that ends the child, as plain values: this module has another name there."""
    package = str(Path(__file__).parent)
    frames = traceback.extract_tb(trace)
    call = next(
        (frame for frame in reversed(frames) if frame.filename.startswith(package)), frames[-1]
    )
    connection.send(
        {
            "line": f"{kind.__name__}: {' '.join(str(error).split())}",
            "call": f"{Path(call.filename).name}:{call.lineno}: {call.line}",
            "trace": "".join(traceback.format_exception(kind, error, trace)),
            "of_a_video": _is_of_a_video(error),
        }
    )


def _is_of_a_video(error: BaseException) -> bool:
    """True if the content of a file can bring ``error`` about; False for a call that a library does not know."""
    dropped = isinstance(error, NotImplementedError) and not isinstance(error, av.FFmpegError)
    return isinstance(error, OF_A_VIDEO) and not dropped and not is_refused_call(error)


def _failure(line: str, call: str, trace: str, of_a_video: bool, where: str) -> Exception:
    """The parent's exception for what ``_tell`` sent."""
    if of_a_video:
        return _LostError("crashed", line)
    error = ProgramError(
        f"{line} (at {call}; {where}): an error of the program or of a library of another version than "
        "requirements.lock has, not of the video; run make environment"
    )
    error.add_note(trace)
    return error


def _listen(connection: Connection, requests: SimpleQueue[tuple[Row, Path]]) -> None:
    try:
        while True:
            requests.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)  # whoever asked is gone: not even a decoder that hangs may stay behind


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
