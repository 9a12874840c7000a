"""Extraction in child processes: a video that crashes or hangs a decoder costs itself, not the run.

Each worker thread has one child process for its videos. The child answers frame by frame, so that
neither side holds a whole video. A child that dies or stops answering is replaced and the video is
retried. A video is abandoned after ``ATTEMPTS`` failures, keeping the frames already extracted; a
killed child loses no work.

An exception in the child either can be caused by the content of a file (``CONTENT_ERRORS``): then
the video is recorded as crashed. Or it comes from the program or a library's changed interface:
then every video would "crash", and the run stops with the library's message.
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
from typing import Any, NamedTuple

import av
import cv2

from ..project.params import CropOptions
from .decoding import is_refused_call
from .extraction import DetectorFactory, Extracted, skip, stream
from .store import Row

ATTEMPTS = 3
STDERR = 2  # keeps what native libraries print out of notebooks
CONTENT_ERRORS = (
    av.FFmpegError,
    cv2.error,
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
)
Extractor = Callable[[Row, Path], Iterator[Extracted]]


class ProgramError(RuntimeError):
    """An error of the program or of a library's version, raised in the child; not of the video."""


class StoppedError(RuntimeError):
    """The work was stopped from outside (``stop_all``); unfinished parts must not be written."""


class _ChildLostError(RuntimeError):
    """The child died or stopped answering."""

    def __init__(self, reason: str, event: str) -> None:
        super().__init__(reason, event)
        self.reason = reason  # for the skipped table
        self.event = event


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    connection: Connection


class IsolatedExtractor:
    """``stream`` in a child process of its own: called with (index row, root), yields the same.

    ``settings``: detector factory and options, pickled. A video that fails ``ATTEMPTS`` times ends
    with a record ``crashed``, or ``timeout`` if it yielded nothing for ``timeout`` seconds. Raises
    what the factory raises, ``ProgramError`` for an exception that no content can cause,
    ``RuntimeError`` if no child can be started, ``StoppedError`` once closed.
    """

    def __init__(self, settings: bytes, timeout: float) -> None:
        self.settings = settings
        self.closed = False
        self._busy = False
        self._timeout = timeout
        self._lock = threading.Lock()
        self._child: _Child | None = None
        _EXTRACTORS.add(self)

    def __call__(self, video_row: Row, root: Path) -> Iterator[Extracted]:
        """Yield the crops of each sampled frame of the video, as ``stream`` does."""
        done = 0
        for _ in range(ATTEMPTS):
            try:
                for extracted in islice(self._ask(video_row, root), done, None):
                    done += 1
                    yield extracted
                return
            except _ChildLostError as lost:
                reason = lost.reason
                detail = f"{lost.event} after {done} sampled frames"
                self._kill_child()
        yield skip(video_row, reason, detail)

    def start(self) -> None:
        """Start the child and make its detector; raises what the class raises."""
        self._ready_child()

    def close(self) -> None:
        """Kill the child; a thread that waits for it gets ``StoppedError``."""
        with self._lock:  # no new child may start between the two lines
            self.closed = True
            self._kill_child()

    def _ask(self, video_row: Row, root: Path) -> Iterator[Extracted]:
        """Try a video once."""
        if self._busy:  # with an answer that was never read to its end
            self._kill_child()
        child = self._ready_child()
        self._busy = True
        try:
            child.connection.send((video_row, root))
        except ConnectionError:
            raise _ChildLostError("crashed", self._cause_of_death(child)) from None
        while (answer := self._receive(child, self._timeout)) is not None:
            if isinstance(answer, dict):
                raise _to_exception(answer, f"first raised at {video_row['video_id']}")
            yield answer
        self._busy = False

    def _receive(self, child: _Child, timeout: float | None) -> Any:
        try:
            if child.connection.poll(timeout):
                return child.connection.recv()
        except (EOFError, OSError):
            raise _ChildLostError("crashed", self._cause_of_death(child)) from None
        raise _ChildLostError("timeout", "no answer")

    def _cause_of_death(self, child: _Child) -> str:
        """Wait for the child to end; return the name of its signal, or its exit code."""
        if self.closed:
            raise StoppedError("the extraction was stopped")
        code = child.process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _ready_child(self) -> _Child:
        """Return the running child, or start one and wait until its detector is ready."""
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        for _ in range(ATTEMPTS):
            child = self._launch()
            try:
                child.connection.send_bytes(self.settings)
                problem = self._receive(child, None)
            except (ConnectionError, _ChildLostError):
                continue
            if problem is None:
                return child
            if isinstance(problem, dict):
                problem["is_content_error"] = False
                raise _to_exception(problem, "raised when the detector was made")
            raise problem
        cause = self._cause_of_death(child)
        raise RuntimeError(f"the extraction process does not start ({cause}): see its output above")

    def _launch(self) -> _Child:
        import_root = str(Path(__file__).resolve().parents[2])
        python_path = filter(None, [import_root, os.environ.get("PYTHONPATH")])
        settings = {
            "OMP_NUM_THREADS": "1",  # the children share the cores
            "PYTHONPATH": os.pathsep.join(python_path),
        }
        with self._lock:
            if self.closed:
                raise StoppedError("the extraction was stopped")
            connection, child_end = Pipe()
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(child_end.fileno())],
                env=os.environ | settings,
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                start_new_session=True,  # Ctrl-C is for the parent to handle
            )
            child_end.close()
            self._child = _Child(process, connection)
        return self._child

    def _kill_child(self) -> None:
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait()


_EXTRACTORS: weakref.WeakSet[IsolatedExtractor] = weakref.WeakSet()
_this_thread = threading.local()  # its attribute ``extractor`` is reused from video to video
_stopped = threading.Event()


def extractor(factory: DetectorFactory, options: CropOptions) -> Extractor:
    """Return this thread's extractor for these settings.

    With ``options.video_timeout`` 0 it is ``stream`` itself, in this process.
    """
    if _stopped.is_set():
        raise StoppedError("the extraction was stopped")
    if not options.video_timeout:
        return partial(stream, detector=factory(), options=options)
    settings = pickle.dumps((factory, options))
    current: IsolatedExtractor | None = getattr(_this_thread, "extractor", None)
    if current is not None and not current.closed and current.settings == settings:
        return current
    if current is not None:
        current.close()
    _this_thread.extractor = IsolatedExtractor(settings, options.video_timeout)
    return _this_thread.extractor


def stop_all() -> None:
    """Close the extractors of all threads; no new one can be made until ``allow_all``."""
    _stopped.set()
    for isolated in list(_EXTRACTORS):
        isolated.close()


def allow_all() -> None:
    """Undo ``stop_all`` once the stopped threads have ended."""
    _stopped.clear()


def serve(connection: Connection) -> None:
    """Run the child: make the detector, then answer each (index row, root) frame by frame.

    None ends each answer.
    """
    sys.excepthook = partial(_send_exception, connection)
    cv2.setNumThreads(1)
    factory, options = connection.recv()
    try:
        detector = factory()
    except (OSError, ValueError) as problem:  # missing or broken weights
        connection.send(problem)
        return
    connection.send(None)
    requests: SimpleQueue[tuple[Row, Path]] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    while True:
        video_row, root = requests.get()
        for extracted in stream(video_row, root, detector, options):
            connection.send(extracted)
        connection.send(None)


def _send_exception(
    connection: Connection,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Send the exception that ends the child, as a dict of plain values.

    A class of this module could not be unpickled: here the module is called ``__main__``.
    """
    package = str(Path(__file__).parent)
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames if frame.filename.startswith(package)]
    call = (ours or frames)[-1]
    connection.send(
        {
            "line": f"{kind.__name__}: {' '.join(str(error).split())}",
            "call": f"{Path(call.filename).name}:{call.lineno}: {call.line}",
            "trace": "".join(traceback.format_exception(kind, error, trace)),
            "is_content_error": _is_content_error(error),
        }
    )


def _is_content_error(error: BaseException) -> bool:
    """Tell whether a file's content can cause ``error``; otherwise a library rejects the call."""
    dropped = isinstance(error, NotImplementedError) and not isinstance(error, av.FFmpegError)
    return isinstance(error, CONTENT_ERRORS) and not dropped and not is_refused_call(error)


def _to_exception(sent: dict[str, Any], where: str) -> Exception:
    """Make the parent's exception from what ``_send_exception`` sent."""
    if sent["is_content_error"]:
        return _ChildLostError("crashed", sent["line"])
    error = ProgramError(
        f"{sent['line']} (at {sent['call']}; {where}): an error of the program or of a library's "
        "version, not of the video; run make environment to install the pinned versions"
    )
    error.add_note(sent["trace"])
    return error


def _listen(connection: Connection, requests: SimpleQueue[tuple[Row, Path]]) -> None:
    try:
        while True:
            requests.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone; do not outlive it even if a decoder hangs


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
