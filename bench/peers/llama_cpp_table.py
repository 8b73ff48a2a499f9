"""The lines of llama_cpp.sh as a table of medians and ratios: python3 llama_cpp_table.py LINES [OUT.jsonl]."""
import json
import statistics
import sys


def read(path):
    """{case: {who: [tokens/s]}}; a case is (what, depth or rows, sequences)."""
    cases = {}

    def add(case, who, value):
        cases.setdefault(case, {}).setdefault(who, []).append(value)

    for line in open(path):
        tool, rest = line.split(" ", 1)
        if tool == "batched-bench":
            depth, rest = rest.split(" ", 1)
            r = json.loads(rest)
            add(("decode", int(depth), 2), "llama.cpp", r["speed_tg"])
            continue
        r = json.loads(rest)
        if tool == "llama-bench":
            what = "prefill" if r["n_prompt"] else "decode"
            add((what, r["n_depth"], 1), "llama.cpp", r["avg_ts"])
            continue
        if r["section"] != "lm":
            continue
        speed = r["metrics"]["tokens_per_second"]["median"]
        add((r["case"], r["depth"], r.get("sequences", 1)), f"cm3, {r['load']}", speed)
        if r["case"] == "decode":
            share = r["metrics"]["of_read_bandwidth"]["median"]
            add((r["case"], r["depth"], r["sequences"]), f"share, {r['load']}", share)
    return cases


def main(path, out=None):
    cases = read(path)
    sink = open(out, "a") if out else None
    print(f"{'':8} {'depth':>6} {'seq':>4} {'llama.cpp':>10} {'cm3 map':>9} {'huge':>9} {'map/peer':>9} {'huge/peer':>10} "
          f"{'share map':>10} {'huge':>6}   tokens/s, medians; share of the read bandwidth")
    for case in sorted(cases, key=lambda c: (c[0] != "prefill", c[2], c[1])):
        each = cases[case]
        who = {name: statistics.median(values) for name, values in each.items()}
        peer, mapped, huge = who.get("llama.cpp"), who.get("cm3, map"), who.get("cm3, huge")

        def show(value, digits=2):
            return f"{value:.{digits}f}" if value is not None else "-"

        def ratio(name):
            """The median of the rounds' ratios: the two of a round are measured one after the other."""
            pairs = list(zip(each.get(name, []), each.get("llama.cpp", [])))
            return statistics.median(a / b for a, b in pairs) if pairs else None

        print(f"{case[0]:8} {case[1]:6} {case[2]:4} {show(peer):>10} {show(mapped):>9} {show(huge):>9} "
              f"{show(ratio('cm3, map')):>9} {show(ratio('cm3, huge')):>10} {show(who.get('share, map')):>10} "
              f"{show(who.get('share, huge')):>6}")
        if sink:
            sink.write(json.dumps({"case": case[0], "depth": case[1], "sequences": case[2], **who}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
