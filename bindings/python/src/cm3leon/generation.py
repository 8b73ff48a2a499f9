"""Generation: events, results, and the run that both come from."""
from __future__ import annotations

import asyncio
import ctypes
import itertools
from ctypes import POINTER, byref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Tuple, overload

from . import _capi, notebook
from ._handles import Handle
from ._interrupts import interrupts_deferred
from ._lib import callback
from .document import Document, text_at
from .enums import EndReason, EventKind, Modality, Status
from .errors import Cancelled, error_of
from .image import Image

if TYPE_CHECKING:
    from .options import Options
    from .retriever import Hit

WAIT_US = 20_000  # of a poll; so long Ctrl-C may take
SLICE_US = 4_000  # of computing inside a poll, where the context has no threads and others wait
REST = 0.004  # seconds between two looks of an event loop


@dataclass(frozen=True)
class Event:
    """Something that happened on the way; what belongs to its kind is set, all else None."""

    kind: EventKind
    candidate: int = 0
    token: Optional[int] = None  #: TOKEN: its id
    modality: Optional[Modality] = None  #: TOKEN
    index: Optional[int] = None  #: TOKEN: 0.. from the first new one; IMAGE, IMAGE_ROWS: number of the picture
    text: Optional[str] = None  #: TEXT: whole code points
    image: Optional[Image] = None  #: IMAGE: finished
    preview: Optional[Image] = None  #: IMAGE_ROWS: what there is; rows of pixels from `row` on, `rows` of them, are new
    row: Optional[int] = None
    rows: Optional[int] = None
    done: Optional[int] = None  #: PROGRESS: tokens, all candidates together
    total: Optional[int] = None
    seconds: Optional[float] = None
    reason: Optional[EndReason] = None  #: END
    log_probability: Optional[float] = None  #: END, with the option `scores`

    @property
    def progress(self) -> Optional[float]:
        """PROGRESS: 0..1"""
        return None if self.done is None or not self.total else self.done / self.total


@dataclass(frozen=True)
class Timings:
    """Seconds, and tokens of all candidates together."""

    queued: float
    prefill: float
    decode: float
    image_decode: float
    total: float
    tokenize: float
    sampling: float
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class Candidate:
    """One answer."""

    texts: List[str]
    images: List[Image]
    tokens: List[int]  #: ids in the order in which they were drawn
    codes: List[List[int]]  #: of the pictures
    reason: Optional[EndReason] = None
    log_probability: Optional[float] = None  #: with the option `scores`
    score: Optional[float] = None  #: by which `best` and `beams` have ordered them

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def image(self) -> Image:
        """The first picture."""
        if not self.images:
            raise LookupError("no picture was made")
        return self.images[0]


@dataclass(frozen=True)
class Result:
    """What was made: a sequence of candidates, whose first one's parts are at hand as `image`, `text` and `tokens`."""

    candidates: List[Candidate]
    seed: int  #: draws the same again
    timings: Timings
    retrieved: List[Hit] = field(default_factory=list)  #: what was looked up for the prompt
    said: Dict[str, str] = field(default_factory=dict)  #: what the model said it would draw (edits, segmentations)

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> List[Candidate]: ...

    def __getitem__(self, index: Any) -> Any:
        return self.candidates[index]

    @property
    def image(self) -> Image:
        return self.candidates[0].image

    @property
    def images(self) -> List[Image]:
        """The pictures of all candidates."""
        return [image for candidate in self.candidates for image in candidate.images]

    @property
    def text(self) -> str:
        return self.candidates[0].text

    @property
    def texts(self) -> List[str]:
        """The text of each candidate."""
        return [candidate.text for candidate in self.candidates]

    @property
    def tokens(self) -> List[int]:
        return self.candidates[0].tokens

    def _repr_html_(self) -> str:
        return notebook.result_html(self)


#: Told the tokens done and in all; False stops, and what was made so far comes with the exception Cancelled.
OnProgress = Callable[[int, int], Optional[bool]]
#: Told each event; False stops likewise.
OnEvent = Callable[[Event], Optional[bool]]

_runs: Dict[int, Run] = {}
_numbers = itertools.count(1)


# One for all runs, told apart by a number: no closure that could be collected while the library knows it.
@callback(_capi.cm3_event_fn)
def _deliver(user: int, event: Any) -> int:
    run = _runs[user]
    try:
        run._take(event.contents)
        return 0
    except BaseException as error:  # raised again when the library has returned
        run._error = error
        return 1


class Run(Handle):
    """A generation on its way. Used by one thread; cancel() from any."""

    def __init__(self, model: Any, context: Any, prompt: Document, options: Options, keep: Tuple[Any, ...],
                 threads: int, pictures: Optional[Document] = None) -> None:
        self.options = options
        self.done = False
        self.status = Status.OK
        self._self_made = threads == 0  # polls compute
        self._error: Optional[BaseException] = None
        self._events: List[Event] = []
        self._tokens: Dict[int, List[int]] = {}
        self._ends: Dict[int, Event] = {}
        self._number = next(_numbers)
        self._context = context
        filled, held = options.fill(model)
        if pictures is not None:
            filled.picture_prompt = pictures.ptr
        pointer = POINTER(_capi.cm3_request)()
        self._check(_capi.cm3_request_start(model, prompt.ptr, byref(filled), byref(pointer)))
        self._own(pointer, _capi.cm3_request_destroy, context, (keep, held, prompt))

    def _take(self, c: Any) -> None:
        """What an event tells, before it is gone."""
        kind = c.kind
        if kind == _capi.CM3_EVENT_TOKEN:
            self._tokens.setdefault(c.candidate, []).append(c.token)
            event = Event(EventKind.TOKEN, c.candidate, token=c.token, modality=Modality(c.modality), index=c.index)
        elif kind == _capi.CM3_EVENT_PROGRESS:
            event = Event(EventKind.PROGRESS, done=c.done, total=c.total, seconds=c.seconds)
        elif kind == _capi.CM3_EVENT_TEXT:
            event = Event(EventKind.TEXT, c.candidate, text=text_at(c, "text", c.text_size).decode("utf-8"))
        elif kind == _capi.CM3_EVENT_END:
            event = Event(EventKind.END, c.candidate, reason=EndReason(c.reason),
                          log_probability=c.log_probability if self.options.scores else None)
            self._ends[c.candidate] = event
        else:
            image = None
            if c.image:
                self._check(_capi.cm3_image_retain(c.image))
                image = Image._of_pointer(ctypes.cast(c.image, POINTER(_capi.cm3_image)), self._context)
            if kind == _capi.CM3_EVENT_IMAGE:
                event = Event(EventKind.IMAGE, c.candidate, index=c.index, image=image)
            else:
                event = Event(EventKind.IMAGE_ROWS, c.candidate, index=c.index, preview=image, row=c.row, rows=c.rows)
        self._events.append(event)

    def poll(self, wait_us: int) -> List[Event]:
        """The events that are there, waiting for some at most so long. Where the run failed the last poll raises."""
        done = ctypes.c_int()
        _runs[self._number] = self
        try:
            with interrupts_deferred():
                status = _capi.cm3_request_poll(self.ptr, wait_us, _deliver, self._number, byref(done))
        finally:
            del _runs[self._number]
        self.done = bool(done.value)
        events, self._events = self._events, []
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self.done and status != _capi.CM3_OK:
            self.status = Status(status)
            if self.options.sampler is not None:
                self.options.sampler._raise_stored()
            if status != _capi.CM3_ERROR_CANCELLED:
                raise error_of(status, _capi.cm3_request_message(self.ptr))
        return events

    def slice(self) -> List[Event]:
        """A poll for those who must not wait."""
        return self.poll(SLICE_US if self._self_made else 0)

    def cancel(self) -> None:
        """Asks it to stop; any thread."""
        if not self.done:
            _capi.cm3_request_cancel(self.ptr)

    def cancelled(self, result: Result) -> Cancelled:
        return Cancelled((_capi.cm3_request_message(self.ptr) or b"").decode() or "the request was cancelled", result)

    def result(self, retrieved: Optional[List[Hit]] = None, said: Optional[Dict[str, str]] = None) -> Result:
        """What was made, when it is done."""
        pointer, seed = POINTER(_capi.cm3_document)(), ctypes.c_uint64()
        times = _capi.cm3_timings(struct_size=ctypes.sizeof(_capi.cm3_timings))
        self._check(_capi.cm3_request_result(self.ptr, byref(pointer)))
        self._check(_capi.cm3_request_seed(self.ptr, byref(seed)))
        self._check(_capi.cm3_request_timings(self.ptr, byref(times)))
        timings = Timings(*(getattr(times, name) for name in Timings.__dataclass_fields__))
        with Document._of_pointer(pointer, self._context) as document:
            candidates = [self._candidate(place, document, parts) for place, parts in enumerate(_parts(document))]
        return Result(candidates, seed.value, timings, retrieved or [], said or {})

    def _candidate(self, place: int, document: Document, parts: List[int]) -> Candidate:
        number, score = place, None
        if (self.options.best or self.options.beams) and self.status == Status.OK:
            c_number, c_score = ctypes.c_int32(), ctypes.c_double()
            self._check(_capi.cm3_request_score(self.ptr, place, byref(c_number), byref(c_score)))
            number, score = c_number.value, c_score.value
        segments = [document[index] for index in parts]
        end = self._ends.get(number)
        return Candidate([part.text for part in segments if part.text is not None],
                         [part.image for part in segments if part.image is not None],
                         self._tokens.get(number, []),
                         [part.ids for part in segments if part.ids is not None],
                         end.reason if end else None, end.log_probability if end else None, score)


def _parts(document: Document) -> List[List[int]]:
    """Numbers of each candidate's segments, which are parted by breaks."""
    parts: List[List[int]] = [[]]
    kind = _capi.cm3_segment(struct_size=ctypes.sizeof(_capi.cm3_segment))
    for index in range(len(document)):
        document._check(_capi.cm3_document_get(document.ptr, index, byref(kind)))
        if kind.kind == _capi.CM3_SEGMENT_BREAK:
            parts.append([])
        else:
            parts[-1].append(index)
    return parts


class Watch:
    """Tells events to callbacks and the progress bar. `stopped`: one of them said False."""

    def __init__(self, run: Run, on_progress: Optional[OnProgress], on_event: Optional[OnEvent],
                 bar: notebook.Bar) -> None:
        self.run, self.on_progress, self.on_event, self.bar = run, on_progress, on_event, bar

    def tell(self, events: List[Event]) -> None:
        for event in events:
            stop = self.on_event is not None and self.on_event(event) is False
            if event.done is not None and event.total is not None:
                self.bar.show(event.done, event.total)
                stop |= self.on_progress is not None and self.on_progress(event.done, event.total) is False
            if stop:
                self.run.cancel()


def wait(run: Run, on_progress: Optional[OnProgress], on_event: Optional[OnEvent], progress: Optional[bool],
         retrieved: Optional[List[Hit]] = None, said: Optional[Dict[str, str]] = None) -> Result:
    """Until a run has ended. What a callback or Ctrl-C raises ends it, too."""
    with run, notebook.Bar(progress) as bar:
        watch = Watch(run, on_progress, on_event, bar)
        while not run.done:
            watch.tell(run.poll(WAIT_US))
        result = run.result(retrieved, said)
        if run.status == Status.CANCELLED:
            raise run.cancelled(result)
        return result


async def wait_async(run: Run, on_progress: Optional[OnProgress], on_event: Optional[OnEvent],
                     progress: Optional[bool], retrieved: Optional[List[Hit]] = None) -> Result:
    """The same, with the event loop running on."""
    with run, notebook.Bar(progress) as bar:
        watch = Watch(run, on_progress, on_event, bar)
        while not run.done:
            events = run.slice()
            watch.tell(events)
            await asyncio.sleep(0 if events or run._self_made else REST)
        result = run.result(retrieved)
        if run.status == Status.CANCELLED:
            raise run.cancelled(result)
        return result


class Stream:
    """A generation as its events, for `for` and `async for`. It starts when it is iterated; leaving the loop, however,
    cancels it. (A loop of `async for` that is left early is ended by the event loop at its next turn; `async with` ends
    it at once.)

    `result` is what was made, after the loop: all of it, or what there was when the loop was left.
    """

    def __init__(self, start: Callable[[], Tuple[Run, List[Hit]]]) -> None:
        self._start = start
        self._run: Optional[Run] = None
        self._retrieved: List[Hit] = []
        self._result: Optional[Result] = None

    def __iter__(self) -> Iterator[Event]:
        run = self._begin()
        try:
            while not run.done:
                yield from run.poll(WAIT_US)
        finally:
            self._end(run)

    def cancel(self) -> None:
        """Asks it to stop; the loop then ends by itself. Any thread."""
        if self._run is not None and not self._run.closed:
            self._run.cancel()

    @property
    def result(self) -> Result:
        if self._result is None:
            raise LookupError("there is no result before the loop has ended, nor where it failed")
        return self._result

    def _begin(self) -> Run:
        if self._run is not None:
            raise RuntimeError("a stream can be iterated once")
        self._run, self._retrieved = self._start()
        return self._run

    def _end(self, run: Run) -> None:
        if run.closed:
            return
        with run:
            run.cancel()
            while not run.done:
                run.poll(WAIT_US)
            if run.status in (Status.OK, Status.CANCELLED):
                self._result = run.result(self._retrieved)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        run = await asyncio.get_running_loop().run_in_executor(None, self._begin)
        try:
            while not run.done:
                events = run.slice()
                for event in events:
                    yield event
                await asyncio.sleep(0 if events or run._self_made else REST)
        finally:
            self._end(run)

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels it where it still runs."""
        if self._run is not None:
            self._end(self._run)
