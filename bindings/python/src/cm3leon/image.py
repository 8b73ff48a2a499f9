"""Pictures: 8-bit RGB, from and to files, bytes, Pillow and NumPy."""
from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union

from . import _capi
from ._buffer import Pinned
from ._handles import Context, Handle, pixel_context
from ._lib import filled
from .enums import Filter, ImageFormat, choose
from .errors import check

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

    Array = npt.NDArray[np.uint8]

#: What is taken for a picture: an Image, a path, the bytes of a JPEG or PNG, Pillow's, or an array [height, width, 3].
ImageLike = Union["Image", str, "os.PathLike[str]", bytes, Any]


class Image(Handle):
    """A picture. In a notebook it shows itself.

    NumPy sees its pixels without a copy: `numpy.asarray(image)` is [height, width, 3] of uint8.
    """

    def __init__(self, width: int, height: int, *, context: Optional[Context] = None) -> None:
        """A black picture."""
        context = context or pixel_context()
        pointer = POINTER(_capi.cm3_image)()
        context._check(_capi.cm3_image_create(context.ptr, width, height, byref(pointer)))
        self._take(pointer, context._context)

    def _take(self, pointer: Any, context: Any) -> None:
        view = _capi.cm3_image_view()
        self._own(pointer, _capi.cm3_image_destroy, context)
        self._seen = False
        check(_capi.cm3_image_get_view(pointer, byref(view)), context)
        self.width: int = view.width
        self.height: int = view.height
        self._stride: int = view.stride
        self._address: int = ctypes.cast(view.pixels, ctypes.c_void_p).value or 0

    @classmethod
    def _of_pointer(cls, pointer: Any, context: Any) -> Image:
        """Takes over a hold."""
        image = cls.__new__(cls)
        image._take(pointer, context)
        return image

    # --- where they come from -----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Union[str, os.PathLike[str]]) -> Image:
        """Reads a JPEG or PNG."""
        context, pointer = pixel_context(), POINTER(_capi.cm3_image)()
        context._check(_capi.cm3_image_load(context.ptr, os.fsencode(path), byref(pointer)))
        return cls._of_pointer(pointer, context._context)

    @classmethod
    def from_bytes(cls, data: Any) -> Image:
        """Reads a JPEG or PNG from memory: anything with the buffer protocol."""
        context, pointer, pinned = pixel_context(), POINTER(_capi.cm3_image)(), Pinned(data)
        context._check(_capi.cm3_image_load_memory(context.ptr, pinned.address, pinned.size, byref(pointer)))
        return cls._of_pointer(pointer, context._context)

    @classmethod
    def from_pixels(cls, data: Any, width: int, height: int, *, stride: int = 0) -> Image:
        """Copies RGB bytes, row by row; `stride` bytes from row to row, 0: 3 * width."""
        context, pointer, pinned = pixel_context(), POINTER(_capi.cm3_image)(), Pinned(data)
        least = (stride or 3 * width) * (height - 1) + 3 * width
        if width > 0 and height > 0 and pinned.size < least:
            raise ValueError(f"{width} x {height} pixels take {least} bytes, not {pinned.size}")
        pixels = ctypes.cast(pinned.address, POINTER(ctypes.c_uint8))
        context._check(_capi.cm3_image_from_pixels(context.ptr, pixels, width, height, stride, byref(pointer)))
        return cls._of_pointer(pointer, context._context)

    @classmethod
    def from_array(cls, array: Any) -> Image:
        """Copies an array [height, width, 3] of uint8: NumPy's, or anything with the buffer protocol in that shape."""
        source: Any = array
        try:
            view = memoryview(source)
        except TypeError:
            if not hasattr(array, "__array_interface__"):
                raise
            import numpy

            source = numpy.asarray(array)
            view = memoryview(source)
        if view.format not in ("B", "@B", "=B", "<B") or view.ndim != 3 or view.shape is None or view.shape[2] != 3:
            raise ValueError(f"a picture is an array [height, width, 3] of uint8, not {view.shape} of '{view.format}'")
        data = view if view.c_contiguous else view.tobytes()
        return cls.from_pixels(data, view.shape[1], view.shape[0])

    @classmethod
    def of(cls, source: ImageLike) -> Image:
        """A picture of what may be taken for one; an Image is handed back itself."""
        if isinstance(source, Image):
            return source
        if isinstance(source, (str, os.PathLike)):
            return cls.open(source)
        if isinstance(source, (bytes, bytearray)):
            return cls.from_bytes(source)
        if hasattr(source, "convert") and hasattr(source, "tobytes"):  # Pillow's
            picture = source.convert("RGB")
            return cls.from_pixels(picture.tobytes(), picture.width, picture.height)
        return cls.from_array(source)

    # --- what they become ---------------------------------------------------------------------------------------------

    @property
    def size(self) -> Tuple[int, int]:
        """(width, height)"""
        return self.width, self.height

    def save(self, path: Union[str, os.PathLike[str]], *, quality: int = 95, subsampling: int = 444,
             png_level: int = 6) -> None:
        """Writes a .jpg, .jpeg or .png; a regular file is replaced as a whole or not at all."""
        options = self._save_options(quality, subsampling, png_level)
        self._check(_capi.cm3_image_save(self.ptr, os.fsencode(path), byref(options)))

    def encode(self, format: Union[ImageFormat, str] = "png", *, quality: int = 95, subsampling: int = 444,
               png_level: int = 6) -> bytes:
        """The bytes of a PNG or JPEG file."""
        data, size = POINTER(ctypes.c_uint8)(), ctypes.c_size_t()
        options = self._save_options(quality, subsampling, png_level)
        self._check(_capi.cm3_image_encode(self.ptr, choose(ImageFormat, format), byref(options), byref(data),
                                           byref(size)))
        try:
            return ctypes.string_at(data, size.value)
        finally:
            _capi.cm3_buffer_free(self._context, data, size.value)

    @staticmethod
    def _save_options(quality: int, subsampling: int, png_level: int) -> Any:
        options = filled(_capi.cm3_image_save_options, _capi.cm3_image_save_options_init)
        options.jpeg_quality, options.jpeg_subsampling, options.png_level = quality, subsampling, png_level
        return options

    def tobytes(self) -> bytes:
        """RGB bytes, row by row, without gaps."""
        self.ptr
        if self._stride == 3 * self.width:
            return ctypes.string_at(self._address, self._stride * self.height)
        return b"".join(ctypes.string_at(self._address + y * self._stride, 3 * self.width) for y in range(self.height))

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        self.ptr
        self._seen = True
        return {"version": 3, "shape": (self.height, self.width, 3), "typestr": "|u1",
                "data": (self._address, False), "strides": (self._stride, 3, 1)}

    def to_numpy(self, dst: Optional[Array] = None) -> Array:
        """A copy [height, width, 3] of uint8, C-contiguous; into `dst` where one is given, which is returned."""
        import numpy

        pixels = numpy.asarray(self)
        if dst is None:
            return numpy.array(pixels, order="C")
        if dst.shape != pixels.shape or dst.dtype != numpy.uint8:
            raise ValueError(f"dst must be {pixels.shape} of uint8, not {dst.shape} of {dst.dtype}")
        numpy.copyto(dst, pixels)
        return dst

    def to_pil(self) -> PIL.Image.Image:
        """Pillow's picture, a copy. Pillow is the package's extra `pil`."""
        import PIL.Image

        return PIL.Image.frombytes("RGB", self.size, self.tobytes())

    def close(self) -> None:
        """Gives the pixels back; where NumPy looks at them without a copy, when it no longer does."""
        if self._seen:
            self._pointer = None
        else:
            super().close()

    # --- changed copies -----------------------------------------------------------------------------------------------

    def resize(self, width: int, height: int, *, filter: Union[Filter, str] = "lanczos") -> Image:
        """Antialiased, equal to Pillow's."""
        pointer = POINTER(_capi.cm3_image)()
        self._check(_capi.cm3_image_resize(self.ptr, width, height, choose(Filter, filter), byref(pointer)))
        return self._of_pointer(pointer, self._context)

    def crop(self, x: int, y: int, width: int, height: int) -> Image:
        """The rectangle from (x, y); what lies outside is black."""
        pointer = POINTER(_capi.cm3_image)()
        self._check(_capi.cm3_image_crop(self.ptr, x, y, width, height, byref(pointer)))
        return self._of_pointer(pointer, self._context)

    # --- how they show themselves -------------------------------------------------------------------------------------

    def _repr_png_(self) -> Optional[bytes]:
        return None if self.closed else self.encode("png")

    def __repr__(self) -> str:
        return f"<cm3leon.Image {self.width} x {self.height}{' closed' if self.closed else ''}>"


def contact_sheet(images: Sequence[ImageLike], *, columns: int = 0, gap: int = 2) -> Image:
    """Pictures in a grid of `columns` (0: as square as possible) with a gap of so many white pixels."""
    held: List[Image] = [Image.of(image) for image in images]
    context, pointer = pixel_context(), POINTER(_capi.cm3_image)()
    context._check(_capi.cm3_image_contact_sheet(context.ptr, image_array(held), len(held), columns, gap,
                                                 byref(pointer)))
    return Image._of_pointer(pointer, context._context)


def image_array(images: Sequence[Image]) -> Any:
    """Pointers for functions that take several."""
    return (POINTER(_capi.cm3_image) * max(1, len(images)))(*(image.ptr for image in images))
