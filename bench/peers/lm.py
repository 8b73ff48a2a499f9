"""Prefill and decoding of cm3-bench's language models in PyTorch, static KV cache; needs torch.

The shapes of Chameleon's family (toybox, odd) run in Hugging Face's own model too, where transformers is installed.
"""
import sys

import torch
import torch.nn.functional as F

import measure

WINDOW, PREFILL_ROWS, CONTEXT = 32, 1024, 4096
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


def shape(layers, hidden, heads, kv_heads, ffn, vocab, chameleon):
    return {"layers": layers, "hidden": hidden, "heads": heads, "kv_heads": kv_heads, "ffn": ffn, "vocab": vocab,
            "chameleon": chameleon}


PRESETS = {
    "toybox": shape(8, 256, 4, 4, 704, 2048, True),
    "cm3leon-350m": shape(24, 1024, 16, 16, 4096, 65536, False),
    "cm3leon-760m": shape(24, 1536, 16, 16, 6144, 65536, False),
    "odd": shape(12, 1000, 10, 5, 2731, 9973, True),
}


class Layer:
    """Chameleon: RMSNorm, q/k-norm, rotary positions, SwiGLU. CM3Leon: norms without parameters, ReLU."""

    def __init__(self, s, dtype):
        def matrix(*size):
            return torch.empty(*size, dtype=dtype).uniform_(-0.035, 0.035)

        self.chameleon, self.d = s["chameleon"], s["hidden"] // s["heads"]
        self.heads, self.kv_heads, hidden, kv = s["heads"], s["kv_heads"], s["hidden"], s["kv_heads"] * self.d
        self.q, self.k, self.v = matrix(hidden, hidden), matrix(kv, hidden), matrix(kv, hidden)
        self.o, self.up, self.down = matrix(hidden, hidden), matrix(s["ffn"], hidden), matrix(hidden, s["ffn"])
        self.gate = matrix(s["ffn"], hidden) if self.chameleon else None
        self.ones = torch.ones(hidden, dtype=dtype)
        self.matrices = [m for m in (self.q, self.k, self.v, self.o, self.gate, self.up, self.down) if m is not None]

    def norm(self, x):
        if self.chameleon:
            return F.rms_norm(x, x.shape[-1:], self.ones, 1e-5)
        return F.layer_norm(x, x.shape[-1:])

    def head(self, x, weight, count, cos, sin):
        x = F.linear(x, weight).view(*x.shape[:2], count, self.d)
        if self.chameleon:
            x = F.layer_norm(x, (self.d,))
            a, b = x.chunk(2, -1)
            x = x * cos + torch.cat((-b, a), -1) * sin
        return x.transpose(1, 2)


def run_layer(layer, x, keys, values, at, mask, cos, sin):
    """x [sequences, rows, hidden]; keys and values [sequences, kv heads, capacity, d]; `at` [rows], the positions."""
    h = layer.norm(x)
    q = layer.head(h, layer.q, layer.heads, cos, sin)
    keys.index_copy_(2, at, layer.head(h, layer.k, layer.kv_heads, cos, sin))
    values.index_copy_(2, at, F.linear(h, layer.v).view(*x.shape[:2], layer.kv_heads, layer.d).transpose(1, 2))
    y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=layer.heads != layer.kv_heads)
    x = x + F.linear(y.transpose(1, 2).reshape(x.shape), layer.o)
    h = layer.norm(x)
    up = F.linear(h, layer.up)
    return x + F.linear(F.silu(F.linear(h, layer.gate)) * up if layer.chameleon else F.relu(up), layer.down)


class Plain:
    """The decoder in plain PyTorch. Matrices repeat from layer to layer in nothing but their distribution."""

    def __init__(self, s, dtype, compiled):
        self.s, self.dtype = s, dtype
        self.layers = [Layer(s, dtype) for _ in range(s["layers"])]
        self.embed = torch.empty(s["vocab"], s["hidden"], dtype=dtype).uniform_(-0.035, 0.035)
        self.head = torch.empty_like(self.embed).uniform_(-0.035, 0.035) if s["chameleon"] else self.embed
        self.positions = None if s["chameleon"] else torch.empty(CONTEXT, s["hidden"], dtype=dtype).uniform_(-0.01, 0.01)
        self.run_layer = torch.compile(run_layer) if compiled else run_layer
        d = s["hidden"] // s["heads"]
        angles = torch.outer(torch.arange(CONTEXT).float(), 10000.0 ** (-torch.arange(0, d, 2).float() / d))
        angles = torch.cat((angles, angles), -1)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def begin(self, sequences, capacity):
        d = self.s["hidden"] // self.s["heads"]
        size = (sequences, self.s["kv_heads"], capacity, d)
        self.cache = [tuple(torch.empty(size, dtype=self.dtype).uniform_(-0.5, 0.5) for _ in range(2))
                      for _ in self.layers]
        self.capacity = capacity

    def forward(self, ids, first, logits_of_last):
        """Logits of all rows, or of the last one."""
        at = torch.arange(first, first + ids.shape[1])
        mask = torch.arange(self.capacity)[None, :] <= at[:, None]
        cos, sin = self.cos[at][:, None], self.sin[at][:, None]
        x = F.embedding(ids, self.embed)
        if self.positions is not None:
            x = x + self.positions[at]
        for layer, (keys, values) in zip(self.layers, self.cache):
            x = self.run_layer(layer, x, keys, values, at, mask, cos, sin)
        if logits_of_last:
            x = x[:, -1:]
        return F.linear(self.layers[0].norm(x), self.head)


class HuggingFace:
    """transformers' own Chameleon, without its image tokenizer's weight: that one is as small as it may be."""

    def __init__(self, s, dtype):
        import transformers

        config = transformers.ChameleonConfig(
            vocab_size=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["ffn"], num_hidden_layers=s["layers"],
            num_attention_heads=s["heads"], num_key_value_heads=s["kv_heads"], max_position_embeddings=CONTEXT,
            vocabulary_map={"<image>": 4, "IMGIMGAZ": 5}, attn_implementation="sdpa",
            vq_config={"base_channels": 32, "channel_multiplier": [1], "resolution": 32, "latent_channels": 32,
                       "embed_dim": 32, "num_embeddings": 32, "num_res_blocks": 1})
        self.transformers, self.config = transformers, config
        self.model = transformers.ChameleonForConditionalGeneration(config).eval().to(dtype)
        self.dtype = dtype
        self.ids = None

    def begin(self, sequences, capacity):
        self.cache = self.transformers.StaticCache(config=self.config, max_cache_len=capacity)

    def forward(self, ids, first, logits_of_last):
        """The cache counts for itself: it is told where it stands."""
        for layer in self.cache.layers:
            if getattr(layer, "is_initialized", False):
                layer.cumulative_length.fill_(first) if torch.is_tensor(layer.cumulative_length) else setattr(
                    layer, "cumulative_length", first)
        positions = torch.arange(first, first + ids.shape[1])[None].expand(ids.shape)
        return self.model(input_ids=ids, position_ids=positions, past_key_values=self.cache, use_cache=True,
                          logits_to_keep=1 if logits_of_last else 0).logits


def weight_bytes(s, width):
    """As bench/lm.c counts."""
    d = s["hidden"]
    kv = s["kv_heads"] * (d // s["heads"])
    layer = 2 * d * d + 2 * d * kv + (3 if s["chameleon"] else 2) * d * s["ffn"]
    return width * (layer * s["layers"] + s["vocab"] * d)


def prefill_flops(s, rows, depth):
    layers = weight_bytes(s, 1) - s["vocab"] * s["hidden"]
    pairs = rows * depth + rows * (rows + 1) / 2
    return 2 * layers * rows + 2 * s["vocab"] * s["hidden"] + 4 * pairs * s["hidden"] * s["layers"]


def measure_prefill(options, who, name, model, depth):
    s, rows = PRESETS[name], min(PREFILL_ROWS, CONTEXT - depth)
    ids = (torch.arange(rows)[None] * 7919) % s["vocab"]
    model.begin(1, depth + rows)
    seconds = measure.rounds(options, lambda: model.forward(ids, depth, True))
    half = measure.median(seconds)
    measure.emit(who, "lm", "prefill",
                 {"preset": name, "compute": options.compute, "threads": options.threads, "rows": rows, "depth": depth},
                 {"tokens_per_second": measure.samples("tok/s", [rows / t for t in seconds]),
                  "ms": measure.number("ms", 1e3 * half),
                  "gflops": measure.number("GFLOP/s", prefill_flops(s, rows, depth) / half / 1e9)})


def measure_decode(options, who, name, model, depth, sequences):
    s, steps = PRESETS[name], 0
    ids = (torch.arange(sequences)[:, None] * 7919) % s["vocab"]
    model.begin(sequences, depth + WINDOW)

    def step():
        nonlocal steps
        model.forward(ids, depth + steps % WINDOW, False)
        steps += 1

    seconds = measure.rounds(options, step)
    half, weights = measure.median(seconds), weight_bytes(s, DTYPES[options.compute].itemsize)
    measure.emit(who, "lm", "decode",
                 {"preset": name, "compute": options.compute, "threads": options.threads, "sequences": sequences,
                  "depth": depth},
                 {"tokens_per_second": measure.samples("tok/s", [sequences / t for t in seconds]),
                  "tokens_per_second_each": measure.number("tok/s each", 1 / half),
                  "ms_per_step": measure.number("ms/step", 1e3 * half),
                  "weight_megabytes": measure.number("MB weights", weights / 1e6),
                  "weights_gb_per_second": measure.number("GB/s weights", weights / half / 1e9)})


def measure_model(options, who, name, model):
    for depth in options.depth:
        torch._dynamo.reset()
        measure_prefill(options, who, name, model, depth)
    for sequences in options.sequences:
        for depth in options.depth:
            torch._dynamo.reset()
            measure_decode(options, who, name, model, depth, sequences)


def hugging_face(s, dtype):
    """None, and a word about it, where transformers is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        print("lm.py: transformers is not installed, so its Chameleon is left out", file=sys.stderr)
        return None, None
    model = HuggingFace(s, dtype)
    return model, "transformers " + model.transformers.__version__


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--preset", default="toybox,cm3leon-350m,cm3leon-760m,odd")
    parser.add_argument("--depth", type=measure.integers, default=[0, 1024, 2048])
    parser.add_argument("--sequences", type=measure.integers, default=[1, 2, 4, 8])
    parser.add_argument("--compute", choices=list(DTYPES), default="bf16")
    options = parser.parse_args()
    measure.begin(options)
    for name in options.preset.split(","):
        if name not in PRESETS:
            parser.error(f"there is no preset {name}; there are {', '.join(PRESETS)}")
        s, dtype = PRESETS[name], DTYPES[options.compute]
        with torch.inference_mode():
            measure_model(options, measure.torch_name(False), name, Plain(s, dtype, False))
            if options.compiled:
                measure_model(options, measure.torch_name(True), name, Plain(s, dtype, True))
            model, who = hugging_face(s, dtype) if s["chameleon"] else (None, None)
            if model:
                measure_model(options, who, name, model)


main()
