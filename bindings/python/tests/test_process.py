"""The process around: Ctrl-C, forks, the end of the interpreter."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import cm3leon

from conftest import SENTENCE

INTERRUPTED = """
import sys, time
import cm3leon
model = cm3leon.demo_model(threads=1)
print("ready", flush=True)
try:
    %s
except KeyboardInterrupt:
    print("interrupted", flush=True)
    result = model.generate("a red circle", seed=1)  # the model goes on
    print("went on with", len(result.images), flush=True)
"""


@pytest.mark.parametrize("work", [
    "model.generate('a red circle', n=64)",
    "list(model.stream('a red circle', n=64))",
    "model.generate('a red circle', n=64, on_event=lambda event: None)",
    "import asyncio; asyncio.run(model.agenerate('a red circle', n=64))",
])
def test_keyboard_interrupt(work: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED % work], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, universal_newlines=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "interrupted\nwent on with 1\n"
    assert err == ""
    assert process.returncode == 0


def test_interrupt_is_never_lost(model: cm3leon.Model) -> None:
    """Whenever it comes, between callbacks or within one."""
    import threading

    for attempt in range(20):
        timer = threading.Timer(0.02 + attempt * 0.0037, lambda: signal.pthread_kill(
            threading.main_thread().ident or 0, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            for _ in range(1000):
                model.generate(SENTENCE)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_is_refused(model: cm3leon.Model, drawn: cm3leon.Result) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for use in (lambda: model.generate(SENTENCE), lambda: model.tokenizer.encode("a"),
                        lambda: drawn.image.tobytes()):
                try:
                    use()
                except cm3leon.ForkedError as error:
                    assert "forked" in str(error)
                else:
                    os._exit(2)
            model.close()
            with cm3leon.demo_model(threads=1) as own:  # what is made here works
                code = 0 if own.generate(SENTENCE, seed=7).images else 3
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert model.generate(SENTENCE, seed=7).tokens == drawn.tokens


@pytest.mark.parametrize("end", [
    "", "sys.exit(0)", "del model", "import gc; gc.collect()", "threading.Thread(target=lambda: list(stream)).start()",
])
def test_end_of_the_interpreter(python: Any, end: str) -> None:
    """With everything alive and a generation on its way nothing is printed and nothing hangs."""
    done = python(f"""
import sys, threading
import cm3leon
model = cm3leon.demo_model(threads=1)
stream = model.stream("a red circle")
left = model.stream("a red circle", n=8)
events = iter(left)
next(events)
result = model.generate("a red circle", seed=1)
{end}
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_needs_neither_numpy_nor_pillow(python: Any) -> None:
    done = python("""
import sys
for name in ("numpy", "PIL", "IPython", "typing_extensions"):
    sys.modules[name] = None
import cm3leon
result = cm3leon.demo_model(threads=1).generate("a red circle", seed=1)
print(len(result.image.encode("jpeg")) > 100)
""")
    assert (done.stdout, done.stderr) == ("True\n", "")
