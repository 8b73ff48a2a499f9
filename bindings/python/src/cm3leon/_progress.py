"""Progress of long calls that compute on the caller's thread's behalf, told to a Python function."""
from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Type

from . import _capi
from ._interrupts import interrupts_deferred
from ._lib import callback

#: Told what is done and what there is in all (0: unknown); False stops.
OnProgress = Callable[[int, int], Optional[bool]]

_calls: Dict[int, "Progress"] = {}
_numbers = itertools.count(1)


# All progress callbacks of the library have this type.
@callback(_capi.cm3_progress_fn)
def _tell(user: int, done: int, total: int) -> int:
    call = _calls[user]
    try:
        return int(call._interrupts.hit or (call._function is not None and call._function(done, total) is False))
    except BaseException as error:
        call.error = error
        return 1


class Progress:
    """Around one call: `number` tells it from others."""

    def __init__(self, function: Optional[OnProgress]) -> None:
        self._function = function
        self._interrupts = interrupts_deferred()
        self.error: Optional[BaseException] = None
        self.number = next(_numbers)

    def __enter__(self) -> Progress:
        _calls[self.number] = self
        self._interrupts.__enter__()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        del _calls[self.number]
        self._interrupts.__exit__(kind, value, trace)


def run(on_progress: Optional[OnProgress], call: Callable[[Any, int], int]) -> int:
    """Calls `call(function, number)` and hands back its status; raises what the callback, or Ctrl-C, raised."""
    with Progress(on_progress) as told:
        status = call(_tell, told.number)
    if told.error is not None:
        raise told.error
    return status
