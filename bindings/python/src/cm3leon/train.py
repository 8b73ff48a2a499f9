"""Training: text tokenizers, image tokenizers, language models and encoders, from shards of records.

Options are those of the library's structs by their names (train.h says what they do and what they are without being
given): `train.Trainer.lm(run_dir, data, steps=100, lr=1e-3, ...)`. A library that was built without training, as the
one in the wheel, raises UnsupportedError.
"""
from __future__ import annotations

import ctypes
import json
import os
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _capi
from ._handles import Context, Handle
from ._lib import filled
from ._progress import OnProgress, run
from .enums import Attend, Compute, Masking, Schedule, choose
from .retriever import Retriever
from .tokenizer import Tokenizer

Paths = Sequence[Union[str, "os.PathLike[str]"]]

CHOICES: Dict[str, Any] = {"compute": Compute, "schedule": Schedule, "masking": Masking, "attend": Attend}
OURS = {"struct_size", "user", "progress", "data", "data_count", "validation", "validation_count"}


@dataclass(frozen=True)
class Report:
    """What a step, or a validation, tells; train.h says of which trainer each is."""

    step: int
    steps: int
    loss: float
    l1: float
    l2: float
    commitment: float
    adversarial: float
    discriminator: float
    text_loss: float
    image_loss: float
    code_usage: float
    lr: float
    grad_norm: float
    samples: int
    tokens: int
    seconds: float
    rate: float
    recall: float
    query_recall: float
    scale: float
    comm_seconds: float  #: of this step, spent waiting for other processes
    reduce_seconds: float  #: of this step, in all-reduces of gradients, hidden behind the backward pass or not
    skipped: int  #: steps left out in a row, up to this one; 0: this one was learned


def _paths(paths: Paths) -> Any:
    return (ctypes.c_char_p * max(1, len(paths)))(*(os.fsencode(path) for path in paths))


def _names(struct: Any) -> List[str]:
    return [name for name, *_ in struct._fields_ if name not in OURS]


def _refuse_unknown(options: Mapping[str, Any], *structs: Any) -> None:
    unknown = set(options).difference(*(_names(struct) for struct in structs))
    if unknown:
        raise TypeError(f"there is no option {', '.join(sorted(unknown))}")


def _set(struct: Any, options: Mapping[str, Any]) -> None:
    """Options by the names of a struct's fields: texts, paths, enumerations by name, JSON as what it says."""
    kinds = {name: kind for name, kind, *_ in struct._fields_}
    for name, value in options.items():
        if name in CHOICES:
            value = choose(CHOICES[name], value)
        elif kinds[name] is ctypes.c_char_p and value is not None:
            value = json.dumps(value).encode() if isinstance(value, Mapping) else os.fsencode(value)
        setattr(struct, name, value)


class Trainer(Handle):
    """A training run, whose state lives in a directory: killed at any moment and made again, it goes on from its last
    checkpoint. Used by one thread."""

    @classmethod
    def vq(cls, run_dir: Union[str, os.PathLike[str]], data: Paths, *, validation: Paths = (),
           context: Optional[Context] = None, **options: Any) -> Trainer:
        """Of an image tokenizer."""
        return cls._make(_capi.cm3_train_vq_options, _capi.cm3_train_vq_options_init, _capi.cm3_trainer_create_vq,
                         run_dir, data, validation, context, options)

    @classmethod
    def lm(cls, run_dir: Union[str, os.PathLike[str]], data: Paths, *, validation: Paths = (),
           context: Optional[Context] = None, **options: Any) -> Trainer:
        """Of a language model."""
        return cls._make(_capi.cm3_train_lm_options, _capi.cm3_train_lm_options_init, _capi.cm3_trainer_create_lm,
                         run_dir, data, validation, context, options)

    @classmethod
    def encoder(cls, run_dir: Union[str, os.PathLike[str]], data: Paths, *, validation: Paths = (),
                context: Optional[Context] = None, **options: Any) -> Trainer:
        """Of the two-tower encoder."""
        return cls._make(_capi.cm3_train_encoder_options, _capi.cm3_train_encoder_options_init,
                         _capi.cm3_trainer_create_encoder, run_dir, data, validation, context, options)

    @classmethod
    def _make(cls, own_kind: Any, own_init: Callable[..., Any], create: Callable[..., Any],
              run_dir: Union[str, os.PathLike[str]], data: Paths, validation: Paths, context: Optional[Context],
              options: Mapping[str, Any]) -> Trainer:
        context = Context() if context is None else context
        common = filled(_capi.cm3_train_options, _capi.cm3_train_options_init)
        own = filled(own_kind, own_init)
        _refuse_unknown(options, common, own)
        _set(common, {"run_dir": run_dir, **{name: value for name, value in options.items() if name in _names(common)}})
        _set(own, {name: value for name, value in options.items() if name in _names(own)})
        shards, held_out = _paths(data), _paths(validation)
        common.data, common.data_count = shards, len(data)
        common.validation, common.validation_count = held_out, len(validation)
        pointer = POINTER(_capi.cm3_trainer)()
        context._check(create(context.ptr, byref(common), byref(own), byref(pointer)))
        trainer = cls.__new__(cls)
        trainer._own(pointer, _capi.cm3_trainer_destroy, context._context)
        return trainer

    def _report(self, function: Callable[..., int]) -> Report:
        c = _capi.cm3_train_report(struct_size=ctypes.sizeof(_capi.cm3_train_report))
        self._check(function(self.ptr, byref(c)))
        return Report(*(getattr(c, name) for name in Report.__dataclass_fields__))

    def step(self) -> Report:
        """One optimiser step. One that fails leaves the trainer of no use; its last checkpoint stays good."""
        return self._report(_capi.cm3_trainer_step)

    def run(self, *, checkpoint_every: int = 0) -> Iterator[Report]:
        """Steps to the end of the run, each one's report; a checkpoint each so many steps (0: none) and at the end, or
        where the loop is left between two steps. Ctrl-C comes between two steps, too."""
        step, steps = self.progress
        try:
            while step < steps:
                report = self.step()
                step = report.step
                if checkpoint_every and step % checkpoint_every == 0 and step < steps:
                    self.checkpoint()
                yield report
        except (GeneratorExit, KeyboardInterrupt):
            self.checkpoint()
            raise
        self.checkpoint()

    def validate(self) -> Report:
        """The loss over the validation data."""
        return self._report(_capi.cm3_trainer_validate)

    @property
    def progress(self) -> Tuple[int, int]:
        """Steps done, and of the whole run."""
        step, steps = ctypes.c_int64(), ctypes.c_int64()
        self._check(_capi.cm3_trainer_progress(self.ptr, byref(step), byref(steps)))
        return step.value, steps.value

    def checkpoint(self) -> None:
        """Writes the run's whole state into its directory, atomically."""
        self._check(_capi.cm3_trainer_checkpoint(self.ptr))

    def export(self, path: Union[str, os.PathLike[str]], *, weights: Union[Compute, str] = "auto") -> None:
        """Writes the model as it is now: a `.cm3` file."""
        self._check(_capi.cm3_trainer_export(self.ptr, os.fsencode(path), choose(Compute, weights)))

    def cancel(self) -> None:
        """Makes the running step end with Cancelled soon; any thread."""
        _capi.cm3_trainer_cancel(self.ptr)


def bpe(data: Paths, *, on_progress: Optional[OnProgress] = None, context: Optional[Context] = None,
        **options: Any) -> Tokenizer:
    """Learns a text tokenizer from the texts of shards, .jsonl or .txt files."""
    context = Context(threads=1) if context is None else context
    c = filled(_capi.cm3_train_bpe_options, _capi.cm3_train_bpe_options_init)
    _refuse_unknown(options, c)
    _set(c, options)
    shards = _paths(data)
    c.data, c.data_count = shards, len(data)
    pointer, made = POINTER(_capi.cm3_tokenizer)(), context

    def call(tell: Any, number: int) -> int:
        c.progress, c.user = tell, number
        return int(_capi.cm3_train_bpe(made.ptr, byref(c), byref(pointer)))

    made._check(run(on_progress, call))
    return Tokenizer._of_pointer(pointer, made._context)


def encode_shards(image_tokenizer: Union[str, os.PathLike[str]], data: Paths, out_dir: Union[str, os.PathLike[str]], *,
                  on_progress: Optional[OnProgress] = None, context: Optional[Context] = None) -> None:
    """Writes one shard for each into `out_dir` whose records hold codes in place of pictures, once for all trainings of
    a language model."""
    made, shards = Context() if context is None else context, _paths(data)
    made._check(run(on_progress, lambda tell, number: int(_capi.cm3_train_encode_shards(
        made.ptr, os.fsencode(image_tokenizer), shards, len(data), os.fsencode(out_dir), tell, number))))


def code_costs(image_tokenizer: Union[str, os.PathLike[str]], data: Paths, out: Union[str, os.PathLike[str]], *,
               weight: float = 0.0006, on_progress: Optional[OnProgress] = None,
               context: Optional[Context] = None) -> None:
    """Counts codes in shards that hold them, and writes the model once more with an image tokenizer that prefers the
    usual ones, so that pictures that were compressed or drawn are read as clean ones are."""
    made, shards = Context() if context is None else context, _paths(data)
    made._check(run(on_progress, lambda tell, number: int(_capi.cm3_train_code_costs(
        made.ptr, os.fsencode(image_tokenizer), shards, len(data), weight, os.fsencode(out), tell, number))))


def find_neighbours(retriever: Retriever, data: Paths, out_dir: Union[str, os.PathLike[str]], *,
                    on_progress: Optional[OnProgress] = None, **options: Any) -> None:
    """Writes one shard for each into `out_dir` whose records name their nearest neighbours in the retriever's bank."""
    c = filled(_capi.cm3_train_neighbour_options, _capi.cm3_train_neighbour_options_init)
    _refuse_unknown(options, c)
    _set(c, options)
    shards = _paths(data)
    retriever._check(run(on_progress, lambda tell, number: int(_capi.cm3_train_find_neighbours(
        retriever.ptr, shards, len(data), os.fsencode(out_dir), byref(c), tell, number))))
