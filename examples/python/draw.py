#!/usr/bin/env python3
"""Draws a sentence, and says what the picture shows.

    draw.py "a red circle at the top left" -n 4 --seed 7 -o scene.png
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cm3leon


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentence")
    parser.add_argument("-m", "--model", help="a .cm3 file or a folder (the package's own demo model)")
    parser.add_argument("-n", type=int, default=1, help="pictures")
    parser.add_argument("--seed", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("scene.png"))
    arguments = parser.parse_args()

    model = cm3leon.Model.load(arguments.model) if arguments.model else cm3leon.demo_model()
    with model:
        stream = model.stream(arguments.sentence, n=arguments.n, seed=arguments.seed)
        for event in stream:  # Ctrl-C leaves the loop, and that cancels
            if event.progress is not None:
                print(f"\r{event.progress:4.0%}", end="", file=sys.stderr)
        print(f"\rseed {stream.result.seed}", file=sys.stderr)
        for number, image in enumerate(stream.result.images):
            path = arguments.output
            if arguments.n > 1:
                path = path.with_name(f"{path.stem}-{number}{path.suffix}")
            image.save(path)
            print(path)
            print(f"  {model.caption(image).text.strip()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except cm3leon.Cm3leonError as error:
        sys.exit(f"draw.py: {error}")
