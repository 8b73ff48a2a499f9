"""Options of generation, as a dataclass and as keywords."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple, Union

from . import _capi
from ._lib import filled
from .document import ids_array
from .enums import Compute, EncodeFlags, KvType, Modality, choose

if TYPE_CHECKING:
    from typing_extensions import TypedDict, Unpack

    from .model import Model
    from .sampler import Sampler

    class OptionArgs(TypedDict, total=False):
        """The fields of Options, as keywords."""

        modality: Union[Modality, str]
        seed: Optional[int]
        n: int
        guidance_scale: Optional[float]
        image_guidance_scale: Optional[float]
        temperature: Optional[float]
        top_k: int
        top_p: Optional[float]
        repetition_penalty: Optional[float]
        sampler: Optional[Sampler]
        min_tokens: int
        max_tokens: int
        stop_ids: Sequence[int]
        ignore_stops: bool
        end_turn: bool
        encode_flags: EncodeFlags
        preview_rows: int
        codes_only: bool
        compute: Union[Compute, str]
        kv: Union[KvType, str]
        contrast_alpha: float
        contrast_k: int
        contrast_candidates: int
        scores: bool
        best: int
        encoder: Optional[Model]
        beams: int


@dataclass(frozen=True, init=False)
class Options:
    """How to generate. All by keyword; None is what the model's authors published for it.

    The library's header request.h says more of each (cm3_generate_options).
    """

    modality: Modality = Modality.IMAGE  #: what is made; its name does as well
    seed: Optional[int] = None  #: the same seed draws the same; None or 0: one is picked, and told by the result
    n: int = 1  #: candidates, 1..64
    guidance_scale: Optional[float] = None  #: how closely the text is followed; 1 is off
    image_guidance_scale: Optional[float] = None  #: how closely pictures of the prompt are
    temperature: Optional[float] = None  #: 0 takes the likeliest token
    top_k: int = 0  #: keep the k likeliest tokens; 0: all
    top_p: Optional[float] = None  #: keep the likeliest tokens that make up p
    repetition_penalty: Optional[float] = None  #: 1 is none
    sampler: Optional[Sampler] = None  #: a chain of one's own in place of the four above
    min_tokens: int = 0  #: of text
    max_tokens: int = 0  #: of text; 0: what the context leaves
    stop_ids: Tuple[int, ...] = ()  #: text ends at any of these too
    ignore_stops: bool = False  #: text goes on until max_tokens
    end_turn: bool = False  #: the prompt is a turn of a talk (Chameleon)
    encode_flags: EncodeFlags = EncodeFlags.PLAIN  #: of the prompt's texts
    preview_rows: int = 0  #: a preview each so many finished rows of tokens; 0: none
    codes_only: bool = False  #: pictures stay codes
    compute: Compute = Compute.AUTO  #: bf16 where the CPU has it
    kv: KvType = KvType.AUTO  #: of cached keys and values
    contrast_alpha: float = 0.0  #: above 0: contrastive decoding in place of guidance
    contrast_k: int = 1
    contrast_candidates: int = 0  #: the last so many are drawn so; 0: all
    scores: bool = False  #: tell each candidate's log-probability
    best: int = 0  #: keep so many of the candidates, the best first; 0: all
    encoder: Optional[Model] = None  #: judges which pictures are best: a model of the same context with both towers
    beams: int = 0  #: of text: beam search of that width

    def __init__(self, **values: Unpack[OptionArgs]) -> None:
        given: Any = dict(values)
        for field in dataclasses.fields(self):
            value = given.pop(field.name, field.default)
            if field.name in CHOICES:
                value = choose(CHOICES[field.name], value)
            object.__setattr__(self, field.name, tuple(value) if field.name == "stop_ids" else value)
        if given:
            raise TypeError(f"there is no option {', '.join(sorted(given))}")

    def fill(self, model: Any) -> Tuple[Any, Tuple[Any, ...]]:
        """The C struct for a C model (None: any), and what it points to."""
        if model is None:
            c = filled(_capi.cm3_generate_options, _capi.cm3_generate_options_init)
            c.modality = self.modality
        else:
            c = filled(_capi.cm3_generate_options, _capi.cm3_generate_options_for, model, int(self.modality))
        c.seed = self.seed or 0
        c.candidates = self.n
        for name in ("guidance_scale", "image_guidance_scale", "temperature", "top_p", "repetition_penalty"):
            if getattr(self, name) is not None:
                setattr(c, name, getattr(self, name))
        for name in ("top_k", "min_tokens", "max_tokens", "preview_rows", "contrast_alpha", "contrast_k",
                     "contrast_candidates", "best", "beams", "compute", "kv", "ignore_stops", "end_turn", "codes_only",
                     "scores", "encode_flags"):
            setattr(c, name, getattr(self, name))
        stops = ids_array(self.stop_ids)
        c.stop_ids, c.stop_count = stops, len(self.stop_ids)
        if self.sampler is not None:
            c.sampler = self.sampler.ptr
        if self.encoder is not None:
            c.encoder = self.encoder.ptr
        return c, (stops, self.sampler, self.encoder)


CHOICES: Any = {"modality": Modality, "compute": Compute, "kv": KvType}


def options_of(options: Optional[Options], given: Any, **defaults: Any) -> Options:
    """Keywords laid over `options`, or over a call's own defaults where there are none."""
    if options is None:
        return Options(**{**defaults, **given})
    return dataclasses.replace(options, **given)
