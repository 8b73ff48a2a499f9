"""Owners of the library's objects: each gives its object back once, by close() or when it is collected."""
from __future__ import annotations

import ctypes
import logging
import os
import threading
import weakref
from ctypes import byref
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, NoReturn, Optional, Tuple, Type, TypeVar

from . import _capi
from ._lib import callback, filled
from .errors import ClosedError, ForkedError, check

logger = logging.getLogger("cm3leon")
logger.addHandler(logging.NullHandler())  # what goes wrong is raised; who wants the log as well says so

H = TypeVar("H", bound="Handle")


def _give_back(pid: int, destroy: Callable[[Any], None], pointer: Any, keep: Tuple[Any, ...]) -> None:
    # A child has the parent's objects without their threads: there is nothing to give back to.
    if os.getpid() == pid:
        destroy(pointer)
    del keep  # what the object reads from: until here, and no longer


class Handle:
    """What owns an object of the library. A context manager; neither copied nor pickled; of no use after a fork."""

    _pointer: Any
    _context: Any
    _keep: Tuple[Any, ...]
    _finalizer: weakref.finalize[[int, Callable[[Any], None], Any, Tuple[Any, ...]], Any]

    def _own(self, pointer: Any, destroy: Callable[[Any], None], context: Any, keep: Tuple[Any, ...] = ()) -> None:
        """Takes over `pointer`. `context` is the C context behind it, `keep` what must live as long as it does."""
        self._pid = os.getpid()
        self._pointer = pointer
        self._context = context
        self._keep = keep
        self._finalizer = weakref.finalize(self, _give_back, self._pid, destroy, pointer, keep)

    @property
    def ptr(self) -> Any:
        """The C object, for functions of `cm3leon._capi`."""
        if os.getpid() != self._pid:
            raise ForkedError(f"this {type(self).__name__} was made before the process was forked; make another one "
                              "here")
        if self.closed:
            raise ClosedError(f"this {type(self).__name__} was closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        # At the interpreter's end finalizers run before the last generators and objects are gone.
        return self._pointer is None or not self._finalizer.alive

    def close(self) -> None:
        """Gives the object back now; what was made from it stays usable. No other thread may be using it. A second
        call does nothing."""
        self._pointer = None
        self._finalizer()

    def _check(self, status: int) -> None:
        if status != _capi.CM3_OK:
            check(status, self._context)

    def __enter__(self: H) -> H:
        self.ptr
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can be neither pickled nor copied: it is memory of this process")


@dataclass(frozen=True)
class MemoryStats:
    """Bytes held through a context; mapped files are not among them."""

    live_bytes: int
    peak_bytes: int
    allocations: int


LEVELS = {_capi.CM3_LOG_ERROR: logging.ERROR, _capi.CM3_LOG_WARNING: logging.WARNING,
          _capi.CM3_LOG_INFO: logging.INFO, _capi.CM3_LOG_DEBUG: logging.DEBUG}


# One for all contexts, and never collected: the library may call it as long as any object of a context lives.
@callback(_capi.cm3_log_fn)
def _log(user: Optional[int], level: int, line: bytes) -> None:
    logger.log(LEVELS.get(level, logging.INFO), "%s", line.decode("utf-8", "replace"))


def _log_level() -> int:
    """The least of the library's levels that the logger lets through."""
    return max((ours for ours, theirs in LEVELS.items() if logger.isEnabledFor(theirs)), default=_capi.CM3_LOG_ERROR)


class Context(Handle):
    """Threads, log and memory of what is made from it; Model.load() makes one of its own unless it is given one.

    threads: size of the team that computes; None: one a core. 0: no thread is started, and computing happens inside
        the calls that wait for it.

    The log goes to `logging.getLogger("cm3leon")`, whose level when the context is made decides what is told.
    """

    def __init__(self, *, threads: Optional[int] = None) -> None:
        options = filled(_capi.cm3_context_options, _capi.cm3_context_options_init)
        options.log = _log
        options.log_level = _log_level()
        if threads is not None:
            if threads < 0:
                raise ValueError("threads must be 0 or above")
            options.threads = threads
        pointer = ctypes.POINTER(_capi.cm3_context)()
        check(_capi.cm3_context_create(byref(options), byref(pointer)), None)
        self._own(pointer, _capi.cm3_context_destroy, pointer)

    @property
    def threads(self) -> int:
        """Threads of the team; 0 where the caller's own computes."""
        return self._compute()[0]

    @property
    def kernels(self) -> str:
        """The kernels in use, such as "avx512"."""
        return self._compute()[1]

    def _compute(self) -> Tuple[int, str]:
        threads, name = ctypes.c_int(), ctypes.c_char_p()
        self._check(_capi.cm3_context_compute(self.ptr, byref(threads), byref(name)))
        return threads.value, (name.value or b"").decode()

    @property
    def memory(self) -> MemoryStats:
        stats = _capi.cm3_memory_stats(struct_size=ctypes.sizeof(_capi.cm3_memory_stats))
        self._check(_capi.cm3_context_memory(self.ptr, byref(stats)))
        return MemoryStats(stats.live_bytes, stats.peak_bytes, stats.allocations)


_lock = threading.Lock()
_own_context: Optional[Context] = None


def pixel_context() -> Context:
    """Where pictures come from that belong to no model: without threads, one a process."""
    global _own_context
    with _lock:
        if _own_context is None or _own_context._pid != os.getpid() or _own_context.closed:
            _own_context = Context(threads=0)
        return _own_context


def _reset_lock() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it when the process was forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_lock)
