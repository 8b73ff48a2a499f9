#!/usr/bin/env python3
"""How fast the installed package draws with the demo model: seconds, each the best of a few.

    bench.py [THREADS]
"""
from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable

import cm3leon

SENTENCE = "a large red circle at the top left and a small blue star in the center"


def best(times: int, work: Callable[[], object]) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else None
    began = time.perf_counter()
    model = cm3leon.demo_model(threads=threads)
    loaded = time.perf_counter() - began
    began = time.perf_counter()
    picture = model.generate(SENTENCE, seed=1).image
    first = time.perf_counter() - began
    folder = Path(cm3leon.__file__).parent
    print(f"threads {model.context.threads}, {model.context.kernels}; package "
          f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB")
    print(f"load {loaded:.3f}, first picture {first:.3f}, "
          f"picture {best(7, lambda: model.generate(SENTENCE, seed=1)):.3f}, "
          f"8 at once {best(3, lambda: model.generate(SENTENCE, seed=1, n=8)):.3f}, "
          f"caption {best(7, lambda: model.caption(picture)):.3f}, "
          f"encode {best(7, lambda: model.encode_image(picture)):.4f}, "
          f"decode {best(7, lambda: model.decode_image(model.encode_image(picture))):.4f}")


if __name__ == "__main__":
    main()
