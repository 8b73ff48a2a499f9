"""The training step of cm3-bench in PyTorch: bf16 autocast, and the same compiled; needs torch."""
import torch
import torch.nn as nn
import torch.nn.functional as F

import measure

BATCH, LENGTH, VOCAB = 16, 320, 1024


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        ffn = (width * 8 // 3 + 63) // 64 * 64
        self.heads = heads
        self.n1, self.n2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.qn, self.kn = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.gate, self.up = nn.Linear(width, ffn, bias=False), nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, cos, sin):
        h = self.n1(x)
        q, k, v = (f(h).view(BATCH, LENGTH, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self.qn(q), self.kn(k)

        def turn(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(x.shape))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, layers, width, heads):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-5), nn.Linear(width, VOCAB, bias=False)
        d = width // heads
        angles = torch.outer(torch.arange(LENGTH).float(), 10000.0 ** (-torch.arange(0, d, 2).float() / d))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).float().view(-1, VOCAB), targets.view(-1))


def measure_step(options, layers, width, heads, compiled):
    model = Model(layers, width, heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compiled else model
    ids, targets = torch.randint(VOCAB, (BATCH, LENGTH)), torch.randint(VOCAB, (BATCH, LENGTH))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=options.compute == "bf16"):
            loss = forward(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()  # memory of the optimizer, and what is compiled
    seconds = measure.rounds(options, step)
    measure.emit(measure.torch_name(compiled), "train", "step",
                 {"compute": options.compute, "width": width, "layers": layers, "heads": heads,
                  "threads": options.threads},
                 {"tokens_per_second": measure.samples("tok/s", [BATCH * LENGTH / t for t in seconds]),
                  "seconds": measure.number("s/step", measure.median(seconds))})


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--compute", choices=["bf16", "f32"], default="bf16")
    options = parser.parse_args()
    measure.begin(options)
    for shape in [(6, 256, 4)] if options.quick else [(6, 256, 4), (8, 384, 6)]:
        for compiled in (False, True) if options.compiled else (False,):
            torch._dynamo.reset()
            measure_step(options, *shape, compiled)


main()
