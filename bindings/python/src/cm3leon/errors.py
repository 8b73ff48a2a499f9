"""Exceptions: one for each status of the library, each also what a Python programmer would catch."""
from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Dict, Optional, Type

from . import _capi
from .enums import Status

if TYPE_CHECKING:
    from .generation import Result


class Cm3leonError(Exception):
    """Something went wrong in the library; `status` says what in general, `message` in detail."""

    status = Status.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(Cm3leonError, ValueError):
    """An argument is out of range or of the wrong kind; nothing was done."""

    status = Status.INVALID_ARGUMENT


class OutOfMemoryError(Cm3leonError, MemoryError):
    """There is not so much memory, or a limit that was set forbids it."""

    status = Status.NO_MEMORY


class BusyError(Cm3leonError, RuntimeError):
    """The object is in use in a way that forbids the call; a bank that has a writer already."""

    status = Status.BUSY


class Cancelled(Cm3leonError):
    """Stopped by a callback or by cancel(). `result` is what was made until then, where there is some."""

    status = Status.CANCELLED

    def __init__(self, message: str, result: Optional[Result] = None) -> None:
        super().__init__(message)
        self.result = result


class UnsupportedError(Cm3leonError, NotImplementedError):
    """Well formed, but not something that this model or this build can do."""

    status = Status.UNSUPPORTED


class InternalError(Cm3leonError, RuntimeError):
    """A mistake of the library itself: please report it."""

    status = Status.INTERNAL


class ThreadError(Cm3leonError, RuntimeError):
    """A thread could not be started."""

    status = Status.THREAD


class ForkedError(UnsupportedError):
    """The object was made before this process was forked: its threads are in the parent alone."""


class ClosedError(InvalidArgumentError):
    """The object was closed."""


class NotFoundError(Cm3leonError, FileNotFoundError):
    """No such file, tensor, record or key."""

    status = Status.NOT_FOUND

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOENT


class IoError(Cm3leonError, OSError):
    """Reading or writing failed; the message holds the system's words."""

    status = Status.IO


class NoSpaceError(IoError):
    """The disk is full; what stood there before is untouched."""

    status = Status.NO_SPACE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOSPC


class FormatError(Cm3leonError, ValueError):
    """The file is not what it should be."""

    status = Status.FORMAT


class VersionError(FormatError):
    """The file is of a version that this library does not read."""

    status = Status.VERSION


class TruncatedError(FormatError, EOFError):
    """The file ends too early."""

    status = Status.TRUNCATED


class ChecksumError(FormatError):
    """The file's data is not what its checksum says."""

    status = Status.CHECKSUM


class EncodingError(Cm3leonError, ValueError):
    """Text is not valid UTF-8."""

    status = Status.UTF8


class TooLongError(Cm3leonError, ValueError):
    """The document does not fit the model's context."""

    status = Status.TOO_LONG


BY_STATUS: Dict[int, Type[Cm3leonError]] = {
    kind.status: kind
    for kind in (InvalidArgumentError, OutOfMemoryError, BusyError, Cancelled, UnsupportedError, InternalError,
                 ThreadError, NotFoundError, IoError, NoSpaceError, FormatError, VersionError, TruncatedError,
                 ChecksumError, EncodingError, TooLongError)
}


def error_of(status: int, message: Optional[bytes]) -> Cm3leonError:
    """The exception of a status."""
    text = (message or _capi.cm3_status_name(status) or b"").decode("utf-8", "replace")
    return BY_STATUS.get(status, InternalError)(text)


def check(status: int, context: Any) -> None:
    """Raises what a status says; `context` is the C context whose message goes with it, or None."""
    if status != _capi.CM3_OK:
        raise error_of(status, _capi.cm3_context_message(context) if context else None)
