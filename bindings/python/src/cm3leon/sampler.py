"""Samplers: chains of decoding rules, Python functions among them."""
from __future__ import annotations

import ctypes
import itertools
import threading
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import _capi
from ._handles import Context, Handle, pixel_context
from ._lib import callback
from .document import ids_array
from .enums import Modality


@dataclass(frozen=True)
class Step:
    """What a rule sees. `logits` is memory of the library: a ctypes array of floats to be changed in place, good during
    the call; numpy.ctypeslib.as_array(step.logits) is the same as an array."""

    logits: Any
    history: List[int]  #: prompt and tokens so far
    prompt_count: int  #: how many of them are the prompt
    candidate: int
    modality: Modality


#: Changes the logits; False stops the request.
Rule = Callable[[Step], Optional[bool]]

_rules: Dict[int, "_Rule"] = {}
_numbers = itertools.count(1)


@dataclass
class _Rule:
    function: Rule
    error: Optional[BaseException] = None


@callback(_capi.cm3_sampler_rule_apply)
def _apply(user: int, step: Any) -> int:
    rule = _rules[user]
    try:
        s = step.contents
        logits = ctypes.cast(s.logits, POINTER(ctypes.c_float * s.vocab_size)).contents
        seen = Step(logits, s.history[: s.history_count], s.prompt_count, s.candidate, Modality(s.modality))
        return int(rule.function(seen) is False)
    except BaseException as error:  # goes on where the request is waited for
        rule.error = error
        return 1


@callback(_capi.cm3_sampler_rule_destroy)
def _forget(user: int) -> None:
    _rules.pop(user, None)


class Sampler(Handle):
    """A chain of rules, applied in the order in which they were added, then one draw. Built by its add methods, each of
    which hands back the sampler; not to be changed once it was used.

        Sampler().temperature(0.7).top_p(0.9)
    """

    def __init__(self, *, context: Optional[Context] = None) -> None:
        context = context or pixel_context()
        pointer = POINTER(_capi.cm3_sampler)()
        context._check(_capi.cm3_sampler_create(context.ptr, byref(pointer)))
        self._own(pointer, _capi.cm3_sampler_destroy, context._context)
        self._own_rules: List[_Rule] = []
        self._lock = threading.Lock()

    def temperature(self, temperature: float) -> Sampler:
        """0 ends the chain: the likeliest token is taken."""
        self._check(_capi.cm3_sampler_add_temperature(self.ptr, temperature))
        return self

    def top_k(self, k: int) -> Sampler:
        self._check(_capi.cm3_sampler_add_top_k(self.ptr, k))
        return self

    def top_p(self, p: float) -> Sampler:
        self._check(_capi.cm3_sampler_add_top_p(self.ptr, p))
        return self

    def repetition_penalty(self, penalty: float) -> Sampler:
        self._check(_capi.cm3_sampler_add_repetition_penalty(self.ptr, penalty))
        return self

    def rule(self, function: Rule) -> Sampler:
        """A function of one's own. It runs on the library's thread while the caller waits; what it raises stops the
        request and is raised from the call that waits for it."""
        number, rule = next(_numbers), _Rule(function)
        _rules[number] = rule
        c = _capi.cm3_sampler_rule(ctypes.sizeof(_capi.cm3_sampler_rule), _apply, _forget, number)
        self._check(_capi.cm3_sampler_add_rule(self.ptr, byref(c)))
        self._own_rules.append(rule)
        return self

    def sample(self, logits: Sequence[float], *, history: Sequence[int] = (), seed: int = 1, candidate: int = 0,
               position: int = 0) -> int:
        """Runs the chain once on a copy of `logits` and draws a token."""
        array = (ctypes.c_float * max(1, len(logits)))(*(float(x) for x in logits))
        token = ctypes.c_int32()
        status = _capi.cm3_sampler_sample(self.ptr, array, len(logits), ids_array(history), len(history), seed,
                                          candidate, position, byref(token))
        self._raise_stored()
        self._check(status)
        return token.value

    def _raise_stored(self) -> None:
        """Goes on with what a rule raised."""
        with self._lock:
            for rule in self._own_rules:
                error, rule.error = rule.error, None
                if error is not None:
                    raise error
