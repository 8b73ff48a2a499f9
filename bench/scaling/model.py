#!/usr/bin/env python3
"""What data parallelism costs: memory of a rank, bytes between ranks, and the efficiency that is to be expected.

    bench/scaling/model.py                       the tables of docs/scaling.md
    bench/scaling/model.py --check FIGURES       the model beside what bench/scaling/measure.py has measured

The machine is given by options; its numbers are assumptions, not measurements, unless you measure yours:

  --flops X         of a node in training, operations a second, all of a step but communication (1e13)
  --memory X        bytes a second that the optimiser reads and writes (2e11)
  --latency X       seconds from one node to another (3e-5)
  --network X,...   bits a second of a node's link, each way (1e10,2.5e10,1e11)
  --batch N         tokens of a step, all nodes together (8388608, as CM3Leon was trained)
  --block N         tokens of a block (4096)
  --blocks N        blocks of a micro-step (1)
  --nodes N,...     (1,2,8,32,128,512)
  --ring            latencies of a ring, 2 (N - 1) of them an all-reduce, instead of 2 log2 N
"""
import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("cm3leon-350m", "cm3leon-760m", "cm3leon-7b")
BUCKET = 8 << 20  # bytes: buckets of gradients are 4 to 16 MB (lib/train/buckets.c)
PIECE = 8 << 20  # bytes of one all-gather of weights, all ranks together, at most (lib/train/optimizer.c)
# Measured as differences of greatest resident sizes: 2 and 6 layers of width 256 and feed-forward 1024, 256 and 2048
# tokens in blocks of 256 and of 1024, vocabularies of 305 and 8497; bf16 products:
PER_LAYER = 181  # bytes a token, layer and unit of width that a micro-step keeps for its way back
PER_LOGIT = 11  # bytes a token and entry of the vocabulary


@dataclass
class Preset:
    """A model's shape, read from the library's source, so that the two cannot differ."""

    name: str
    layers: int
    hidden: int
    ffn: int
    vocabulary: int
    positions: int

    @staticmethod
    def read(name):
        source = (ROOT / "lib/model/lm_config.c").read_text()
        sizes = re.search(rf'"{name}"\)\) \{{\s*\*config = cm3leon;\s*size\(config, (\d+), (\d+), \d+, \d+, (\d+)\)', source)
        common = re.search(r"cm3_lm_config cm3leon = \{(.*?)\};", source, re.S)[1]
        vocabulary, positions, offset = (int(re.search(rf"\.{field} = (\d+)", common)[1])
                                         for field in ("vocab_size", "max_positions", "position_offset"))
        return Preset(name, *map(int, sizes.groups()), vocabulary, positions + offset)

    @property
    def of_layers(self):
        """Matrices that are multiplied and nothing else."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.ffn)

    @property
    def matrices(self):
        return self.of_layers + self.vocabulary * self.hidden

    @property
    def parameters(self):
        return self.matrices + self.positions * self.hidden

    @property
    def gathered(self):
        """Bytes of new weights: bf16 copies of the layers', and f32 of the tables, one of which is the head as well."""
        return 2 * self.of_layers + 4 * (self.parameters - self.of_layers)

    def flops_of_token(self, block):
        """Forward and backward: 6 a weight of a matrix, and attention to half a block on average."""
        return 6 * self.matrices + 6 * self.layers * self.hidden * block

    def memory(self, nodes, tokens):
        """Bytes of a rank: what is whole on each, what is shared out, and what a micro-step keeps."""
        tables = self.parameters - self.of_layers
        whole = 4 * self.parameters + 2 * self.matrices + 4 * tables  # gradients, bf16 copies, f32 of tables
        kept = tokens * (PER_LAYER * self.layers * self.hidden + PER_LOGIT * self.vocabulary)
        return whole, (8 * self.parameters + 4 * self.of_layers) / nodes, kept


@dataclass
class Machine:
    flops: float
    memory: float
    latency: float
    network: float  # bytes a second
    ring: bool = False

    def latencies(self, nodes):
        return (nodes - 1 if self.ring else math.log2(nodes)) * self.latency

    def all_reduce(self, size, nodes):
        return 2 * self.latencies(nodes) + 2 * (nodes - 1) / nodes * size / self.network

    def all_gather(self, size, nodes):
        return self.latencies(nodes) + (nodes - 1) / nodes * size / self.network


@dataclass
class Step:
    """Seconds of a step; `exposed` is what of `reduce` the backward pass does not hide."""

    compute: float
    reduce: float
    exposed: float
    gather: float
    update: float

    @property
    def all(self):
        return self.compute + self.exposed + self.gather + self.update


def step(parameters, gathered, flops, micro_steps, nodes, machine):
    """`gathered`: bytes of new weights. `flops`: of a rank. The last micro-step's backward pass, two thirds of it, can hide all buckets but the last."""
    size = 4 * parameters
    compute = flops / machine.flops
    # Moments, weights, gradients read and written of one's own part; gathered weights read and written, or copies written.
    update = (28 * parameters / nodes + (2 * gathered if nodes > 1 else 2 * parameters)) / machine.memory
    if nodes == 1:
        return Step(compute, 0, 0, 0, update)
    buckets = math.ceil(size / BUCKET)
    reduce = buckets * machine.all_reduce(size / buckets, nodes)
    exposed = max(reduce / buckets, reduce - 2 / 3 * compute / micro_steps)
    pieces = math.ceil(size / PIECE)  # as many as of f32, whose places they are cut by
    return Step(compute, reduce, exposed, pieces * machine.all_gather(gathered / pieces, nodes), update)


def step_of(preset, arguments, nodes, machine):
    blocks = arguments.batch // arguments.block // nodes
    if blocks < 1:
        return None
    micro_steps = max(1, blocks // arguments.blocks)
    flops = preset.flops_of_token(arguments.block) * arguments.batch / nodes
    return step(preset.parameters, preset.gathered, flops, micro_steps, nodes, machine)


# --- tables -----------------------------------------------------------------------------------------------------------


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def gigabytes(size):
    return f"{size / 1e9:.3g}"


def memory_table(presets, arguments):
    nodes = [1, 2, 8, 64, 512]
    rows = []
    for p in presets:
        whole, _, kept = p.memory(1, arguments.block * arguments.blocks)
        rows.append([f"`{p.name}`", f"{p.parameters / 1e6:.0f} M", gigabytes(whole), gigabytes(kept),
                     *(gigabytes(p.memory(n, 0)[1]) for n in nodes), gigabytes(sum(p.memory(512, arguments.block * arguments.blocks)))])
    table(["GB", "parameters", "whole on each rank", f"kept of {arguments.block * arguments.blocks} tokens",
           *(f"in slices, {n} rank{'s' if n > 1 else ''}" for n in nodes), "all, 512 ranks"], rows)


def traffic_table(presets):
    rows = []
    for p in presets:
        size = 4 * p.parameters
        rows.append([f"`{p.name}`", gigabytes(size), f"{math.ceil(size / BUCKET)}", gigabytes(p.gathered),
                     *(gigabytes((n - 1) / n * (2 * size + p.gathered)) for n in (2, 8, 512))])
    table(["GB a step", "gradients", "buckets", "new weights", "sent by a rank, of 2", "of 8", "of 512"], rows)


def efficiency_table(preset, arguments):
    rows = []
    for network in arguments.network:
        machine = Machine(arguments.flops, arguments.memory, arguments.latency, network / 8, arguments.ring)
        alone = step_of(preset, arguments, 1, machine).all
        cells = []
        for nodes in arguments.nodes:
            of_step = step_of(preset, arguments, nodes, machine)
            cells.append("–" if not of_step else f"{alone / nodes / of_step.all:.2f} ({of_step.all:.3g} s)")
        rows.append([f"`{preset.name}`, {network / 1e9:g} Gbit/s", *cells])
    return rows


def limit(preset, arguments, network, least=0.8):
    """The most nodes, a power of two, that still do `least` of what they could."""
    machine = Machine(arguments.flops, arguments.memory, arguments.latency, network / 8, arguments.ring)
    alone, nodes = step_of(preset, arguments, 1, machine).all, 1
    while (of_step := step_of(preset, arguments, 2 * nodes, machine)) and alone / (2 * nodes) / of_step.all >= least:
        nodes *= 2
    return nodes


def print_tables(arguments):
    presets = [Preset.read(name) for name in PRESETS]
    memory_table(presets, arguments)
    traffic_table(presets)
    table(["efficiency (a step)", *(str(n) for n in arguments.nodes)],
          [row for preset in presets for row in efficiency_table(preset, arguments)])
    table(["most nodes at 0.8", *(f"{n / 1e9:g} Gbit/s" for n in arguments.network)],
          [[f"`{p.name}`", *(str(limit(p, arguments, n)) for n in arguments.network)] for p in presets])


# --- against what was measured ----------------------------------------------------------------------------------------


def check(path, arguments):
    """Lines of measure.py: of one process the compute rate, of two hosts the network's; what the model makes of it."""
    figures = {line["way"]: line for line in map(json.loads, Path(path).read_text().splitlines()) if "way" in line}
    one = figures["1 process x 1 thread"]
    rows = []
    for way, of_way in figures.items():
        rate = re.fullmatch(r"2 hosts, (\d+)gbit", way)
        if not rate:
            continue
        parameters, micro_steps = of_way.get("parameters", 15e6), of_way.get("micro_steps", 1)
        machine = Machine(1, arguments.memory, arguments.latency, int(rate[1]) * 1e9 / 8)
        # Of so small a vocabulary next to all that is gathered are bf16 copies.
        expected = step(parameters, 2 * parameters, one["step_ms"] / 2e3, micro_steps, 2, machine)
        rows.append([way, f"{expected.reduce * 1e3:.0f}", f"{of_way['reduce_ms']:.0f}", f"{expected.gather * 1e3:.0f}",
                     f"{of_way['gather_ms']:.0f}", f"{expected.all * 1e3:.0f}", f"{of_way['step_ms']:.0f}"])
    table(["ms", "all-reduces, model", "measured", "all-gather, model", "measured", "step, model", "measured"], rows)


def numbers(text):
    return [float(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, default in (("flops", float, 1e13), ("memory", float, 2e11), ("latency", float, 3e-5),
                                ("network", numbers, [1e10, 2.5e10, 1e11]), ("batch", int, 1 << 23), ("block", int, 4096),
                                ("blocks", int, 1)):
        parser.add_argument(f"--{name}", type=kind, default=default, help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2, 8, 32, 128, 512],
                        help=argparse.SUPPRESS)
    parser.add_argument("--ring", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--check", metavar="FIGURES", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check, arguments)
    else:
        print_tables(arguments)


if __name__ == "__main__":
    main()
