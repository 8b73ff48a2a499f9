"""The image tokenizer of cm3-bench in PyTorch: encoder with quantiser, and decoder; needs torch."""
import torch
import torch.nn as nn
import torch.nn.functional as F

import measure

SIZES = {"f8-256": (256, [1, 2, 2, 4]), "chameleon-512": (512, [1, 1, 2, 2, 4])}
BASE, BLOCKS, LATENT, CODES = 128, 2, 256, 8192


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = norm(cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2, self.conv2 = norm(cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.out(y.transpose(1, 2).reshape(x.shape))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0))


def middle(channels):
    return [Block(channels, channels), Attention(channels), Block(channels, channels)]


class Encoder(nn.Module):
    def __init__(self, multipliers):
        super().__init__()
        layers, channels = [nn.Conv2d(3, BASE, 3, padding=1)], BASE
        for level, multiplier in enumerate(multipliers):
            for _ in range(BLOCKS):
                layers.append(Block(channels, BASE * multiplier))
                channels = BASE * multiplier
            if level + 1 < len(multipliers):
                layers.append(Down(channels))
        layers += middle(channels) + [norm(channels), nn.SiLU(), nn.Conv2d(channels, LATENT, 3, padding=1),
                                      nn.Conv2d(LATENT, LATENT, 1)]
        self.layers = nn.Sequential(*layers)
        self.codebook = nn.Parameter(torch.empty(CODES, LATENT).uniform_(-1 / CODES, 1 / CODES))

    def forward(self, x):
        z = self.layers(x).permute(0, 2, 3, 1).reshape(-1, LATENT).float()
        book = self.codebook.float()
        return (book.square().sum(1) - 2 * z @ book.t()).argmin(1)


class Decoder(nn.Module):
    def __init__(self, multipliers, grid):
        super().__init__()
        channels = BASE * multipliers[-1]
        layers = [nn.Conv2d(LATENT, LATENT, 1), nn.Conv2d(LATENT, channels, 3, padding=1)] + middle(channels)
        for level in reversed(range(len(multipliers))):
            for _ in range(BLOCKS + 1):
                layers.append(Block(channels, BASE * multipliers[level]))
                channels = BASE * multipliers[level]
            if level:
                layers.append(Up(channels))
        layers += [norm(channels), nn.SiLU(), nn.Conv2d(channels, 3, 3, padding=1)]
        self.layers, self.grid = nn.Sequential(*layers), grid
        self.codebook = nn.Parameter(torch.empty(CODES, LATENT).uniform_(-1 / CODES, 1 / CODES))

    def forward(self, codes):
        z = F.embedding(codes, self.codebook).view(1, self.grid, self.grid, LATENT).permute(0, 3, 1, 2)
        return self.layers(z)


def measure_size(options, name, compute, compiled):
    resolution, multipliers = SIZES[name]
    grid = resolution >> (len(multipliers) - 1)
    dtype = torch.bfloat16 if compute == "bf16" else torch.float32
    inputs = {"encode": torch.rand(1, 3, resolution, resolution).mul(2).sub(1).to(dtype),
              "decode": torch.arange(grid * grid) * 31 % CODES}
    modules = {"encode": Encoder(multipliers), "decode": Decoder(multipliers, grid)}
    for case, module in modules.items():
        module = module.eval().to(dtype).to(memory_format=torch.channels_last)
        value = inputs[case]
        if case == "encode":
            value = value.to(memory_format=torch.channels_last)
        run = torch.compile(module) if compiled else module
        seconds = measure.rounds(options, lambda: run(value))
        measure.emit(measure.torch_name(compiled), "vq", case,
                     {"preset": name, "compute": compute, "threads": options.threads},
                     {"seconds": measure.samples("s/image", seconds)})


def main():
    options = measure.parser(__doc__).parse_args()
    measure.begin(options)
    with torch.inference_mode():
        for name in ["f8-256"] if options.quick else SIZES:
            for compute in ("f32", "bf16"):
                for compiled in (False, True) if options.compiled else (False,):
                    measure_size(options, name, compute, compiled)


main()
