"""What the peers share: cm3-bench's options, its rounds, and its JSON lines."""
import argparse
import json
import os
import statistics
import time


def integers(text):
    return [int(part) for part in text.split(",")]


def parser(text, compiled=True):
    result = argparse.ArgumentParser(description=text)
    result.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    result.add_argument("--rounds", type=int)
    result.add_argument("--seconds", type=float, help="the least that a round takes")
    result.add_argument("--quick", action="store_true")
    if compiled:
        result.add_argument("--compiled", action="store_true", help="also with torch.compile")
    return result


def begin(options, uses_torch=True):
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (0.02 if options.quick else 0.3)
    if uses_torch:
        import torch

        torch.set_num_threads(options.threads)
        torch.manual_seed(1)


def rounds(options, run, clock=time.perf_counter):
    """Seconds a run of each round, by `clock`; one run before them warms it."""
    run()
    seconds = []
    for _ in range(options.rounds):
        passed, start, runs = time.perf_counter(), clock(), 0
        while runs == 0 or time.perf_counter() - passed < options.seconds:
            run()
            runs += 1
        seconds.append((clock() - start) / runs)
    return seconds


def samples(unit, values):
    """A metric with its spread, as bench/report.c writes it."""
    ordered = sorted(values)

    def quantile(part):
        place = part * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    median = quantile(0.5)
    return {"unit": unit, "median": median, "min": ordered[0], "max": ordered[-1],
            "spread": (quantile(0.9) - quantile(0.1)) / median, "rounds": len(ordered)}


def number(unit, value):
    return {"unit": unit, "median": value}


def median(values):
    return statistics.median(values)


def torch_name(compiled):
    import torch

    return "torch " + torch.__version__.split("+")[0] + (" compiled" if compiled else "")


def emit(who, section, case, fields, metrics):
    print(json.dumps({"who": who, "section": section, "case": case, **fields, "metrics": metrics}), flush=True)
