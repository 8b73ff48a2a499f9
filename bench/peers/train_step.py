"""The training step of bench/train_step.c in PyTorch: bf16 autocast, and the same compiled; one JSON line each.

Usage: python train_step.py [LAYERS] [WIDTH] [HEADS] [STEPS]   (needs torch)
"""
import json
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

layers, width, heads, steps = [int(v) for v in sys.argv[1:5]] + [6, 256, 4, 10][len(sys.argv) - 1:]
batch, length, vocab = 16, 320, 1024
ffn = (width * 8 // 3 + 63) // 64 * 64


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.qn, self.kn = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.gate, self.up = nn.Linear(width, ffn, bias=False), nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, cos, sin):
        h = self.n1(x)
        q, k, v = (f(h).view(batch, length, heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self.qn(q), self.kn(k)

        def turn(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(batch, length, width))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-5), nn.Linear(width, vocab, bias=False)
        d = width // heads
        angles = torch.outer(torch.arange(length).float(), 10000.0 ** (-torch.arange(0, d, 2).float() / d))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).float().view(-1, vocab), targets.view(-1))


def measure(compiled):
    torch.manual_seed(1)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compiled else model
    ids, targets = torch.randint(vocab, (batch, length)), torch.randint(vocab, (batch, length))
    seconds = []
    for step in range(-3, steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step >= 0:
            seconds.append(time.perf_counter() - start)
    rate = [batch * length / s for s in seconds]
    print(json.dumps({"peer": "torch " + torch.__version__, "compiled": compiled, "layers": layers, "width": width,
                      "tokens_per_second": round(statistics.median(rate)), "best": round(max(rate)), "worst": round(min(rate))}))


measure(False)
measure(True)
