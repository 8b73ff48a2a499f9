"""CM3Leon: text and pictures as one stream of tokens, by libcm3leon.

    import cm3leon

    with cm3leon.demo_model() as model:
        result = model.generate("a red circle at the top left and a blue star at the bottom", seed=7)
        result.image.save("scene.png")

`cm3leon._capi` is the C interface one to one; users need only what is here.
"""
from __future__ import annotations

from . import _capi
from ._handles import Context, MemoryStats
from .document import Box, Document, Prompt, Segment
from .enums import (BankMode, Compute, EncodeFlags, EndReason, EventKind, Filter, ImageFormat, KvType, LoadMode,
                    LogLevel, Modality, ModelParts, Preprocessing, SegmentKind, Status, TokenRole, VectorType,
                    WeightType)
from .errors import (BusyError, Cancelled, ChecksumError, ClosedError, Cm3leonError, EncodingError, ForkedError,
                     FormatError, InternalError, InvalidArgumentError, IoError, NoSpaceError, NotFoundError,
                     OutOfMemoryError, ThreadError, TooLongError, TruncatedError, UnsupportedError, VersionError)
from .generation import Candidate, Event, Result, Stream, Timings
from .image import Image, ImageLike, contact_sheet
from .model import MemoryEstimate, Model, ModelInfo, convert, demo_model, estimate_file
from .options import Options
from .retriever import BankInfo, Hit, Record, Retriever, verify_bank
from .sampler import Sampler, Step
from .tasks import Hidden, Tasks
from .tokenizer import Tokenizer, TokenizerInfo

#: Version of this package: that of the library whose headers it was written for.
__version__ = _capi.CM3_VERSION_STRING


def library_version() -> str:
    """The version of the library that is loaded."""
    return str(_capi.cm3_version().decode())


__all__ = [
    "BankInfo", "BankMode", "Box", "BusyError", "Cancelled", "Candidate", "ChecksumError", "ClosedError",
    "Cm3leonError", "Compute", "Context", "Document", "EncodeFlags", "EncodingError", "EndReason", "Event",
    "EventKind", "Filter", "ForkedError", "FormatError", "Hidden", "Hit", "Image", "ImageFormat", "ImageLike",
    "InternalError", "InvalidArgumentError", "IoError", "KvType", "LoadMode", "LogLevel", "MemoryEstimate",
    "MemoryStats", "Modality", "Model", "ModelInfo", "ModelParts", "NoSpaceError", "NotFoundError", "Options",
    "OutOfMemoryError", "Preprocessing", "Prompt", "Record", "Result", "Retriever", "Sampler", "Segment",
    "SegmentKind", "Status", "Step", "Stream", "Tasks", "ThreadError", "Timings", "TokenRole", "Tokenizer",
    "TokenizerInfo", "TooLongError", "TruncatedError", "UnsupportedError", "VectorType", "VersionError", "WeightType",
    "contact_sheet", "convert", "demo_model", "estimate_file", "library_version", "verify_bank",
]
