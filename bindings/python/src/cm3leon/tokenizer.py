"""Tokenizers: texts and pictures to ids and back."""
from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Union

from . import _capi
from ._handles import Context, Handle, pixel_context
from .document import ids_array
from .enums import EncodeFlags, Preprocessing, TokenRole, choose
from .errors import NotFoundError
from .image import Image, ImageLike


@dataclass(frozen=True)
class TokenizerInfo:
    """How large vocabulary, codebook and pictures are."""

    vocab_size: int  #: ids are 0..vocab_size-1
    sentinels: int
    image_codes: int  #: codebook size; 0: no pictures
    image_resolution: int  #: side of the pictures it reads and draws, pixels
    image_tokens: int  #: codes of one picture, row by row


class Tokenizer(Handle):
    """Text and image tokenizer in one vocabulary: a model's (model.tokenizer), or of texts alone from a
    tokenizer.json. Immutable; any thread may use it."""

    info: TokenizerInfo

    @classmethod
    def load(cls, path: Union[str, os.PathLike[str]], *, context: Optional[Context] = None) -> Tokenizer:
        """Reads a Hugging Face tokenizer.json."""
        context = context or pixel_context()
        pointer = POINTER(_capi.cm3_tokenizer)()
        context._check(_capi.cm3_tokenizer_load(context.ptr, os.fsencode(path), byref(pointer)))
        return cls._of_pointer(pointer, context._context)

    @classmethod
    def _of_pointer(cls, pointer: Any, context: Any, keep: Tuple[Any, ...] = ()) -> Tokenizer:
        tokenizer = cls.__new__(cls)
        tokenizer._own(pointer, _capi.cm3_tokenizer_destroy, context, keep)
        info = _capi.cm3_tokenizer_info(struct_size=ctypes.sizeof(_capi.cm3_tokenizer_info))
        tokenizer._check(_capi.cm3_tokenizer_get_info(pointer, byref(info)))
        tokenizer.info = TokenizerInfo(info.vocab_size, info.sentinels, info.image_codes, info.image_resolution,
                                       info.image_tokens)
        return tokenizer

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the text tokenizer as tokenizer.json."""
        self._check(_capi.cm3_tokenizer_save(self.ptr, os.fsencode(path)))

    def encode(self, text: str, *, flags: EncodeFlags = EncodeFlags.PLAIN) -> List[int]:
        """Text to ids."""
        data, count = text.encode("utf-8", "surrogatepass"), ctypes.c_size_t()
        capacity = len(data) + 16  # seldom more tokens than bytes
        while True:
            ids = (ctypes.c_int32 * capacity)()
            self._check(_capi.cm3_tokenizer_encode(self.ptr, data, len(data), int(flags), ids, capacity, byref(count)))
            if count.value <= capacity:
                return ids[: count.value]
            capacity = count.value

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Ids to text; bytes that form no code point become U+FFFD."""
        size, capacity = ctypes.c_size_t(), 16 * len(ids) + 64
        array = ids_array(ids)
        while True:
            text = ctypes.create_string_buffer(capacity)
            self._check(_capi.cm3_tokenizer_decode(self.ptr, array, len(ids), int(skip_special), text, capacity,
                                                   byref(size)))
            if size.value <= capacity:
                return text.raw[: size.value].decode("utf-8")
            capacity = size.value

    def special(self, role: Union[TokenRole, str], index: int = 0) -> Optional[int]:
        """The id of a special token; `index` counts sentinels and image codes. None where there is none."""
        token = ctypes.c_int32()
        try:
            self._check(_capi.cm3_tokenizer_special(self.ptr, choose(TokenRole, role), index, byref(token)))
        except NotFoundError:
            return None
        return token.value

    def encode_image(self, image: ImageLike, *, preprocessing: Union[Preprocessing, str] = "auto") -> List[int]:
        """A picture to its codes, 0..image_codes-1, row by row; it is resized and cropped where its size differs."""
        picture, count = Image.of(image), ctypes.c_size_t()
        capacity = max(1, self.info.image_tokens)
        codes = (ctypes.c_int32 * capacity)()
        self._check(_capi.cm3_tokenizer_encode_image_as(
            self.ptr, picture.ptr, choose(Preprocessing, preprocessing), codes, capacity, byref(count)))
        return codes[: count.value]

    def decode_image(self, codes: Sequence[int]) -> Image:
        """Codes to a picture."""
        pointer = POINTER(_capi.cm3_image)()
        self._check(_capi.cm3_tokenizer_decode_image(self.ptr, ids_array(codes), len(codes), byref(pointer)))
        return Image._of_pointer(pointer, self._context)

    def __repr__(self) -> str:
        return f"<cm3leon.Tokenizer of {self.info.vocab_size} tokens, {self.info.image_codes} image codes>"
