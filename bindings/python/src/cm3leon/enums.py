"""The library's enumerations. Where an option takes one, its name in lower case does as well: modality="text"."""
from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Type, TypeVar, Union

from . import _capi

E = TypeVar("E", bound=IntEnum)


def choose(kind: Type[E], value: Union[E, int, str]) -> E:
    """A member by itself, its number or its name."""
    if not isinstance(value, str):
        return kind(value)
    try:
        return kind[value.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(item.name.lower() for item in kind)
        raise ValueError(f"'{value}' is none of {names}") from None


class Status(IntEnum):
    """What a function of the library says of its outcome."""

    OK = _capi.CM3_OK
    INVALID_ARGUMENT = _capi.CM3_ERROR_INVALID_ARGUMENT
    NO_MEMORY = _capi.CM3_ERROR_NO_MEMORY
    BUSY = _capi.CM3_ERROR_BUSY
    CANCELLED = _capi.CM3_ERROR_CANCELLED
    UNSUPPORTED = _capi.CM3_ERROR_UNSUPPORTED
    INTERNAL = _capi.CM3_ERROR_INTERNAL
    THREAD = _capi.CM3_ERROR_THREAD
    NOT_FOUND = _capi.CM3_ERROR_NOT_FOUND
    IO = _capi.CM3_ERROR_IO
    NO_SPACE = _capi.CM3_ERROR_NO_SPACE
    FORMAT = _capi.CM3_ERROR_FORMAT
    VERSION = _capi.CM3_ERROR_VERSION
    TRUNCATED = _capi.CM3_ERROR_TRUNCATED
    CHECKSUM = _capi.CM3_ERROR_CHECKSUM
    UTF8 = _capi.CM3_ERROR_UTF8
    TOO_LONG = _capi.CM3_ERROR_TOO_LONG


class Modality(IntEnum):
    """What is generated: `cm3_modality` in request.h."""

    IMAGE = _capi.CM3_MODALITY_IMAGE
    TEXT = _capi.CM3_MODALITY_TEXT
    INTERLEAVED = _capi.CM3_MODALITY_INTERLEAVED
    FREE = _capi.CM3_MODALITY_FREE
    INFILL = _capi.CM3_MODALITY_INFILL


class EventKind(IntEnum):
    """What an event tells."""

    NONE = _capi.CM3_EVENT_NONE
    TEXT = _capi.CM3_EVENT_TEXT
    TOKEN = _capi.CM3_EVENT_TOKEN
    IMAGE_ROWS = _capi.CM3_EVENT_IMAGE_ROWS
    IMAGE = _capi.CM3_EVENT_IMAGE
    PROGRESS = _capi.CM3_EVENT_PROGRESS
    END = _capi.CM3_EVENT_END


class EndReason(IntEnum):
    """Why a candidate ended."""

    FINISHED = _capi.CM3_END_FINISHED
    MAX_TOKENS = _capi.CM3_END_MAX_TOKENS
    CANCELLED = _capi.CM3_END_CANCELLED
    FAILED = _capi.CM3_END_FAILED


class SegmentKind(IntEnum):
    """Parts of a document."""

    TEXT = _capi.CM3_SEGMENT_TEXT
    IMAGE = _capi.CM3_SEGMENT_IMAGE
    BREAK = _capi.CM3_SEGMENT_BREAK
    MASK = _capi.CM3_SEGMENT_MASK
    IDS = _capi.CM3_SEGMENT_IDS


class Compute(IntEnum):
    """Operands of matrix products; sums are always f32."""

    AUTO = _capi.CM3_COMPUTE_AUTO
    F32 = _capi.CM3_COMPUTE_F32
    BF16 = _capi.CM3_COMPUTE_BF16


class KvType(IntEnum):
    """Cached keys and values."""

    AUTO = _capi.CM3_KV_AUTO
    F32 = _capi.CM3_KV_F32
    BF16 = _capi.CM3_KV_BF16
    INT8 = _capi.CM3_KV_INT8


class LoadMode(IntEnum):
    """How weights are held: mapped where they lie, or copied into huge pages."""

    MAP = _capi.CM3_LOAD_MAP
    HUGE = _capi.CM3_LOAD_HUGE


class WeightType(IntEnum):
    """What matrices become when a model is converted."""

    AUTO = _capi.CM3_WEIGHTS_AUTO
    KEEP = _capi.CM3_WEIGHTS_KEEP
    F32 = _capi.CM3_WEIGHTS_F32
    BF16 = _capi.CM3_WEIGHTS_BF16
    Q8 = _capi.CM3_WEIGHTS_Q8
    Q4 = _capi.CM3_WEIGHTS_Q4


class ModelParts(IntFlag):
    """What a model file holds."""

    LM = _capi.CM3_PART_LM
    VQ = _capi.CM3_PART_VQ
    TOKENIZER = _capi.CM3_PART_TOKENIZER
    ENCODER = _capi.CM3_PART_ENCODER


class TokenRole(IntEnum):
    """Special tokens by role: their names mean different things in different models."""

    EOD = _capi.CM3_TOKEN_EOD
    PAD = _capi.CM3_TOKEN_PAD
    BREAK = _capi.CM3_TOKEN_BREAK
    BEGIN_IMAGE = _capi.CM3_TOKEN_BEGIN_IMAGE
    END_IMAGE = _capi.CM3_TOKEN_END_IMAGE
    END_SPAN = _capi.CM3_TOKEN_END_SPAN
    SENTINEL = _capi.CM3_TOKEN_SENTINEL
    IMAGE = _capi.CM3_TOKEN_IMAGE
    BOS = _capi.CM3_TOKEN_BOS
    END_TURN = _capi.CM3_TOKEN_END_TURN


class EncodeFlags(IntFlag):
    """How a text becomes ids."""

    PLAIN = _capi.CM3_ENCODE_PLAIN
    SPECIAL = _capi.CM3_ENCODE_SPECIAL
    TEMPLATE = _capi.CM3_ENCODE_TEMPLATE
    LENGTH = _capi.CM3_ENCODE_LENGTH


class Preprocessing(IntEnum):
    """How pixels become numbers before they become codes."""

    AUTO = _capi.CM3_PREPROCESSING_AUTO
    META = _capi.CM3_PREPROCESSING_META
    HF = _capi.CM3_PREPROCESSING_HF


class ImageFormat(IntEnum):
    """What pictures are written as."""

    JPEG = _capi.CM3_IMAGE_JPEG
    PNG = _capi.CM3_IMAGE_PNG


class Filter(IntEnum):
    """Resampling."""

    BICUBIC = _capi.CM3_FILTER_BICUBIC
    LANCZOS = _capi.CM3_FILTER_LANCZOS


class VectorType(IntEnum):
    """How a bank keeps its vectors."""

    F32 = _capi.CM3_VECTORS_F32
    BF16 = _capi.CM3_VECTORS_BF16
    INT8 = _capi.CM3_VECTORS_INT8


class BankMode(IntEnum):
    """Whether a bank is only read, or may be changed: by one process at a time."""

    READ = _capi.CM3_BANK_READ
    WRITE = _capi.CM3_BANK_WRITE


class LogLevel(IntEnum):
    """How grave a line of log is."""

    ERROR = _capi.CM3_LOG_ERROR
    WARNING = _capi.CM3_LOG_WARNING
    INFO = _capi.CM3_LOG_INFO
    DEBUG = _capi.CM3_LOG_DEBUG


class Schedule(IntEnum):
    """How the learning rate falls behind the warm-up."""

    COSINE = _capi.CM3_SCHEDULE_COSINE
    LINEAR = _capi.CM3_SCHEDULE_LINEAR
    CONSTANT = _capi.CM3_SCHEDULE_CONSTANT


class Masking(IntEnum):
    """The CM3 objective, in training."""

    NONE = _capi.CM3_MASKING_NONE
    CODE = _capi.CM3_MASKING_CODE
    PAPER = _capi.CM3_MASKING_PAPER


class Attend(IntEnum):
    """What attention sees as one, in training."""

    DOCUMENT = _capi.CM3_ATTEND_DOCUMENT
    BLOCK = _capi.CM3_ATTEND_BLOCK
