"""Writes halves.bin: f32 bits, then what NumPy makes of them as f16 and PyTorch as bf16. NaNs are left out."""

import numpy
import torch

rng = numpy.random.default_rng(11)
edges = [0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x00000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF]
for exponent in (101, 102, 103, 111, 112, 113, 114, 127, 141, 142, 143):
    for mantissa in (0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x2FFF, 0x3000, 0x3001, 0x7FEFFF, 0x7FF000, 0x7FFFFF,
                     0x7FFF, 0x8000, 0x8001, 0x18000, 0x7F7FFF, 0x7F8000):
        edges.append(exponent << 23 | mantissa)
        edges.append(1 << 31 | exponent << 23 | mantissa)
random = rng.integers(0, 1 << 32, 1500, dtype=numpy.uint64)
near = (rng.integers(100, 145, 1500).astype(numpy.uint64) << 23) | rng.integers(0, 1 << 23, 1500).astype(numpy.uint64)
bits = numpy.concatenate([numpy.array(edges, dtype=numpy.uint64), random, near]).astype(numpy.uint32)
floats = bits.view(numpy.float32)
bits, floats = bits[~numpy.isnan(floats)], floats[~numpy.isnan(floats)]
with numpy.errstate(over="ignore"):
    halves = floats.astype(numpy.float16).view(numpy.uint16)
brains = torch.from_numpy(floats.copy()).to(torch.bfloat16).view(torch.int16).numpy().view(numpy.uint16)
rows = numpy.zeros(len(bits), dtype=[("f32", "<u4"), ("f16", "<u2"), ("bf16", "<u2")])
rows["f32"], rows["f16"], rows["bf16"] = bits, halves, brains
rows.tofile("halves.bin")
