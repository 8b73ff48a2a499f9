"""Documents: prompts of text, pictures and what is to be filled in, and the results in the same form."""
from __future__ import annotations

import ctypes
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

from . import _capi
from ._handles import Context, Handle, pixel_context
from .enums import SegmentKind
from .image import Image, ImageLike, image_array

#: A rectangle in fractions of a picture's sides: (x, y, width, height), from its top left corner.
Box = Tuple[float, float, float, float]

#: What may be a prompt: a text, a document, token ids, or texts and pictures in their order.
Prompt = Union[str, "Document", Sequence[Any]]


@dataclass(frozen=True)
class Segment:
    """One part of a document; `ids` are the codes of an image where known, or token ids."""

    kind: SegmentKind
    text: Optional[str] = None
    image: Optional[Image] = None
    ids: Optional[List[int]] = None
    mask: int = 0


def ids_array(ids: Sequence[int]) -> Any:
    """int32 numbers, wherever they come from (NumPy's as well)."""
    return (ctypes.c_int32 * max(1, len(ids)))(*(int(i) for i in ids))


class Document(Handle):
    """A list of segments, built by its add_ methods, each of which hands back the document."""

    def __init__(self, *, context: Optional[Context] = None) -> None:
        context = context or pixel_context()
        self._make(context.ptr)

    def _make(self, context: Any) -> None:
        pointer = POINTER(_capi.cm3_document)()
        self._context = context
        self._check(_capi.cm3_document_create(context, byref(pointer)))
        self._own(pointer, _capi.cm3_document_destroy, context)

    @classmethod
    def _in(cls, context: Any) -> Document:
        """Of a C context."""
        document = cls.__new__(cls)
        document._make(context)
        return document

    @classmethod
    def _of_pointer(cls, pointer: Any, context: Any) -> Document:
        document = cls.__new__(cls)
        document._own(pointer, _capi.cm3_document_destroy, context)
        return document

    def add_text(self, text: str) -> Document:
        data = text.encode("utf-8", "surrogatepass")  # what is no text is refused by the library, with the place
        self._check(_capi.cm3_document_add_text(self.ptr, data, len(data)))
        return self

    def add_image(self, image: ImageLike, *, holes: Sequence[Box] = ()) -> Document:
        """A picture; what the boxes `holes` touch is to be filled in."""
        picture = Image.of(image)
        if holes:
            boxes = box_array(holes)
            self._check(_capi.cm3_document_add_image_holes(self.ptr, picture.ptr, boxes, len(holes)))
        else:
            self._check(_capi.cm3_document_add_image(self.ptr, picture.ptr))
        return self

    def add_codes(self, codes: Sequence[int]) -> Document:
        """A picture by its codes."""
        self._check(_capi.cm3_document_add_codes(self.ptr, ids_array(codes), len(codes)))
        return self

    def add_ids(self, ids: Sequence[int]) -> Document:
        """Token ids; a prompt of nothing else is taken as it is."""
        self._check(_capi.cm3_document_add_ids(self.ptr, ids_array(ids), len(ids)))
        return self

    def add_break(self) -> Document:
        self._check(_capi.cm3_document_add_break(self.ptr))
        return self

    def add_mask(self, number: int = 0) -> Document:
        """Something that is to be filled in."""
        self._check(_capi.cm3_document_add_mask(self.ptr, number))
        return self

    def add_prompt(self, text: str, images: Sequence[ImageLike]) -> Document:
        """A text in which each `<image>` stands for the next of the pictures."""
        held = [Image.of(image) for image in images]
        self._check(_capi.cm3_document_add_prompt(self.ptr, c_text(text), image_array(held), len(held)))
        return self

    def add_retrieved(self, text: Optional[str] = None, image: Optional[ImageLike] = None,
                      codes: Sequence[int] = ()) -> Document:
        """A document that was looked up; before all else of the prompt."""
        picture = None if image is None else Image.of(image)
        self._check(_capi.cm3_document_add_retrieved(
            self.ptr, None if text is None else c_text(text), picture.ptr if picture else None,
            ids_array(codes) if len(codes) else None, len(codes)))
        return self

    def append(self, other: Document) -> Document:
        self._check(_capi.cm3_document_append(self.ptr, other.ptr))
        return self

    def __len__(self) -> int:
        count = ctypes.c_size_t()
        self._check(_capi.cm3_document_count(self.ptr, byref(count)))
        return count.value

    def __getitem__(self, index: int) -> Segment:
        count = len(self)
        if not -count <= index < count:
            raise IndexError("document index out of range")
        part = _capi.cm3_segment(struct_size=ctypes.sizeof(_capi.cm3_segment))
        self._check(_capi.cm3_document_get(self.ptr, index % count, byref(part)))
        image = None
        if part.image:
            self._check(_capi.cm3_image_retain(part.image))
            image = Image._of_pointer(ctypes.cast(part.image, POINTER(_capi.cm3_image)), self._context)
        text = text_at(part, "text", part.text_size).decode("utf-8") if part.text is not None else None
        return Segment(SegmentKind(part.kind), text, image, part.codes[: part.code_count] if part.codes else None,
                       part.mask)

    def __repr__(self) -> str:
        return f"<cm3leon.Document of {'no' if self.closed else len(self)} segments>"


def c_text(text: str) -> bytes:
    """Text for a NUL-terminated argument."""
    if "\0" in text:
        raise ValueError("embedded null character")
    return text.encode("utf-8", "surrogatepass")


def text_at(struct: Any, field: str, size: int) -> bytes:
    """`size` bytes of a string, NULs among them."""
    address = ctypes.c_void_p.from_buffer(struct, getattr(type(struct), field).offset).value
    return ctypes.string_at(address, size) if address else b""


def box_array(boxes: Sequence[Box]) -> Any:
    return (_capi.cm3_box * len(boxes))(*(_capi.cm3_box(*box) for box in boxes))


def prompt_of(prompt: Prompt, document: Document) -> Document:
    """A prompt behind what `document` holds already; a Document alone is taken itself."""
    if isinstance(prompt, Document):
        return document.append(prompt) if len(document) else prompt
    if isinstance(prompt, str):
        return document.add_text(prompt)
    parts = list(prompt)
    if parts and all(hasattr(part, "__index__") for part in parts):
        return document.add_ids(parts)
    for part in parts:
        if isinstance(part, str):
            document.add_text(part)
        else:
            document.add_image(part)
    return document
