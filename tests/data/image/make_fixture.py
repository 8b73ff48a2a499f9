"""Makes the test data of lib/image/ beside this script: what Pillow 13 says of small pictures. Needs NumPy and Pillow.

pictures/  JPEG and PNG files of many kinds, the unusual PNGs written here byte by byte
expected/  the RGB pixels that Pillow makes of them, as plain RGB PNGs
resample.bin, meta.bin, hf.bin  see the functions that write them; all numbers little-endian
"""

import io
import os
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def noise(width, height, seed):
    """Pixels that the tests compute too: byte i is a hash of i and the seed. Odd seeds: 0 and 255 only."""
    i = np.arange(width * height * 3, dtype=np.uint32)
    with np.errstate(over="ignore"):
        v = i * np.uint32(2654435761) + np.uint32(seed) * np.uint32(40503)
        v ^= v >> np.uint32(15)
        v *= np.uint32(2246822519)
        v ^= v >> np.uint32(13)
    v = (v >> np.uint32(24)).astype(np.uint8)
    if seed % 2:
        v = np.where(v > 127, 255, 0).astype(np.uint8)
    return v.reshape(height, width, 3)


def scene(width, height, seed=0):
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [127 + 120 * np.sin(x / 5 + y / 9 + c) * np.cos(y / 4 - c) for c in range(3)]
    grain = np.random.RandomState(seed).uniform(-8, 8, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + grain, 0, 255).astype(np.uint8))


# --- pictures -------------------------------------------------------------------------------------------------------

def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def jpegs():
    rgb = scene(37, 29)
    yield "444", jpeg(rgb, quality=85, subsampling=0)
    yield "422", jpeg(rgb, quality=85, subsampling=1)
    yield "420", jpeg(rgb, quality=85, subsampling=2)
    yield "420-progressive", jpeg(scene(61, 50), quality=60, subsampling=2, progressive=True)
    yield "444-progressive", jpeg(rgb, quality=90, subsampling=0, progressive=True)
    yield "420-restart", jpeg(rgb, quality=80, subsampling=2, restart_marker_blocks=2)
    yield "420-one-pixel", jpeg(scene(1, 1), subsampling=2)
    yield "420-narrow", jpeg(scene(3, 41), subsampling=2)
    yield "grey", jpeg(rgb.convert("L"), quality=85)
    yield "grey-progressive", jpeg(rgb.convert("L"), quality=85, progressive=True)
    yield "rgb", jpeg(rgb, quality=85, keep_rgb=True)
    cmyk = jpeg(rgb.convert("CMYK"), quality=85)
    yield "cmyk", cmyk
    yield "cmyk-progressive", jpeg(rgb.convert("CMYK"), quality=85, progressive=True)
    # The same four components taken for luminance, two differences and black.
    at = cmyk.index(b"Adobe") + 11
    assert cmyk[at] == 0
    yield "ycck", cmyk[:at] + b"\2" + cmyk[at + 1:]
    # Harmless bytes between the last scan and the end; bytes after the end.
    plain = jpeg(rgb, quality=85, subsampling=2)
    yield "420-padded", plain[:-2] + bytes(40) + plain[-2:] + b"after the end"
    restart = jpeg(rgb, quality=80, subsampling=2, restart_marker_blocks=2)
    yield "420-restart-padded", restart[:-2] + b"padding!" * 5 + restart[-2:]


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, colour, interlaced=False, chunks=()):
    """samples [height, width, channels] of `depth` bits; the filter of row y is y % 5."""
    height, width, channels = samples.shape

    def rows(part):
        packed = []
        for row in part.reshape(part.shape[0], -1).astype(np.uint32):
            if depth == 16:
                packed.append(row.astype(">u2").tobytes())
            elif depth == 8:
                packed.append(row.astype(np.uint8).tobytes())
            else:
                bits = "".join(format(v, f"0{depth}b") for v in row)
                bits += "0" * (-len(bits) % 8)
                packed.append(bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)))
        step = max(1, channels * depth // 8)
        out, before = b"", bytes(len(packed[0]))
        for y, row in enumerate(packed):
            kind, line = y % 5, bytearray()
            for i, value in enumerate(row):
                a = row[i - step] if i >= step else 0
                b, c = before[i], before[i - step] if i >= step else 0
                near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
                line.append((value - (0, a, b, (a + b) // 2, near)[kind]) & 255)
            out += bytes([kind]) + bytes(line)
            before = row
        return out

    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        data = b"".join(rows(p) for p in parts if p.size)
    else:
        data = rows(samples)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*c) for c in chunks) +
            chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def pngs():
    rgb = np.asarray(scene(37, 29))
    alpha = (np.arange(29)[:, None] * 9 + np.arange(37) * 5).clip(0, 255).astype(np.uint8)
    grey, index = rgb[:, :, :1], rgb[:, :, :1] % 16
    palette = (b"PLTE", noise(16, 1, 8).tobytes())
    wide = rgb.astype(np.uint16) * 256 + (255 - rgb)
    yield "rgb", png(rgb, 8, 2)
    yield "rgb-interlaced", png(rgb, 8, 2, True)
    yield "rgb-noise", png(noise(23, 11, 4), 8, 2)
    yield "rgb-one-pixel", png(rgb[:1, :1], 8, 2, True)
    yield "rgb-transparent", png(rgb // 64, 8, 2, chunks=[(b"tRNS", struct.pack(">HHH", 1, 1, 1))])
    yield "rgb16", png(wide, 16, 2)
    yield "rgba", png(np.dstack([rgb, alpha]), 8, 6)
    yield "rgba-interlaced", png(np.dstack([rgb, alpha]), 8, 6, True)
    yield "rgba16", png(np.dstack([wide, alpha.astype(np.uint16) * 257]), 16, 6)
    yield "grey", png(grey, 8, 0)
    for depth in (1, 2, 4):
        yield f"grey{depth}", png(grey >> (8 - depth), depth, 0)
        yield f"palette{depth}", png(index % (1 << depth), depth, 3, chunks=[palette])
    yield "grey-transparent", png(grey // 32, 8, 0, chunks=[(b"tRNS", struct.pack(">H", 3))])
    yield "grey-alpha", png(np.dstack([grey, alpha]), 8, 4)
    yield "palette", png(index, 8, 3, chunks=[palette])
    yield "palette-interlaced", png(index, 4, 3, True, [palette])
    yield "palette-transparent", png(index, 8, 3, chunks=[palette, (b"tRNS", bytes(range(0, 256, 32)))])
    # Every byte under every alpha.
    a, v = np.mgrid[0:256, 0:258].astype(np.uint8)
    v[:, 256:] = 0
    yield "rgba-all", png(np.dstack([v.reshape(256, 86, 3), a[:, :86]]), 8, 6)


def over_white(image):
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def write_pictures():
    for folder in ("pictures", "expected"):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    for ending, made in (("jpg", jpegs()), ("png", pngs())):
        for name, data in made:
            with open(os.path.join(HERE, "pictures", f"{name}.{ending}"), "wb") as out:
                out.write(data)
            pixels = over_white(Image.open(io.BytesIO(data)))
            pixels.save(os.path.join(HERE, "expected", f"{name}.{ending}.png"), optimize=True)


# --- resampling -----------------------------------------------------------------------------------------------------

def write_resample():
    """Until the end: u32 width, height, seed of noise(), width, height of the result, filter (1 bicubic, 2 Lanczos);
    the result's bytes."""
    random = np.random.RandomState(1)
    sizes = [(1, 1, 9, 5), (2, 2, 31, 2), (17, 17, 17, 17), (5000, 3, 7, 9), (3, 5000, 9, 7), (65500, 1, 17, 3),
             (1, 65500, 3, 17), (40, 90, 40, 31), (90, 40, 31, 40), (100, 100, 80, 59), (100, 100, 80, 60),
             (100, 100, 80, 61), (30, 60, 40, 30), (30, 60, 60, 59), (60, 30, 30, 40), (64, 64, 1, 1),
             (300, 200, 37, 41)]
    for i in range(60):
        sizes.append(tuple(int(v) for v in random.randint(1, (9, 30, 60)[i % 3], 4)))
    with open(os.path.join(HERE, "resample.bin"), "wb") as out:
        for seed, (w0, h0, w1, h1) in enumerate(sizes):
            image = Image.fromarray(noise(w0, h0, seed))
            for code, kind in ((1, Image.Resampling.BICUBIC), (2, Image.Resampling.LANCZOS)):
                out.write(struct.pack("<6I", w0, h0, seed, w1, h1, code) + image.resize((w1, h1), kind).tobytes())


# --- pictures as numbers --------------------------------------------------------------------------------------------

def write_meta():
    """Until the end: u32 width, height, seed, side; f32 [side, side, 3] as Chameleon's own code computes them."""
    with open(os.path.join(HERE, "meta.bin"), "wb") as out:
        # Sides of 45, 47 and 49 come to 22.5, 23.5 and 24.5: each goes to the even neighbour.
        cases = [(45, 32, 16), (32, 49, 16), (32, 47, 16), (16, 16, 16), (7, 5, 12), (90, 31, 12),
                 (9, 1000, 5), (20, 14, 13)]
        for seed, (width, height, side) in enumerate(cases):
            image = Image.fromarray(noise(width, height, seed))
            scale = side / min(image.size)
            image = image.resize((round(scale * width), round(scale * height)), Image.Resampling.LANCZOS)
            x, y = (image.width - side) // 2, (image.height - side) // 2
            values = np.array(image.crop((x, y, x + side, y + side))) / 255.0 * 2 - 1
            out.write(struct.pack("<4I", width, height, seed, side) + values.astype("<f4").tobytes())


def write_hf():
    """Until the end: u32 width, height, seed, shortest edge, crop width, crop height, filter; f64 factor; f32 mean [3],
    std [3]; f32 [height, width, 3] as transformers' image processors compute them with Pillow."""
    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    ones = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    cases = [(45, 32, 16, 16, 16, 2, 0.0078, ones), (31, 77, 14, 14, 14, 1, 0.00392156862745098, clip),
             (31, 40, 18, 13, 15, 1, 1 / 255, clip), (20, 30, 9, 16, 17, 2, 0.0078, ones),
             (9, 1000, 5, 5, 5, 2, 0.0078, ones)]
    with open(os.path.join(HERE, "hf.bin"), "wb") as out:
        for seed, (width, height, edge, crop_w, crop_h, code, factor, (mean, std)) in enumerate(cases):
            image = Image.fromarray(noise(width, height, seed))
            short, long = sorted((width, height))
            other = int(edge * long / short)
            new_w, new_h = (edge, other) if width <= height else (other, edge)
            image = image.resize((new_w, new_h), (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)[code - 1])
            full = np.zeros((crop_h, crop_w, 3), np.uint8)
            top, left = (new_h - crop_h) // 2, (new_w - crop_w) // 2
            seen = np.asarray(image)[max(top, 0):top + crop_h, max(left, 0):left + crop_w]
            full[max(-top, 0):max(-top, 0) + seen.shape[0], max(-left, 0):max(-left, 0) + seen.shape[1]] = seen
            values = (full.astype(np.float64) * factor).astype(np.float32)
            values = (values - np.float32(mean)) / np.float32(std)
            out.write(struct.pack("<7Id", width, height, seed, edge, crop_w, crop_h, code, factor) +
                      np.float32(mean + std).tobytes() + values.astype("<f4").tobytes())


if __name__ == "__main__":
    assert PIL.__version__.startswith("13."), "the order of the passes is that of Pillow 13"
    write_pictures()
    write_resample()
    write_meta()
    write_hf()
