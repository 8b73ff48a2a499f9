"""Memory of other objects, held still and by its address."""
from __future__ import annotations

import ctypes
import weakref
from typing import Any


class _Buffer(ctypes.Structure):
    """Py_buffer of CPython's stable ABI."""

    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p), ("len", ctypes.c_ssize_t),
                ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


_get = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_get.restype = ctypes.c_int
_release = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = [ctypes.POINTER(_Buffer)]
_release.restype = None


class Pinned:
    """The bytes of anything with the buffer protocol (bytes, bytearray, memoryview, mmap, an array): they can neither
    move nor go while this lives. Raises TypeError or BufferError for what has none, or none in one piece."""

    def __init__(self, owner: Any) -> None:
        view = _Buffer()
        _get(owner, ctypes.byref(view), 0)  # PyBUF_SIMPLE: bytes, C-contiguous
        self.address: int = view.buf or 0
        self.size: int = view.len
        weakref.finalize(self, _release, view).atexit = False
