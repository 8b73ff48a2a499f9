#!/usr/bin/env python3
"""The bank section of cm3-bench by faiss-cpu, on the same vectors: `cm3-bench bank --npy DIR` writes them.

Flat: exact inner products, f32, one thread, as faiss comes and with BLAS wherever it can be: since 1.15 (or before) it takes
queries one by one up to 128,000 of them, with BLAS it is several times as fast. HNSW: graphs over 8 bits a number (SQ8), built by all threads, searched by
one; recall@10 is the share of Flat's ten that are found. Needs faiss-cpu and numpy.
"""
import os
import sys
import time

# Which kernel OpenBLAS runs is to be its own choice, and is read when it is loaded.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

try:
    # This file has the name of what it measures.
    here = sys.path.pop(0)
    import faiss
    import numpy
    sys.path.insert(0, here)
except ImportError as error:
    sys.exit(f"the peer needs faiss-cpu and numpy: {error}")

import measure

K, EFS = 10, (32, 64, 128, 256, 512)
WHO = f"faiss {faiss.__version__}"


def kernel():
    """The kernels of matrix products that OpenBLAS has chosen, where that can be asked."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown (no threadpoolctl)"
    found = [f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()
             if pool["user_api"] == "blas" and "faiss" in pool["filepath"]]
    return ", ".join(found) or "unknown"


def searched(options, index, queries, together):
    """Queries/s of each round, by one thread, of the time that it computes, as in cm3-bench; every call has others."""
    at = 0

    def run():
        nonlocal at
        index.search(queries[at:at + together], K)
        at = (at + together) % (len(queries) - together + 1)

    faiss.omp_set_num_threads(1)
    return [together / seconds for seconds in measure.rounds(options, run, time.process_time)]


def flat(options, vectors, queries, fields):
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    usual = faiss.cvar.distance_compute_blas_threshold
    for together, blas in ((1, False), (32, False), (32, True)):
        faiss.cvar.distance_compute_blas_threshold = 1 if blas else usual
        rates = searched(options, index, queries, together)
        work = 2e-9 * vectors.shape[0] * vectors.shape[1]
        measure.emit(WHO + (" BLAS" if blas else ""), "bank", "search", {"type": "f32", **fields, "queries": together, "threads": 1},
                     {"queries_per_second": measure.samples("queries/s", rates),
                      "gb_per_second": measure.samples("GB/s", [4e-9 * vectors.size / together * rate for rate in rates]),
                      "gflops": measure.samples("GFLOP/s", [work * rate for rate in rates])})
    if options.flat:
        return None
    faiss.omp_set_num_threads(options.threads)
    return index.search(queries, K)[1]


def graph(options, vectors, queries, fields, best, m):
    index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = options.ef_construction
    fields = {**fields, "m": m, "ef_construction": options.ef_construction}
    faiss.omp_set_num_threads(options.threads)
    start = time.perf_counter()
    index.train(vectors[:100000])
    index.add(vectors)
    measure.emit(WHO, "hnsw", "build", {"type": "sq8", **fields, "threads": options.threads},
                 {"seconds": measure.number("s", time.perf_counter() - start)})
    for ef in EFS:
        index.hnsw.efSearch = ef
        rates = searched(options, index, queries, 1)
        got = index.search(queries, K)[1]
        found = sum(len(set(a) & set(b)) for a, b in zip(got.tolist(), best.tolist()))
        measure.emit(WHO, "hnsw", "search", {"type": "sq8", **fields, "ef": ef, "threads": 1},
                     {"queries_per_second": measure.samples("queries/s", rates),
                      "recall_at_10": measure.number("recall@10", found / best.size)})


def main():
    parser = measure.parser(__doc__, compiled=False)
    parser.add_argument("--data", required=True, help="folder of vectors.npy and queries.npy")
    parser.add_argument("--m", type=measure.integers, default=[16, 32], help="neighbours of the graphs (16,32)")
    parser.add_argument("--ef-construction", type=int, default=100, help="of the graphs (100, as the library's)")
    parser.add_argument("--flat", action="store_true", help="no graphs: these take minutes to build")
    options = parser.parse_args()
    measure.begin(options, uses_torch=False)
    vectors = numpy.load(os.path.join(options.data, "vectors.npy"))
    queries = numpy.load(os.path.join(options.data, "queries.npy"))
    print(f"faiss {faiss.__version__}, {faiss.get_compile_options().strip()}; BLAS: {kernel()}", file=sys.stderr)
    fields = {"vectors": vectors.shape[0], "dimension": vectors.shape[1]}
    best = flat(options, vectors, queries, fields)
    for m in [] if options.flat else options.m:
        graph(options, vectors, queries, fields, best, m)


main()
