"""The retriever: records of text and picture in a memory bank, found by a model's encoder."""
from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import weakref
from ctypes import POINTER, byref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from . import _capi
from ._handles import Context, Handle
from ._lib import callback, filled
from ._progress import OnProgress, run
from .document import Document, c_text
from .enums import BankMode, VectorType, choose
from .errors import Cm3leonError, NotFoundError, check
from .image import Image, ImageLike

if TYPE_CHECKING:
    from .model import Model

#: A record that is to be kept: its text, its picture, or both, and a name of one's own.
Item = Union[Tuple[Optional[str], Optional[ImageLike]], Tuple[Optional[str], Optional[ImageLike], Optional[str]]]


@dataclass(frozen=True)
class Record:
    """What is kept of a text and a picture."""

    id: int
    key: str
    text: Optional[str]
    codes: List[int]  #: of the model's image tokenizer; [] where the picture is kept as a file, or there is none
    file: Optional[bytes]  #: JPEG or PNG
    vector: List[float]
    _model: Any = None

    @property
    def image(self) -> Optional[Image]:
        """The picture, as the codes or the file have it."""
        if self.file is not None:
            return Image.from_bytes(self.file)
        return self._model.decode_image(self.codes) if self.codes else None


@dataclass(frozen=True)
class Hit:
    """A record that was found."""

    id: int
    score: float  #: inner product of unit vectors, -1..1
    record: Record

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def text(self) -> Optional[str]:
        return self.record.text

    @property
    def image(self) -> Optional[Image]:
        return self.record.image


@dataclass(frozen=True)
class BankInfo:
    """What a bank is and holds."""

    records: int  #: that can be found
    deleted: int  #: that still take room
    end: int  #: one above the largest id
    indexed: int
    bytes: int
    left_over: int
    dimension: int
    vectors: VectorType
    encoder_name: str


class Retriever(Handle):
    """Records in a memory bank, a file, under the vectors of a model's encoder. What is added is in the file when the
    call returns. Any thread may use it.

    path: the bank; made where it is not there. None: one of its own, which is gone when the retriever is, unless save()
        keeps it.
    mode: "write", which one process at a time may have, or "read".
    vectors: of a bank that is made: "bf16", "f32" or "int8".
    """

    def __init__(self, model: Model, path: Union[None, str, os.PathLike[str]] = None, *,
                 mode: Union[BankMode, str] = "write", vectors: Union[VectorType, str] = "bf16",
                 name: str = "") -> None:
        folder: Optional[str] = None
        if path is None:
            folder = tempfile.mkdtemp(prefix="cm3leon-")
            path = os.path.join(folder, "records.bank")
        try:
            self._open(model, path, choose(BankMode, mode), choose(VectorType, vectors), name)
        except BaseException:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self.path: Optional[Path] = None if folder else Path(path)
        self._folder = weakref.finalize(self, _remove, os.getpid(), folder) if folder else None

    def _open(self, model: Model, path: Union[str, os.PathLike[str]], mode: BankMode, vectors: VectorType,
              name: str) -> None:
        self.model = model
        self._bank = POINTER(_capi.cm3_bank)()
        self._context = model._context
        if mode == BankMode.READ or os.path.exists(path):
            self._check(_capi.cm3_bank_open(model.context.ptr, os.fsencode(path), mode, byref(self._bank)))
        else:
            options = filled(_capi.cm3_bank_options, _capi.cm3_bank_options_init)
            options.vectors, options.model, options.encoder_name = vectors, model.ptr, c_text(name)
            self._check(_capi.cm3_bank_create(model.context.ptr, os.fsencode(path), byref(options), byref(self._bank)))
        pointer = POINTER(_capi.cm3_retriever)()
        status = _capi.cm3_retriever_create(model.ptr, self._bank, byref(pointer))
        if status != _capi.CM3_OK:
            _capi.cm3_bank_destroy(self._bank)
        self._check(status)
        bank = self._bank

        def destroy(retriever: Any) -> None:
            _capi.cm3_retriever_destroy(retriever)
            _capi.cm3_bank_destroy(bank)

        self._own(pointer, destroy, model._context, (model._keep,))

    def close(self) -> None:
        super().close()
        if self._folder is not None:
            self._folder()

    @property
    def _records(self) -> Any:
        """The C bank."""
        self.ptr
        return self._bank

    # --- keeping ------------------------------------------------------------------------------------------------------

    def add(self, text: Optional[str] = None, image: Optional[ImageLike] = None, *,
            key: Optional[str] = None) -> Optional[int]:
        """Keeps a text, a picture, or both; its id, or None where it is there already. `key` is a name of one's own."""
        return self.add_many([(text, image, key)])[0]

    def add_many(self, items: Iterable[Item]) -> List[Optional[int]]:
        """The same for many at once: (text, picture) or (text, picture, key)."""
        rows: List[Tuple[Any, ...]] = [tuple(item) + (None,) * (3 - len(item)) for item in items]
        array = (_capi.cm3_retrieval_item * max(1, len(rows)))()
        held = [None if image is None else Image.of(image) for _, image, _ in rows]
        for c, (text, _, key), image in zip(array, rows, held):
            _fill(c, text, image, key)
        ids = (ctypes.c_uint64 * max(1, len(rows)))()
        self._check(_capi.cm3_retriever_add(self.ptr, array, len(rows), ids))
        return [None if number == _capi.CM3_NO_RECORD else number for number in ids[: len(rows)]]

    def refuse_near(self, near_duplicate: float) -> None:
        """From here on records whose vector's product with one that is there is above this are not kept; 2: all are."""
        self._check(_capi.cm3_retriever_refuse_near(self.ptr, near_duplicate))

    def add_shards(self, paths: Sequence[Union[str, os.PathLike[str]]], *,
                   on_progress: Optional[OnProgress] = None) -> int:
        """Keeps all records of shards, as training reads them; how many are new. Where it is stopped, what was added
        stays."""
        array = (ctypes.c_char_p * max(1, len(paths)))(*(os.fsencode(path) for path in paths))
        added = ctypes.c_uint64()
        self._check(run(on_progress, lambda tell, number: int(_capi.cm3_retriever_import(
            self.ptr, array, len(paths), tell, number, byref(added)))))
        return added.value

    def delete(self, ids: Sequence[int]) -> None:
        """They are found no more; compact() gives their room back."""
        array = (ctypes.c_uint64 * max(1, len(ids)))(*ids)
        self._check(_capi.cm3_bank_delete(self._records, array, len(ids)))

    def save(self, path: Union[str, os.PathLike[str]], *, on_progress: Optional[OnProgress] = None) -> None:
        """Copies all records into a bank of that name, which takes the place of what stands there when it is whole."""
        target = os.fspath(path)
        folder = tempfile.mkdtemp(prefix=".cm3leon-", dir=os.path.dirname(target) or ".")
        try:
            info = self.info
            whole = os.path.join(folder, "whole.bank")
            with Retriever(self.model, whole, vectors=info.vectors, name=info.encoder_name) as copy:
                c = filled(_capi.cm3_bank_work_options, _capi.cm3_bank_work_options_init)

                def call(tell: Any, number: int) -> int:
                    c.on_progress, c.user = tell, number
                    return int(_capi.cm3_bank_merge(copy._records, self._records, byref(c), None))

                self._check(run(on_progress, call))
            os.replace(whole, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def index(self, *, least: Optional[int] = None, on_progress: Optional[OnProgress] = None) -> None:
        """Builds a graph over records that have none, so that searching large banks need not look at each. least: of
        fewer none is built."""
        c = filled(_capi.cm3_index_options, _capi.cm3_index_options_init)
        if least is not None:
            c.least = least

        def call(tell: Any, number: int) -> int:
            c.on_progress, c.user = tell, number
            return int(_capi.cm3_bank_index(self._records, byref(c)))

        self._check(run(on_progress, call))

    def compact(self, *, on_progress: Optional[OnProgress] = None) -> None:
        """Writes the bank anew without what was deleted; ids change."""
        c = filled(_capi.cm3_bank_work_options, _capi.cm3_bank_work_options_init)

        def call(tell: Any, number: int) -> int:
            c.on_progress, c.user = tell, number
            return int(_capi.cm3_bank_compact(self._records, byref(c)))

        self._check(run(on_progress, call))

    def refresh(self) -> None:
        """Sees what another process has added since."""
        self._check(_capi.cm3_bank_refresh(self._records))

    # --- finding ------------------------------------------------------------------------------------------------------

    def search(self, query: Union[str, ImageLike, None] = None, k: int = 10, *, image: Optional[ImageLike] = None,
               most_alike: float = 2, most_score: float = 2, whole_first: bool = False) -> List[Hit]:
        """The k records nearest to a text, or to a picture: `image=`, or as `query` anything that is no text.

        most_alike: one whose product with a better one is above this is left out; most_score: one nearer to the query;
        whole_first: those of text and picture stand before those of one alone. For prompts 0.9, 2 and True are used.
        """
        text = query if isinstance(query, str) else None
        picture = image if image is not None else query if text is None else None
        options = self._rules(k, most_alike, most_score, whole_first)
        item, _held = _item(text, picture)
        hits, found = (_capi.cm3_hit * max(1, k))(), ctypes.c_size_t()
        self._check(_capi.cm3_retriever_search(self.ptr, byref(item), 1, byref(options), hits, byref(found)))
        return self._hits(hits[: found.value])

    def _retrieve(self, document: Document, *, text: Optional[str] = None, image: Optional[Image] = None,
                  k: int = 2) -> List[Hit]:
        """Puts what a prompt may need into `document`, by the paper's rules."""
        options = self._rules(k, None, None, None)
        item, _held = _item(text, image)
        hits, found = (_capi.cm3_hit * max(1, k))(), ctypes.c_size_t()
        self._check(_capi.cm3_retriever_retrieve(self.ptr, byref(item), byref(options), 0, document.ptr, hits,
                                                 byref(found)))
        return self._hits(hits[: found.value])

    @staticmethod
    def _rules(k: int, most_alike: Optional[float], most_score: Optional[float], whole_first: Optional[bool]) -> Any:
        options = filled(_capi.cm3_retrieve_options, _capi.cm3_retrieve_options_init)
        options.k = k
        for name, value in (("most_alike", most_alike), ("most_score", most_score), ("whole_first", whole_first)):
            if value is not None:
                setattr(options, name, value)
        return options

    def _hits(self, hits: Sequence[Any]) -> List[Hit]:
        return [Hit(hit.id, hit.score, self[hit.id]) for hit in hits]

    def find(self, key: str) -> Optional[Record]:
        """The first record of that key."""
        number = ctypes.c_uint64()
        try:
            self._check(_capi.cm3_bank_find(self._records, c_text(key), byref(number)))
        except NotFoundError:
            return None
        return self[number.value]

    def __getitem__(self, id: int) -> Record:
        pointer = POINTER(_capi.cm3_bank_record)()
        self._check(_capi.cm3_retriever_fetch(self.ptr, id, byref(pointer)))
        try:
            c = pointer.contents
            size = self.model.info.embedding_size
            return Record(c.id, (c.key or b"").decode("utf-8"), None if c.text is None else c.text.decode("utf-8"),
                          c.codes[: c.code_count] if c.codes else [],
                          ctypes.string_at(c.image, c.image_size) if c.image else None,
                          c.vector[:size] if c.vector else [], self.model)
        finally:
            _capi.cm3_retriever_release(self.ptr, pointer)

    def __len__(self) -> int:
        count = ctypes.c_uint64()
        self._check(_capi.cm3_retriever_count(self.ptr, byref(count)))
        return count.value

    def __iter__(self) -> Iterator[Record]:
        number = ctypes.c_uint64(0)
        while _capi.cm3_bank_next(self._records, byref(number)) == _capi.CM3_OK:
            yield self[number.value]
            number.value += 1

    @property
    def info(self) -> BankInfo:
        c = _capi.cm3_bank_info(struct_size=ctypes.sizeof(_capi.cm3_bank_info))
        self._check(_capi.cm3_bank_get_info(self._records, byref(c)))
        return BankInfo(c.records, c.deleted, c.end, c.indexed, c.bytes, c.left_over, c.dimension,
                        VectorType(c.vectors), (c.encoder_name or b"").decode("utf-8"))


def verify_bank(path: Union[str, os.PathLike[str]], *, on_progress: Optional[OnProgress] = None,
                context: Optional[Context] = None) -> List[str]:
    """Reads all of a bank and compares it with its sums: what is wrong with it, [] where nothing is."""
    faults: List[str] = []

    @callback(_capi.cm3_bank_fault_fn)
    def on_fault(_user: Optional[int], what: bytes) -> None:
        faults.append(what.decode("utf-8", "replace"))

    made = Context(threads=0) if context is None else context
    c = filled(_capi.cm3_bank_work_options, _capi.cm3_bank_work_options_init)
    c.on_fault = on_fault

    def call(tell: Any, number: int) -> int:
        c.on_progress, c.user = tell, number
        return int(_capi.cm3_bank_verify(made.ptr, os.fsencode(path), byref(c)))

    try:
        check(run(on_progress, call), made.ptr)
    except Cm3leonError:
        if not faults:
            raise
    return faults


def _fill(c: Any, text: Optional[str], image: Optional[Image], key: Optional[str]) -> None:
    c.struct_size = ctypes.sizeof(_capi.cm3_retrieval_item)
    c.text = None if text is None else c_text(text)
    c.key = None if key is None else c_text(key)
    if image is not None:
        c.image = image.ptr


def _item(text: Optional[str], image: Optional[ImageLike]) -> Tuple[Any, Optional[Image]]:
    c, picture = _capi.cm3_retrieval_item(), None if image is None else Image.of(image)
    _fill(c, text, picture, None)
    return c, picture


def _remove(pid: int, folder: str) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
