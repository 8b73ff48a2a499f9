"""Makes fixture.safetensors: numbers by PyTorch and NumPy that tests/train compares with. Run: python3 make_fixture.py"""
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

torch.manual_seed(7)
torch.set_num_threads(1)
out = {}


def keep(name, value):
    value = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if value.dtype == np.float64:
        value = value.astype(np.float32)
    if value.dtype == np.int64:
        value = value.astype(np.int32)
    out[name] = np.ascontiguousarray(value.reshape(-1) if value.ndim == 0 else value)


# --- AdamW, alone: 7 values, 6 steps, two parameters, one without decay, no clipping ---
a, b = torch.randn(7), torch.randn(5)
keep("adamw.a", a)
keep("adamw.b", b)
pa, pb = a.clone().requires_grad_(), b.clone().requires_grad_()
optimizer = torch.optim.AdamW([{"params": [pa], "weight_decay": 0.1}, {"params": [pb], "weight_decay": 0.0}],
                              lr=3e-2, betas=(0.9, 0.95), eps=1e-8)
gradients_a, gradients_b, values_a, values_b = [], [], [], []
for _ in range(6):
    pa.grad, pb.grad = torch.randn(7), torch.randn(5)
    gradients_a.append(pa.grad.clone())
    gradients_b.append(pb.grad.clone())
    optimizer.step()
    values_a.append(pa.detach().clone())
    values_b.append(pb.detach().clone())
for name, rows in {"ga": gradients_a, "gb": gradients_b, "va": values_a, "vb": values_b}.items():
    keep("adamw." + name, torch.stack(rows))

# --- schedules: 10 steps of warm-up to 1e-2, then to 1e-3 at step 50 ---
for kind in ("cosine", "linear", "constant"):
    parameter = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([parameter], lr=1e-2)
    warm = torch.optim.lr_scheduler.LinearLR(sgd, 0.1, 1.0, total_iters=9)
    rest = {"cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 40, 1e-3),
            "linear": lambda: torch.optim.lr_scheduler.LinearLR(sgd, 1.0, 0.1, total_iters=40),
            "constant": lambda: torch.optim.lr_scheduler.ConstantLR(sgd, 1.0, 40)}[kind]()
    schedule = torch.optim.lr_scheduler.SequentialLR(sgd, [warm, rest], [10])
    rates = []
    for _ in range(51):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    keep("schedule." + kind, np.array(rates))

# --- two tiny language models: gradients, and losses over 5 steps ---
V, D, H, HD, FFN, L, ROWS, BLOCK = 24, 32, 4, 8, 40, 2, 32, 16


def rms(x, g):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * g


def plain(x, _):
    return F.layer_norm(x, (x.shape[-1],), eps=1e-5)


def rope(x, positions):
    half = HD // 2
    frequency = 1.0 / 10000 ** (torch.arange(0, half).float() * 2 / HD)
    angle = positions[:, None].float() * frequency[None]
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    return torch.cat([x[..., :half] * c - x[..., half:] * s, x[..., half:] * c + x[..., :half] * s], -1)


def make(chameleon):
    kv = 2 if chameleon else H
    w = {"model.embed_tokens.weight": torch.randn(V, D) * 0.3}
    if not chameleon:
        w["model.embed_positions.weight"] = torch.randn(BLOCK + 2, D) * 0.1
    for i in range(L):
        p = f"model.layers.{i}."
        for n, rows in (("q", H), ("k", kv), ("v", kv), ("o", H)):
            w[p + f"self_attn.{n}_proj.weight"] = torch.randn(rows * HD, D) * 0.2
        if chameleon:
            w[p + "input_layernorm.weight"] = 1 + 0.1 * torch.randn(D)
            w[p + "post_attention_layernorm.weight"] = 1 + 0.1 * torch.randn(D)
            for n, rows in (("q", H), ("k", kv)):
                w[p + f"self_attn.{n}_norm.weight"] = 1 + 0.1 * torch.randn(rows, HD)
                w[p + f"self_attn.{n}_norm.bias"] = 0.1 * torch.randn(rows, HD)
            for n in ("gate", "up"):
                w[p + f"mlp.{n}_proj.weight"] = torch.randn(FFN, D) * 0.2
            w[p + "mlp.down_proj.weight"] = torch.randn(D, FFN) * 0.2
        else:
            w[p + "mlp.fc1.weight"] = torch.randn(FFN, D) * 0.2
            w[p + "mlp.fc2.weight"] = torch.randn(D, FFN) * 0.2
    if chameleon:
        w["model.norm.weight"] = 1 + 0.1 * torch.randn(D)
        w["lm_head.weight"] = torch.randn(V, D) * 0.2
    return {n: t.requires_grad_() for n, t in w.items()}


def forward(w, chameleon, ids, positions, first):
    norm, kv = (rms, 2) if chameleon else (plain, H)
    x = w["model.embed_tokens.weight"][ids]
    if not chameleon:
        x = x + w["model.embed_positions.weight"][positions + 2]
    index = torch.arange(len(ids))
    mask = (index[None] <= index[:, None]) & (index[None] >= first[:, None])
    for i in range(L):
        p = f"model.layers.{i}."
        h = norm(x, w.get(p + "input_layernorm.weight"))
        q, k, v = ((h @ w[p + f"self_attn.{n}_proj.weight"].T).view(len(ids), -1, HD) for n in "qkv")
        if chameleon:
            q, k = (F.layer_norm(t, (HD,), eps=1e-5) * w[p + f"self_attn.{n}_norm.weight"] + w[p + f"self_attn.{n}_norm.bias"]
                    for n, t in (("q", q), ("k", k)))
            q, k = rope(q, positions), rope(k, positions)
        k, v = (t.repeat_interleave(H // kv, 1) for t in (k, v))
        scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(HD)
        mixed = torch.einsum("hij,jhd->ihd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v)
        x = x + mixed.reshape(len(ids), -1) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, w.get(p + "post_attention_layernorm.weight"))
        if chameleon:
            h = F.silu(h @ w[p + "mlp.gate_proj.weight"].T) * (h @ w[p + "mlp.up_proj.weight"].T)
            x = x + h @ w[p + "mlp.down_proj.weight"].T
        else:
            x = x + F.gelu(h @ w[p + "mlp.fc1.weight"].T) @ w[p + "mlp.fc2.weight"].T
    x = norm(x, w.get("model.norm.weight"))
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


DOCUMENTS = [[9, 5], [16], [4, 4, 4]]  # lengths, three batches in turn; the rest of a block is padding


def batch(step):
    generator = torch.Generator().manual_seed(100 + step)
    ids, positions, first, targets = torch.zeros(ROWS).long(), torch.zeros(ROWS).long(), torch.arange(ROWS), -torch.ones(ROWS).long()
    for block in range(ROWS // BLOCK):
        begin = block * BLOCK
        for length in DOCUMENTS[(step + block) % 3]:
            words = torch.randint(1, V, (length,), generator=generator)
            ids[begin:begin + length] = words
            positions[begin:begin + length] = torch.arange(length)
            first[begin:begin + length] = begin
            targets[begin:begin + length - 1] = words[1:]
            begin += length
    return ids, positions, first, targets


STEPS = 5
for step in range(STEPS):
    for name, value in zip(("ids", "positions", "first", "targets"), batch(step)):
        keep(f"batch.{step}.{name}", value)
for family, chameleon in (("chameleon", True), ("cm3leon", False)):
    w = make(chameleon)
    for name, tensor in w.items():
        keep(f"{family}.{name}", tensor.detach().clone())
    decayed = [t for n, t in w.items() if t.ndim == 2 and "norm" not in n]
    others = [t for n, t in w.items() if not (t.ndim == 2 and "norm" not in n)]
    groups = [{"params": decayed, "weight_decay": 0.1}] + ([{"params": others, "weight_decay": 0.0}] if others else [])
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(STEPS):
        ids, positions, first, targets = batch(step)
        loss = F.cross_entropy(forward(w, chameleon, ids, positions, first), targets, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            for name, tensor in w.items():
                keep(f"{family}-grad.{name}", tensor.grad.reshape(-1)[:128].clone())
                keep(f"{family}-gradnorm.{name}", tensor.grad.norm())
        norms.append(torch.nn.utils.clip_grad_norm_(list(w.values()), 0.5).item())
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (step + 1) / 2 if step < 2 else 1e-3 + 9e-3 * 0.5 * (1 + math.cos(math.pi * (step - 2) / 3))
        optimizer.step()
    keep(f"{family}-losses", np.array(losses))
    keep(f"{family}-norms", np.array(norms))

# --- the codebook's running averages, three updates (van den Oord et al. 2017, appendix A.1) ---
random = np.random.default_rng(3)
entries, width, count = 6, 4, 40
z = random.normal(size=(3, count, width)).astype(np.float32)
codes = random.integers(0, entries, (3, count)).astype(np.int32)
sums, counts = z[0, :entries].astype(np.float64), np.ones(entries)
keep("ema.z", z)
keep("ema.codes", codes)
for i in range(3):
    n = np.bincount(codes[i], minlength=entries)
    s = np.zeros((entries, width))
    np.add.at(s, codes[i], z[i].astype(np.float64))
    counts, sums = 0.9 * counts + 0.1 * n, 0.9 * sums + 0.1 * s
    keep(f"ema.rows.{i}", sums / counts[:, None])
    keep(f"ema.counts.{i}", counts)

# --- the discriminator at 16 x 16: two levels of 16 and 32 channels ---
shapes = {"0.weight": (16, 3, 4, 4), "0.bias": (16,), "1.weight": (32, 16, 4, 4), "1.norm.weight": (32,), "1.norm.bias": (32,),
          "2.weight": (1, 32, 4, 4), "2.bias": (1,)}
d = {n: (torch.randn(s) * (0.1 if len(s) == 4 else 0.2) + (1.0 if n == "1.norm.weight" else 0.0)).requires_grad_()
     for n, s in shapes.items()}
for name, tensor in d.items():
    keep("discriminator." + name, tensor.detach().clone())


def scores(x):
    h = F.leaky_relu(F.conv2d(x, d["0.weight"], d["0.bias"], 2, 1), 0.2)
    h = F.group_norm(F.conv2d(h, d["1.weight"], None, 2, 1), 8, d["1.norm.weight"], d["1.norm.bias"], 1e-5)
    return F.conv2d(F.leaky_relu(h, 0.2), d["2.weight"], d["2.bias"], 1, 1)


# The decoder's last layer, for the adaptive weight: norm of 2 groups, swish, 3 x 3 convolution of 4 channels to 3.
features, last = torch.randn(2, 4, 16, 16), (torch.randn(3, 4, 3, 3) * 0.2).requires_grad_()
x = torch.rand(2, 3, 16, 16) * 2 - 1
y = F.conv2d(F.silu(F.group_norm(features, 2, eps=1e-6)), last, None, 1, 1)
y.retain_grad()
reconstruction = F.l1_loss(y, x) + F.mse_loss(y, x)
r = torch.autograd.grad(reconstruction, last, retain_graph=True)[0].norm()
adversarial = -scores(y).mean()
g, dy = torch.autograd.grad(adversarial, [last, y], retain_graph=True)
hinge = 0.5 * (F.relu(1 - scores(x)).mean() + F.relu(1 + scores(y.detach())).mean())
hinge.backward()
nhwc = lambda t: t.detach().permute(0, 2, 3, 1)
keep("gan.features", nhwc(features))
keep("gan.x", nhwc(x))
keep("gan.y", nhwc(y))
keep("gan.last", last.detach())
keep("gan.scores", nhwc(scores(y)))
keep("gan.dy", nhwc(dy))
keep("gan.numbers", np.array([adversarial.item(), (r / (g.norm() + 1e-4)).clamp(0, 1e4).item(), hinge.item()]))
for name, tensor in d.items():
    keep("gan-grad." + name, tensor.grad.reshape(-1)[:128].clone())

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixture.safetensors")
save_file(out, path)
print(os.path.getsize(path), "bytes,", len(out), "tensors")
