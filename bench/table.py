#!/usr/bin/env python3
"""Tables of cm3-bench's JSON lines; lines about the same thing, from several turns, become one.

    table.py FILE.jsonl                    what was measured, with the peers beside it where there are any
    table.py --compare OLD.jsonl NEW.jsonl what a change did
"""
import json
import statistics
import sys

OURS = "libcm3leon"
NOT_IDENTITY = ("who", "metrics")


def read(path):
    """(identity, who) -> the results of all turns, in the order of the file. Identity: the fields as text."""
    results = {}
    try:
        lines = open(path, encoding="utf-8").read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    for number, line in enumerate(lines, 1):
        try:
            result = json.loads(line)
            identity = tuple((k, str(v)) for k, v in result.items() if k not in NOT_IDENTITY)
            results.setdefault((identity, result["who"]), []).append(result["metrics"])
        except (ValueError, KeyError, AttributeError) as error:
            sys.exit(f"{path}:{number}: this is no result of cm3-bench ({error!r})")
    return results


def merged(turns, name):
    """Unit, median of the turns' medians, and the larger of their distance and of the spread within a turn."""
    metrics = [turn[name] for turn in turns if name in turn]
    medians = [metric["median"] for metric in metrics]
    median = statistics.median(medians)
    within = statistics.median([metric.get("spread", 0) for metric in metrics])
    between = (max(medians) - min(medians)) / abs(median) if median else 0
    return metrics[0]["unit"], median, max(within, between)


def shown(value):
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3 if abs(value) >= 0.01 else 5
    return f"{value:.{digits}f}"


def less_is_better(unit):
    return unit.split("/")[0] in ("s", "ms")


def speed_ratio(unit, new, old):
    """Above 1: the new one is faster."""
    if not new or not old:
        return float("nan")
    return old / new if less_is_better(unit) else new / old


def label(identity):
    fields = dict(identity)
    head = [fields.pop("section"), fields.pop("case")]
    units = {"sequences": "seq", "threads": "threads", "depth": "deep", "rows": "rows"}
    return " ".join(head + [f"{v} {units[k]}" if k in units else v if k not in ("m", "n", "k", "width", "layers", "heads")
                            else f"{k} {v}" for k, v in fields.items()])


def print_rows(heading, rows):
    if not rows:
        return
    widths = [max(len(row[i]) for row in [heading] + rows) for i in range(len(heading))]
    for row in [heading] + rows:
        cells = [cell.ljust(widths[i]) if i in (0, len(row) - 1) else cell.rjust(widths[i]) for i, cell in enumerate(row)]
        print("  ".join(cells).rstrip())


def without_load(identity):
    """The peers know one way of loading only."""
    return tuple((k, v) for k, v in identity if k != "load")


def print_results(path):
    results = read(path)
    peers = {}
    for (identity, who), turns in results.items():
        if who != OURS:
            peers.setdefault(identity, []).append((who, turns))
    rows, compared = [], []
    for (identity, who), turns in results.items():
        if who != OURS or not turns[0]:
            continue
        first = next(iter(turns[0]))
        unit, median, spread = merged(turns, first)
        others = [f"{shown(merged(turns, name)[1])} {merged(turns, name)[0]}" for name in list(turns[0])[1:]]
        rows.append([label(identity), shown(median), unit, f"±{100 * spread:.0f} %", ", ".join(others)])
        for peer, peer_turns in peers.get(without_load(identity), []):
            _, other, other_spread = merged(peer_turns, first)
            ratio = speed_ratio(unit, median, other)
            compared.append([label(identity), peer, shown(median), shown(other), unit, f"{ratio:.2f}",
                             f"±{100 * max(spread, other_spread):.0f} %"])
    print_rows(["what", "median", "unit", "spread", "and"], rows)
    if compared:
        print()
    print_rows(["what", "peer", "ours", "peer's", "unit", "ours is faster by", "spread"], compared)


def print_comparison(old_path, new_path):
    old, new = read(old_path), read(new_path)
    rows = []
    for key, turns in new.items():
        if key[1] != OURS or key not in old or not turns[0]:
            continue
        first = next(iter(turns[0]))
        if first not in old[key][0]:
            continue
        unit, after, after_spread = merged(turns, first)
        _, before, before_spread = merged(old[key], first)
        ratio, spread = speed_ratio(unit, after, before), max(before_spread, after_spread)
        beyond = "within the spread" if abs(ratio - 1) <= spread else "faster" if ratio > 1 else "slower"
        rows.append([label(key[0]), shown(before), shown(after), unit, f"{ratio:.2f}", f"±{100 * spread:.0f} %", beyond])
    if not rows:
        sys.exit("the two have nothing in common that was measured")
    print_rows(["what", "old", "new", "unit", "speed new/old", "spread", ""], rows)
    for name, one, other in (("old", old, new), ("new", new, old)):
        missing = sum(1 for key in one if key[1] == OURS and key not in other and one[key][0])
        if missing:
            print(f"{missing} results are in the {name} one only")


def main(arguments):
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        return print_results(arguments[0])
    if len(arguments) == 3 and arguments[0] == "--compare":
        return print_comparison(*arguments[1:])
    sys.exit(__doc__)


main(sys.argv[1:])
