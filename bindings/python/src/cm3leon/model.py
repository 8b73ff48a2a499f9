"""Models: loading, what they are, generation, and the plain forward pass."""
from __future__ import annotations

import asyncio
import ctypes
import io
import itertools
import json
import os
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union, cast

from . import _capi
from ._buffer import Pinned
from ._handles import Context, Handle
from ._interrupts import interrupts_deferred
from ._lib import PACKAGE, callback, filled
from ._progress import run as run_told
from .document import Document, Prompt, c_text, ids_array, prompt_of
from .enums import Compute, LoadMode, ModelParts, WeightType, choose
from .generation import OnEvent, OnProgress, Result, Run, Stream, wait, wait_async
from .image import Image, ImageLike, image_array
from .options import Options, options_of
from .tasks import TaskMethods
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Unpack

    from .options import OptionArgs
    from .retriever import Hit, Retriever

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModelInfo:
    """What a model has and how large it is."""

    parts: ModelParts
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    ffn_size: int
    context_length: int  #: the most tokens a document may have, prompt and answer together
    lm_parameters: int
    vq_parameters: int
    weight_bytes: int  #: as stored
    embedding_size: int  #: of the encoder's vectors; 0: there is none
    encoder_parameters: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a generation will take."""

    weights: int  #: as stored: in the mapped file, or held since loading
    cache: int
    scratch: int
    load: int  #: what the model itself holds beside its file

    @classmethod
    def _of(cls, c: Any) -> MemoryEstimate:
        return cls(c.weights, c.cache, c.scratch, c.load)


# --- loading through a file object ------------------------------------------------------------------------------------

_readers: Dict[int, _Reader] = {}
_numbers = itertools.count(1)


@dataclass
class _Reader:
    file: Any
    error: Optional[BaseException] = None

    def read_at(self, offset: int, address: int, size: int) -> None:
        self.file.seek(offset)
        while size:
            piece = self.file.read(min(size, 1 << 24))
            if not piece:
                raise EOFError(f"the file ended at byte {offset}, {size} bytes too early")
            ctypes.memmove(address, bytes(piece), len(piece))
            offset, address, size = offset + len(piece), address + len(piece), size - len(piece)


@callback(_capi.cm3_io_read_at)
def _read_at(user: int, offset: int, buffer: int, size: int) -> int:
    reader = _readers[user]
    try:
        reader.read_at(offset, buffer, size)
        return 0
    except BaseException as error:  # raised again when the library has returned
        reader.error = error
        return 1


class Model(Handle, TaskMethods):
    """Weights and what belongs to them. Immutable: any thread may use it, several at once."""

    context: Context
    info: ModelInfo

    @classmethod
    def load(cls, source: Any, *, threads: Optional[int] = None, context: Optional[Context] = None,
             mode: Union[LoadMode, str] = "map", verify_checksum: bool = False, check_weights: bool = True,
             vqgan: Union[None, str, os.PathLike[str]] = None, head_rows: Union[None, str, os.PathLike[str]] = None,
             max_bytes: int = 0) -> Model:
        """Loads a `.cm3` file or a folder as others publish them, by its path; or a `.cm3` file's bytes (anything with
        the buffer protocol, such as an mmap: it is read where it lies and must not change), or a binary file object
        that can seek (read once).

        threads: of a context made for this model (None: one a core); or `context`: one that is there.
        mode: "map" reads weights where they lie, "huge" copies them into huge pages.
        vqgan, head_rows: parts that a folder lacks; cm3_load_options in model.h says what.
        max_bytes: loading that would take more memory fails with OutOfMemoryError; 0: no bound.
        """
        if context is not None and threads is not None:
            raise ValueError("a context has its threads already: give one of the two")
        context = context or Context(threads=threads)
        options = filled(_capi.cm3_load_options, _capi.cm3_load_options_init)
        options.mode = choose(LoadMode, mode)
        options.verify_checksum, options.check_weights = verify_checksum, check_weights
        options.vqgan = None if vqgan is None else os.fsencode(vqgan)
        options.head_rows = None if head_rows is None else os.fsencode(head_rows)
        options.max_bytes = max_bytes
        pointer = POINTER(_capi.cm3_model)()
        keep: Tuple[Any, ...] = ()
        if isinstance(source, (str, os.PathLike)):
            context._check(_capi.cm3_model_load(context.ptr, os.fsencode(source), byref(options), byref(pointer)))
        elif hasattr(source, "seek") and hasattr(source, "read") and not _has_buffer(source):
            _load_io(context, source, options, pointer)
        else:
            pinned = Pinned(source)
            keep = (pinned,)
            context._check(_capi.cm3_model_load_memory(context.ptr, pinned.address, pinned.size, byref(options),
                                                       byref(pointer)))
        model = cls.__new__(cls)
        model._take(pointer, context, keep)
        return model

    def _take(self, pointer: Any, context: Context, keep: Tuple[Any, ...]) -> None:
        self._own(pointer, _capi.cm3_model_destroy, context._context, keep)
        self.context = context
        self._threads = context.threads
        self._tokenizer: Optional[Tokenizer] = None
        info = _capi.cm3_model_info(struct_size=ctypes.sizeof(_capi.cm3_model_info))
        self._check(_capi.cm3_model_get_info(pointer, byref(info)))
        values = {name: getattr(info, name) for name in ModelInfo.__dataclass_fields__}
        self.info = ModelInfo(**{**values, "parts": ModelParts(info.parts)})

    @property
    def config(self) -> Dict[str, Any]:
        """The configuration."""
        text = ctypes.c_char_p()
        self._check(_capi.cm3_model_config_json(self.ptr, byref(text)))
        return cast(Dict[str, Any], json.loads(text.value or b"{}"))

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            pointer = POINTER(_capi.cm3_tokenizer)()
            self._check(_capi.cm3_model_tokenizer(self.ptr, byref(pointer)))
            self._tokenizer = Tokenizer._of_pointer(pointer, self._context, self._keep)
        return self._tokenizer

    def __repr__(self) -> str:
        parts = " ".join(part.name.lower() for part in ModelParts if part in self.info.parts and part.name)
        return f"<cm3leon.Model {parts}, {self.info.lm_parameters / 1e6:.1f} M parameters>"

    # --- generation ---------------------------------------------------------------------------------------------------

    def generate(self, prompt: Prompt, *, retriever: Optional[Retriever] = None, retrieve: int = 2,
                 options: Optional[Options] = None, on_progress: Optional[OnProgress] = None,
                 on_event: Optional[OnEvent] = None, progress: Optional[bool] = None,
                 **given: Unpack[OptionArgs]) -> Result:
        """Generates, and comes back when all is made.

        prompt: a text; texts and pictures in their order; token ids; or a Document.
        retriever: documents like the prompt, at most `retrieve`, are looked up there and stand before it.
        on_progress, on_event: called on this thread; False stops, which raises Cancelled with what was made so far.
        progress: show a bar; None: in notebooks.
        All else: see Options, of which `options` may hold a set.
        """
        run, retrieved = self._start(prompt, retriever, retrieve, options_of(options, given))
        return wait(run, on_progress, on_event, progress, retrieved)

    async def agenerate(self, prompt: Prompt, *, retriever: Optional[Retriever] = None, retrieve: int = 2,
                        options: Optional[Options] = None, on_progress: Optional[OnProgress] = None,
                        on_event: Optional[OnEvent] = None, progress: Optional[bool] = None,
                        **given: Unpack[OptionArgs]) -> Result:
        """The same, for asyncio: the event loop goes on; cancelling the task cancels the generation."""
        chosen = options_of(options, given)
        run, retrieved = await asyncio.get_running_loop().run_in_executor(
            None, lambda: self._start(prompt, retriever, retrieve, chosen))
        return await wait_async(run, on_progress, on_event, progress, retrieved)

    def stream(self, prompt: Prompt, *, retriever: Optional[Retriever] = None, retrieve: int = 2,
               options: Optional[Options] = None, **given: Unpack[OptionArgs]) -> Stream:
        """The same as its events, for `for` and `async for`. It begins with the loop; leaving the loop cancels it."""
        chosen = options_of(options, given)
        return Stream(lambda: self._start(prompt, retriever, retrieve, chosen))

    def _start(self, prompt: Prompt, retriever: Optional[Retriever], retrieve: int,
               options: Options) -> Tuple[Run, List[Hit]]:
        self.ptr
        document, retrieved = Document._in(self._context), []
        if retriever is not None:
            query = prompt if isinstance(prompt, str) else None
            if query is None:
                raise ValueError("what is looked up is looked up by a text: the prompt must be one")
            retrieved = retriever._retrieve(document, text=query, k=retrieve)
        return self._run(prompt_of(prompt, document), options), retrieved

    def _run(self, document: Document, options: Options, pictures: Optional[Document] = None) -> Run:
        return Run(self.ptr, self._context, document, options, self._keep, self._threads, pictures)

    def estimate(self, *, prompt_tokens: int = 128, options: Optional[Options] = None,
                 **given: Unpack[OptionArgs]) -> MemoryEstimate:
        """What a generation with such options will take, beyond what the model holds."""
        c, _held = options_of(options, given).fill(self.ptr)
        c_estimate = _capi.cm3_memory_estimate(struct_size=ctypes.sizeof(_capi.cm3_memory_estimate))
        self._check(_capi.cm3_estimate(self.ptr, byref(c), prompt_tokens, byref(c_estimate)))
        return MemoryEstimate._of(c_estimate)

    # --- inside -------------------------------------------------------------------------------------------------------

    def forward(self, ids: Sequence[int], *, compute: Union[Compute, str] = "f32") -> Floats:
        """Logits [len(ids), vocab_size] of every position."""
        return self._pass(_capi.cm3_model_logits, ids, compute, (len(ids), self.info.vocab_size))

    def hidden(self, ids: Sequence[int], *, compute: Union[Compute, str] = "f32") -> Floats:
        """Hidden states [layers + 2, len(ids), hidden_size]: the embeddings, what each layer leaves, and that behind
        the final norm."""
        return self._pass(_capi.cm3_model_hidden, ids, compute,
                          (self.info.layers + 2, len(ids), self.info.hidden_size))

    def _pass(self, function: Any, ids: Sequence[int], compute: Union[Compute, str], shape: Tuple[int, ...]) -> Floats:
        import numpy

        made = numpy.empty(shape, numpy.float32)
        self._check(function(self.ptr, ids_array(ids), len(ids), choose(Compute, compute),
                             made.ctypes.data_as(POINTER(ctypes.c_float))))
        return made

    def encode_image(self, image: ImageLike) -> List[int]:
        """A picture to its codes."""
        return self.tokenizer.encode_image(image)

    def decode_image(self, codes: Sequence[int]) -> Image:
        """Codes to a picture."""
        return self.tokenizer.decode_image(codes)

    def embed(self, items: Sequence[Union[str, Image, Any]], *, normalize: bool = True) -> Floats:
        """The encoder's vectors [len(items), embedding_size] of texts, or of pictures (Image, Pillow's, arrays). Of one
        text or picture alone: [embedding_size]."""
        import numpy

        if isinstance(items, (str, Image)) or hasattr(items, "convert"):
            return cast("Floats", self.embed([items], normalize=normalize)[0])
        made = numpy.empty((len(items), self.info.embedding_size), numpy.float32)
        vectors = made.ctypes.data_as(POINTER(ctypes.c_float))
        texts = [item for item in items if isinstance(item, str)]
        if texts and len(texts) != len(items):
            raise ValueError("texts and pictures are embedded in calls of their own")
        if texts:
            array = (ctypes.c_char_p * len(texts))(*(c_text(text) for text in texts))
            self._check(_capi.cm3_model_embed_texts(self.ptr, array, len(texts), int(normalize), vectors))
        else:
            images = [Image.of(item) for item in items]
            self._check(_capi.cm3_model_embed_images(self.ptr, image_array(images), len(images), int(normalize),
                                                     vectors))
        return made


def _has_buffer(source: Any) -> bool:
    try:
        memoryview(source).release()
    except TypeError:
        return False
    return True


def _load_io(context: Context, file: Any, options: Any, pointer: Any) -> None:
    number, reader = next(_numbers), _Reader(file)
    size = file.seek(0, io.SEEK_END)
    c = _capi.cm3_io(ctypes.sizeof(_capi.cm3_io), _read_at, size if size is not None else file.tell(), number)
    _readers[number] = reader
    try:
        with interrupts_deferred():
            status = _capi.cm3_model_load_io(context.ptr, byref(c), byref(options), byref(pointer))
    finally:
        del _readers[number]
    if reader.error is not None:
        raise reader.error
    context._check(status)


def demo_model(*, threads: Optional[int] = None, context: Optional[Context] = None) -> Model:
    """The small model that comes with the package: it draws scenes of coloured shapes. Where the package is used from
    its sources it is the one beside them."""
    for folder in (PACKAGE, *PACKAGE.parents):
        path = folder / "models" / "toybox.cm3"
        if path.is_file():
            return Model.load(path, threads=threads, context=context)
    raise FileNotFoundError(f"the demo model is not in {PACKAGE / 'models'}: this package was built without it")


def estimate_file(path: Union[str, os.PathLike[str]], *, prompt_tokens: int = 128, options: Optional[Options] = None,
                  context: Optional[Context] = None, **given: Unpack[OptionArgs]) -> MemoryEstimate:
    """Model.estimate() of a model that is not loaded."""
    context = context or Context(threads=1)
    c, _held = options_of(options, given).fill(None)
    made = _capi.cm3_memory_estimate(struct_size=ctypes.sizeof(_capi.cm3_memory_estimate))
    context._check(_capi.cm3_estimate_file(context.ptr, os.fsencode(path), None, byref(c), prompt_tokens, byref(made)))
    return MemoryEstimate._of(made)


def convert(source: Union[str, os.PathLike[str]], target: Union[str, os.PathLike[str]], *, weights: str = "keep",
            embeddings: str = "auto", head: str = "auto", block: int = 64,
            vqgan: Union[None, str, os.PathLike[str]] = None, head_rows: Union[None, str, os.PathLike[str]] = None,
            encoder: Union[None, str, os.PathLike[str]] = None, on_progress: Optional[OnProgress] = None,
            context: Optional[Context] = None) -> None:
    """Makes a `.cm3` file of any model that Model.load() loads, its matrices as they are, in "f32", "bf16", "q8" or
    "q4" (model.h, cm3_convert_options). encoder: a model whose encoder is put in."""
    context = Context(threads=1) if context is None else context
    c = filled(_capi.cm3_convert_options, _capi.cm3_convert_options_init)
    c.weights, c.embeddings = choose(WeightType, weights), choose(WeightType, embeddings)
    c.head, c.block = choose(WeightType, head), block
    for name, path in (("vqgan", vqgan), ("head_rows", head_rows), ("encoder", encoder)):
        setattr(c, name, None if path is None else os.fsencode(path))

    def call(function: Any, number: int) -> int:
        c.on_progress, c.user = function, number
        return int(_capi.cm3_model_convert(context.ptr, os.fsencode(source), os.fsencode(target), byref(c)))

    context._check(run_told(on_progress, call))
