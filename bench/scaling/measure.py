#!/usr/bin/env python3
"""Training by two ranks on this machine, measured: what docs/scaling.md is held against.

    bench/scaling/measure.py BUILD_DIR [--turns N] [--steps N] [--batch N] [--accumulation N] PART...

Parts:
  ranks    tokens a second of 2 ranks with 1 thread each, of 1 process with 2 threads, and of 1 with 1, in turns
  network  2 ranks as on two machines, between them 1 Gbit/s, 10 Gbit/s, and a link without a limit (root)

A language model of 15 million parameters, micro-steps of 8 blocks of 320 tokens, bf16 where the CPU has it. Of a run the
first two steps do not count. Each line is JSON:

  tokens_per_second  of all ranks together
  reduce_ms          all-reduces of a step's gradients, hidden behind the backward pass or not
  gather_ms          all-gathers of a step's weights, which nothing hides
  not_hidden         share of reduce_ms that the step waited for. Other short calls of a step are in it, and the time
                     that one rank waits for the other
"""
import argparse
import json
import math
import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = {"hidden_size": 384, "layers": 8, "heads": 6, "ffn_size": 1024, "max_positions": 512}
BLOCK, UNCOUNTED = 320, 2


def make_data(folder, cm3):
    """Texts of words that are drawn: what is learned of them does not matter here."""
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(2000)]
    with open(folder / "texts.jsonl", "w", encoding="utf-8") as file:
        for key in range(3000):
            file.write(json.dumps({"key": str(key), "text": " ".join(dice.choices(words, k=dice.randint(20, 60)))}) + "\n")
    subprocess.run([cm3, "train", "bpe", "--data", folder / "texts.jsonl", "-o", folder / "tokenizer.json", "--vocab-size",
                    "1024", "-q"], check=True)


def count_parameters(checkpoint):
    with open(checkpoint, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name.startswith("weight."))


class Run:
    """One training, and what its log tells."""

    def __init__(self, folder, arguments, threads, starter):
        self.folder, self.arguments = folder, arguments
        run = Path(tempfile.mkdtemp(dir=folder))
        words = ["train", "lm", "-q", "--data", folder / "texts.jsonl", "--tokenizer", folder / "tokenizer.json", "--run", run,
                 "--config", json.dumps(CONFIG), "--steps", 1000, "--stop-at", UNCOUNTED + arguments.steps, "--batch-size", arguments.batch,
                 "--block-size", BLOCK, "--accumulation", arguments.accumulation, "--masking", "none", "--log-every", 1,
                 "--threads", threads]
        done = subprocess.run([str(word) for word in (*starter, *words)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, starter))} ended with {done.returncode}:\n{done.stderr}")
        self.lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        self.parameters = count_parameters(run / "checkpoint.safetensors")
        found = re.search(r"all-gather: (\d+) calls, ([\d.]+) s", done.stderr)
        self.gather = float(found[2]) / len(self.lines) if found else 0.0

    def result(self):
        counted = self.lines[UNCOUNTED:]
        mean = lambda name: statistics.fmean(line.get(name, 0.0) for line in counted)
        seconds = mean("seconds")
        tokens = (counted[-1]["tokens"] - self.lines[UNCOUNTED - 1]["tokens"]) / len(counted)
        reduce, waited = mean("reduce_seconds"), max(0.0, mean("comm_seconds") - self.gather)
        result = {"tokens_per_second": round(tokens / seconds, 1), "step_ms": round(seconds * 1e3, 2),
                  "parameters": self.parameters, "micro_steps": self.arguments.accumulation}
        if reduce:
            result |= {"reduce_ms": round(reduce * 1e3, 2), "gather_ms": round(self.gather * 1e3, 2),
                       "not_hidden": round(waited / reduce, 3), "micro_steps": self.arguments.accumulation // 2}
        return result


def median(results):
    return {name: round(statistics.median(result[name] for result in results), 3) for name in results[0]}


def compare(folder, arguments, ways):
    """Each way once a turn, so that what else the machine does meets all alike."""
    results = {name: [] for name in ways}
    for _ in range(arguments.turns):
        for name, (threads, starter) in ways.items():
            results[name].append(Run(folder, arguments, threads, starter).result())
    medians = {name: median(of_way) for name, of_way in results.items()}
    for name, of_way in medians.items():
        print(json.dumps({"way": name, **of_way}), flush=True)
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="that count, of a run")
    parser.add_argument("--batch", type=int, default=8, help="blocks of a micro-step")
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("parts", nargs="+", choices=["ranks", "network"])
    arguments = parser.parse_args()
    cm3, cm3_mpi = (str(Path(arguments.build).resolve() / name) for name in ("cm3", "cm3-mpi"))
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    ranks = [cm3_mpi, "--comm-times"]
    with tempfile.TemporaryDirectory(prefix="cm3-scaling-") as name:
        folder = Path(name)
        make_data(folder, cm3)
        if "ranks" in arguments.parts:
            medians = compare(folder, arguments, {"2 ranks x 1 thread": (1, [*mpirun, "--bind-to", "core", *ranks]),
                                                  "1 process x 2 threads": (2, [cm3]), "1 process x 1 thread": (1, [cm3])})
            speeds = [of_way["tokens_per_second"] for of_way in medians.values()]
            print(json.dumps({"2 ranks against 2 threads": round(speeds[0] / speeds[1], 3),
                              "2 ranks against 1 thread": round(speeds[0] / speeds[2], 3)}))
        if "network" in arguments.parts:
            compare(folder, arguments, {f"2 hosts, {rate}": (1, [HERE / "two-hosts", rate, *ranks])
                                        for rate in ("1gbit", "10gbit", "none")})


if __name__ == "__main__":
    main()
