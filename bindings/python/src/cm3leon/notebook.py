"""What notebooks show: progress, and results with their pictures. Elsewhere: a line of text, where it is asked for."""
from __future__ import annotations

import base64
import html
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Type

if TYPE_CHECKING:
    from .generation import Candidate, Result

WIDTH = 30
PERIOD = 0.1  # seconds between two showings


def in_notebook() -> bool:
    """Whether a kernel runs this, whose front end shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _display() -> Any:
    """IPython's module, which is partly typed and may not be there."""
    import IPython.display  # type: ignore[import-not-found,unused-ignore]

    return IPython.display


class Bar:
    """A progress bar: HTML in a notebook, a line on standard error elsewhere. `wanted` None: in a notebook alone."""

    def __init__(self, wanted: Optional[bool] = None) -> None:
        self._html = in_notebook()
        self._wanted = self._html if wanted is None else wanted
        self._display: Any = None
        self._last = 0.0
        self._shown = False

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._wanted or (done < total and now - self._last < PERIOD):
            return
        self._last = now
        self._shown = True
        if self._html:
            self._show_html(done, total)
        else:
            filled = WIDTH * done // max(1, total)
            sys.stderr.write(f"\r[{'#' * filled}{' ' * (WIDTH - filled)}] {done} of {total} tokens")
            sys.stderr.flush()

    def _show_html(self, done: int, total: int) -> None:
        bar = _display().HTML(f'<progress value="{done}" max="{total}"></progress> {done} of {total} tokens')
        if self._display is None:
            self._display = _display().display(bar, display_id=True)
        elif self._display is not None:
            self._display.update(bar)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        """What is done needs no bar any more."""
        if not self._shown:
            return
        if not self._html:
            sys.stderr.write("\n" if kind else "\r\033[K")
        elif self._display is not None and kind is None:
            self._display.update(_display().HTML(""))


def _candidate_html(candidate: Candidate) -> str:
    parts = []
    for image in candidate.images:
        if not image.closed:
            data = base64.b64encode(image.encode("png")).decode("ascii")
            parts.append(f'<img src="data:image/png;base64,{data}" width="{image.width}" height="{image.height}" '
                         'style="display:inline;margin:2px">')
    if candidate.text:
        parts.append(f"<p>{html.escape(candidate.text)}</p>")
    return "".join(parts)


def result_html(result: Result) -> str:
    """All that was made, with the seed that makes it again."""
    shown = "".join(_candidate_html(candidate) for candidate in result)
    return f"<div>{shown}<small>seed {result.seed}, {result.timings.total:.2f} s</small></div>"
