"""Finds and loads libcm3leon, and makes sure that it is the one these bindings were written for."""
from __future__ import annotations

import ctypes
import os
from ctypes.util import find_library
from pathlib import Path
from typing import Any, Callable, Iterator, List, NoReturn, Sequence, Tuple

PACKAGE = Path(__file__).resolve().parent

# Room for a struct of a later library, whose own initialiser writes all of it.
ROOM = 4096


def candidates() -> Iterator[Tuple[str, str]]:
    """Where the library may be, in the order in which it is looked for: (place, what is loaded)."""
    for path in sorted(PACKAGE.glob("libcm3leon.so*")):
        yield "the package", str(path)
    named = os.environ.get("CM3LEON_LIB")
    if named:
        yield "CM3LEON_LIB", named
    found = find_library("cm3leon")
    if found:
        yield "the system's library path", found


def load() -> ctypes.CDLL:
    for place, path in candidates():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            raise ImportError(f"libcm3leon ({path}, from {place}) cannot be loaded: {error}", path=path) from error
    raise ImportError("libcm3leon was not found: not in the package's folder, CM3LEON_LIB does not name it, and it is "
                      "not on the system's library path")


library = load()


def bind(name: str, result: Any, arguments: List[Any]) -> Callable[..., Any]:
    """A function of the library; where this build has none of that name, one that says so when it is called."""
    try:
        function: Any = getattr(library, name)
    except AttributeError:
        return _missing(name)
    function.restype = result
    function.argtypes = arguments
    return function  # type: ignore[no-any-return]


def _missing(name: str) -> Callable[..., Any]:
    def missing(*_: object) -> NoReturn:
        from .errors import UnsupportedError

        raise UnsupportedError(f"{library._name} has no {name}(): it was built without that part, or is older")

    missing.__name__ = name
    return missing


def callback(kind: Any) -> Callable[[Callable[..., Any]], Any]:
    """Makes a function one that C can call; to be kept as long as C knows it."""

    def decorate(function: Callable[..., Any]) -> Any:
        return kind(function)

    return decorate


def size_of(initialise: Callable[..., Any], struct: Any) -> int:
    """What the library says the size of a struct is."""
    room = ctypes.create_string_buffer(ROOM)
    initialise(ctypes.cast(room, ctypes.POINTER(struct)))
    return ctypes.c_size_t.from_buffer(room).value


def filled(struct: Any, initialise: Callable[..., Any], *arguments: object) -> Any:
    """A struct with the library's defaults, of the size that these bindings know. `arguments` come before it."""
    room = ctypes.create_string_buffer(ROOM)
    initialise(*arguments, ctypes.cast(room, ctypes.POINTER(struct)))
    made = struct.from_buffer_copy(room)
    made.struct_size = ctypes.sizeof(struct)
    return made


def check(major: int, minor: int, structs: Sequence[Tuple[Any, Callable[..., Any]]]) -> None:
    """Raises ImportError where the library is of another major version, older, or has shorter structs than these
    bindings; structs grow at their end, so that longer ones do no harm."""
    bind("cm3_api_version", ctypes.c_uint32, [])
    version = int(library.cm3_api_version())
    if version // 1000 != major or version % 1000 < minor:
        raise ImportError(f"{library._name} has API version {version // 1000}.{version % 1000}, these bindings are for "
                          f"{major}.{minor}", path=library._name)
    for struct, initialise in structs:
        if not hasattr(library, initialise.__name__):
            continue  # a part that was left out
        size = size_of(initialise, struct)
        if size < ctypes.sizeof(struct) or size > ROOM:
            raise ImportError(f"{library._name}: {struct.__name__} has {size} bytes there, {ctypes.sizeof(struct)} "
                              "in these bindings", path=library._name)
