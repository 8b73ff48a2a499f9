"""Tasks: what a model can be asked for, by templates of documents."""
from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union, cast

from . import _capi
from ._handles import Context, Handle
from .document import Box, Document, box_array, c_text, ids_array
from .enums import Modality
from .errors import NotFoundError, UnsupportedError
from .generation import OnEvent, OnProgress, Result, wait
from .image import Image, ImageLike
from .options import Options, options_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import Model
    from .options import OptionArgs
    from .retriever import Hit, Retriever

MASK = "[mask]"
MOST_SAID = 6  # texts that a model says before it draws


@dataclass(frozen=True)
class Hidden:
    """A picture of which boxes are to be filled in, as a task's value."""

    image: ImageLike
    boxes: Sequence[Box]


#: A value of a task: a text (a str always is one), a picture, a picture with boxes, or a picture's codes.
Value = Union[str, ImageLike, Hidden, Sequence[int]]


@dataclass(frozen=True)
class Form:
    """What a task's document asks for."""

    draws: bool
    infill: bool
    box: bool
    image_name: Optional[str]
    text_name: Optional[str]


class Tasks(Handle):
    """Templates by name: the library's own, or those of a JSON file (task.h says how it reads)."""

    def __init__(self, path: Union[None, str, os.PathLike[str]] = None, *, context: Context) -> None:
        pointer = POINTER(_capi.cm3_tasks)()
        context._check(_capi.cm3_tasks_load(context.ptr, None if path is None else os.fsencode(path), byref(pointer)))
        self._own(pointer, _capi.cm3_tasks_destroy, context._context)

    @property
    def names(self) -> List[str]:
        names: List[str] = []
        name = ctypes.c_char_p()
        while _capi.cm3_tasks_name(self.ptr, len(names), byref(name)) == _capi.CM3_OK:
            names.append((name.value or b"").decode())
        return names

    def document(self, task: str, values: Mapping[str, Value]) -> Tuple[Document, Form]:
        """The prompt of a task, and what it asks for."""
        array, count, _held = _values(values)
        pointer = POINTER(_capi.cm3_document)()
        form = _capi.cm3_task_form(struct_size=ctypes.sizeof(_capi.cm3_task_form))
        self._check(_capi.cm3_task_document(self.ptr, c_text(task), array, count, byref(pointer), byref(form)))
        names = [None if name is None else name.decode() for name in (form.image_name, form.text_name)]
        return Document._of_pointer(pointer, self._context), Form(
            form.answer == _capi.CM3_SEGMENT_IMAGE, bool(form.infill), bool(form.box), names[0], names[1])

    def picture_prompt(self, task: str, values: Mapping[str, Value]) -> Document:
        """The prompt as guidance's third stream knows it: pictures alone."""
        array, count, _held = _values(values)
        pointer = POINTER(_capi.cm3_document)()
        self._check(_capi.cm3_task_picture_prompt(self.ptr, c_text(task), array, count, byref(pointer)))
        return Document._of_pointer(pointer, self._context)

    def draws_at_last(self, task: str, values: Mapping[str, Value]) -> bool:
        """Whether the task's last answer is a picture, at its document's end; texts may have to be said first."""
        try:
            self.picture_prompt(task, values).close()
        except NotFoundError:
            return True  # some of those texts
        except UnsupportedError:
            return False
        return True


def _values(values: Mapping[str, Value]) -> Tuple[Any, int, List[Any]]:
    """The C array, its length, and what it points to."""
    array = (_capi.cm3_task_value * max(1, len(values)))()
    held: List[Any] = []
    for c, (name, value) in zip(array, values.items()):
        c.name = c_text(name)
        if isinstance(value, str):
            c.text = c_text(value)
            continue
        if isinstance(value, (list, tuple)):
            codes = ids_array(value)
            c.codes, c.code_count = codes, len(value)
            held.append(codes)
            continue
        if isinstance(value, Hidden):
            boxes = box_array(value.boxes)
            c.boxes, c.box_count = boxes, len(value.boxes)
            held.append(boxes)
            value = value.image
        image = Image.of(value)
        c.image = image.ptr
        held.append(image)
    return array, len(values), held


class TaskMethods:
    """What a Model can be asked for beside pictures of a sentence. Options and callbacks are those of generate(); where
    they say nothing, one text is the likeliest, and several texts or a picture have temperature 0.3."""

    def task(self, task: str, values: Mapping[str, Value], *, tasks: Optional[Tasks] = None,
             retriever: Optional[Retriever] = None, retrieve: int = 2, options: Optional[Options] = None,
             on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
             progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Any task by its name and values. Of a template with several answers the model is asked for one after the
        other: the texts that it says before it draws are the result's `said`."""
        chosen = tasks or _own_tasks(self)
        at_last = chosen.draws_at_last(task, values)
        draws = at_last or chosen.document(task, values)[1].draws
        return self._ask(task, values, options, given, (on_progress, on_event, progress), tasks=chosen,
                         retriever=retriever, retrieve=retrieve, draws=draws,
                         three=at_last and _picture_of(values) is not None)

    def caption(self, image: ImageLike, *, retriever: Optional[Retriever] = None, retrieve: int = 2,
                options: Optional[Options] = None, on_progress: Optional[OnProgress] = None,
                on_event: Optional[OnEvent] = None, progress: Optional[bool] = None,
                **given: Unpack[OptionArgs]) -> Result:
        """Says what a picture shows: the result's `text`. With a retriever, pictures like it are looked up first."""
        return self._ask("caption", {"image": Image.of(image)}, options, given, (on_progress, on_event, progress),
                         retriever=retriever, retrieve=retrieve, draws=False)

    def ask(self, image: ImageLike, question: str, *, options: Optional[Options] = None,
            on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
            progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Answers a question about a picture."""
        return self._ask("ask", {"image": Image.of(image), "question": question}, options, given,
                         (on_progress, on_event, progress), draws=False)

    def infill_text(self, image: ImageLike, text: str, *, options: Optional[Options] = None,
                    on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
                    progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Finds the words that are missing in a picture's caption, where `[mask]` stands."""
        if text.count(MASK) != 1:
            raise ValueError(f"{text!r} must hold {MASK} just once")
        before, after = text.split(MASK)
        # The space before the mask belongs to the span, as words have theirs in front.
        return self._ask("infill-text", {"image": Image.of(image), "before": before.rstrip(" "), "after": after},
                         options, given, (on_progress, on_event, progress), draws=False)

    def edit(self, image: ImageLike, instruction: str, *, options: Optional[Options] = None,
             on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
             progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Changes a picture as it is told. The result's `said` has what the model says will be seen."""
        return self._ask("edit", {"source": Image.of(image), "instruction": instruction}, options,
                         {"image_guidance_scale": 1.5, **given}, (on_progress, on_event, progress))

    def segment(self, image: ImageLike, *, options: Optional[Options] = None,
                on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
                progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Draws each object of a picture in the colour of its class."""
        return self._ask("segment", {"image": Image.of(image)}, options, given, (on_progress, on_event, progress),
                         three=False)

    def layout(self, segmentation: ImageLike, caption: str, *, options: Optional[Options] = None,
               on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
               progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Draws a caption's picture with everything where a segmentation has it."""
        return self._ask("layout", {"segmentation": Image.of(segmentation), "caption": caption}, options, given,
                         (on_progress, on_event, progress))

    def outline(self, outline: ImageLike, caption: str, *, options: Optional[Options] = None,
                on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
                progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Draws a caption's picture along an outline: thin lines without colour."""
        return self._ask("outline", {"outline": Image.of(outline), "caption": caption}, options, given,
                         (on_progress, on_event, progress))

    def boxes(self, caption: str, boxes: Mapping[str, Box], *, options: Optional[Options] = None,
              on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
              progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Draws a caption's picture with things in their boxes: {part of the caption: (x, y, width, height)}, in
        fractions of the picture's sides. Written behind each as the demo's model knows it: in hundredths, left, top,
        right and bottom."""
        text = caption
        for thing, (x, y, width, height) in boxes.items():
            if text.count(thing) != 1:
                raise ValueError(f"{thing!r} must stand in {caption!r} just once")
            edges = [min(99, max(0, round(100 * edge))) for edge in (x, y, x + width, y + height)]
            text = text.replace(thing, f"{thing} in box {' '.join(f'{edge:02d}' for edge in edges)}")
        return self._ask("boxes", {"caption": text}, options, given, (on_progress, on_event, progress), three=False)

    def infill(self, image: ImageLike, boxes: Sequence[Box], caption: str = "", *, options: Optional[Options] = None,
               on_progress: Optional[OnProgress] = None, on_event: Optional[OnEvent] = None,
               progress: Optional[bool] = None, **given: Unpack[OptionArgs]) -> Result:
        """Draws anew what boxes of a picture hide, (x, y, width, height) in fractions of its sides; all else stays as
        it is. caption: what the whole shows; without one the picture alone tells."""
        values: Dict[str, Value] = {"image": Hidden(image, boxes), "caption": caption}
        calls = (on_progress, on_event, progress)
        if caption:
            return self._ask("infill-image", values, options, {"image_guidance_scale": 1.5, **given}, calls)
        document = _own_tasks(self).picture_prompt("infill-image", values)
        return self._wait(document, None, True, options, {"guidance_scale": 1.0, **given}, calls, [], {})

    # --- how --------------------------------------------------------------------------------------------------------

    def _ask(self, task: str, values: Mapping[str, Value], options: Optional[Options], given: Any, calls: Any, *,
             tasks: Optional[Tasks] = None, retriever: Optional[Retriever] = None, retrieve: int = 2,
             draws: bool = True, three: bool = True) -> Result:
        """`three`: guidance has a third stream, of the pictures alone."""
        chosen, said = tasks or _own_tasks(self), cast(Dict[str, str], {})
        values = {name: _held(value) for name, value in values.items()}
        document, form = chosen.document(task, values)
        while draws and not form.draws:
            if form.text_name is None or len(said) == MOST_SAID:
                raise UnsupportedError(f"the task '{task}' wants a text before its picture that is not one value alone")
            said[form.text_name] = self._say(document, given.get("seed") or (options.seed if options else None))
            document, form = chosen.document(task, {**values, **said})
        pictures = None
        if three and draws:
            pictures = chosen.picture_prompt(task, {**values, **said})
        retrieved = []
        if retriever is not None:
            picture = _picture_of(values)
            if picture is None:
                raise ValueError("neighbours are looked up by the task's picture, and there is none")
            whole = Document._in(cast("Model", self)._context)
            retrieved = retriever._retrieve(whole, image=picture, k=retrieve)
            document = whole.append(document)
        return self._wait(document, pictures, draws, options, given, calls, retrieved, said)

    def _say(self, document: Document, seed: Optional[int]) -> str:
        """The likeliest text: at most a quarter of the context, for the picture that follows wants room."""
        model = cast("Model", self)
        options = Options(modality=Modality.TEXT, temperature=0, seed=seed or 1,
                          max_tokens=model.info.context_length // 4)
        return wait(model._run(document, options), None, None, False).text

    def _wait(self, document: Document, pictures: Optional[Document], draws: bool, options: Optional[Options],
              given: Any, calls: Any, retrieved: List[Hit], said: Dict[str, str]) -> Result:
        modality = Modality.IMAGE if draws else Modality.TEXT
        one = not draws and given.get("n", options.n if options else 1) == 1
        chosen = options_of(options, {**given, "modality": modality}, temperature=0 if one else 0.3)
        on_progress, on_event, progress = calls
        run = cast("Model", self)._run(document, chosen, pictures)
        return wait(run, on_progress, on_event, progress, retrieved, said)


def _own_tasks(model: Any) -> Tasks:
    """The library's templates, read once for a model."""
    tasks: Optional[Tasks] = getattr(model, "_tasks", None)
    if tasks is None:
        tasks = model._tasks = Tasks(context=model.context)
    return tasks


def _held(value: Value) -> Value:
    """A picture that is read once, so that all prompts that it stands in have the same."""
    if isinstance(value, Hidden):
        return Hidden(Image.of(value.image), value.boxes)
    return value if isinstance(value, (str, list, tuple)) else Image.of(value)


def _picture_of(values: Mapping[str, Value]) -> Optional[Image]:
    """The first picture that a task is given."""
    for value in values.values():
        if isinstance(value, Hidden):
            value = value.image
        if not isinstance(value, (str, list, tuple)):
            return Image.of(value)
    return None
