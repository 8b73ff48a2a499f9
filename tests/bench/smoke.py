#!/usr/bin/env python3
"""cm3-bench's JSON lines: there, whole, and with numbers that can be. Nothing is timed.

    smoke.py CM3_BENCH DIRECTORY_FOR_MODELS
"""
import json
import math
import subprocess
import sys

FIELDS = {
    ("limits", "read"): {"reader", "pages", "threads"},
    ("limits", "read_bandwidth"): {"threads"},
    ("limits", "gemm"): {"compute", "by", "m", "n", "k", "threads"},
    ("limits", "gemm_peak"): {"compute", "threads"},
    ("lm", "prefill"): {"preset", "compute", "load", "threads", "rows", "depth"},
    ("lm", "decode"): {"preset", "compute", "load", "threads", "sequences", "depth"},
    ("hnsw", "build"): {"vectors", "dimension", "m", "ef_construction", "threads"},
    ("hnsw", "search"): {"way", "vectors", "dimension", "ef", "together", "threads"},
}
METRICS = {
    ("limits", "read_bandwidth"): {"gb_per_second"},
    ("limits", "gemm_peak"): {"gflops"},
    ("lm", "prefill"): {"tokens_per_second", "ms", "gflops", "of_gemm_peak"},
    ("lm", "decode"): {"tokens_per_second", "tokens_per_second_each", "ms_per_step", "weight_megabytes",
                       "weights_gb_per_second", "of_read_bandwidth", "all_gb_per_second", "all_of_read_bandwidth"},
    ("hnsw", "build"): {"vectors_per_second", "seconds", "bytes_per_vector"},
    ("hnsw", "search"): {"queries_per_second", "recall_at_10"},
}


def check(result):
    kind = (result["section"], result["case"])
    for key in FIELDS.get(kind, ()):
        assert key in result, f"{kind} does not say its {key}"
    for key in METRICS.get(kind, ()):
        assert key in result["metrics"], f"{kind} has no {key}"
    for name, metric in result["metrics"].items():
        assert metric["unit"], f"{kind}: {name} has no unit"
        assert math.isfinite(metric["median"]) and metric["median"] > 0, f"{kind}: {name} is {metric['median']}"
        if "spread" in metric:
            assert metric["min"] <= metric["median"] <= metric["max"] and metric["spread"] >= 0, f"{kind}: {name}"
    return kind


def check_decoding(results):
    """What the numbers of a step are made of, which no speed can change."""
    decoded = [result for result in results if result["case"] == "decode"]
    cells = {(r["load"], r["sequences"], r["depth"]) for r in decoded}
    expected = {(load, s, d) for load in ("map", "huge", "memory") for s in (1, 2, 4, 8) for d in (0, 1024, 2048)}
    assert cells == expected, f"decoding was measured at {sorted(cells)}"
    for result in decoded:
        metrics = {name: metric["median"] for name, metric in result["metrics"].items()}
        # 8 layers of 4 x 256 x 256 and 3 x 256 x 704 weights and a head of 2048 x 256, two bytes each; norms beside
        assert 13.8 < metrics["weight_megabytes"] < 14.1, metrics
        assert metrics["all_gb_per_second"] > metrics["weights_gb_per_second"], metrics


def main():
    bench, directory = sys.argv[1:]
    command = [bench, "limits", "lm", "--quick", "--preset", "toybox", "--json", "--dir", directory, "--clean"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    results = [json.loads(line) for line in run.stdout.splitlines()]
    command = [bench, "hnsw", "--quick", "--vectors", "1500", "--dimension", "48", "--m", "8", "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    graphs = [json.loads(line) for line in run.stdout.splitlines()]
    assert all(r["metrics"]["recall_at_10"]["median"] > 0.9 for r in graphs if r.get("ef", 0) >= 64), graphs
    results += graphs
    kinds = {check(result) for result in results}
    assert set(FIELDS) <= kinds, f"nothing was said of {set(FIELDS) - kinds}"
    check_decoding(results)
    for wrong in (["nothing"], ["--depth", "-1"], ["--preset"], ["--load", "tape"], ["--sequences", "0"]):
        code = subprocess.run([bench, *wrong], stderr=subprocess.DEVNULL, check=False).returncode
        assert code == 2, f"{wrong} gave {code}"
    print(f"{len(results)} results")


if __name__ == "__main__":
    main()
