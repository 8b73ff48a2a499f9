"""Ctrl-C while the library calls back into Python.

An exception that a signal handler raises inside a callback of ctypes is printed and lost. So the handler is put off
until the library has returned.
"""
from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Optional, Type


class interrupts_deferred:
    """Within it SIGINT is only noted (`hit`); what handles it is called at its end. Does nothing outside the main
    thread, where Python handles no signals."""

    def __init__(self) -> None:
        self.hit = False
        self._before: Any = None

    def __enter__(self) -> interrupts_deferred:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                try:
                    signal.signal(signal.SIGINT, self._note)
                except ValueError:  # another interpreter's main thread
                    self._before = None
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            if self.hit:
                self._before(signal.SIGINT, None)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.hit = True
