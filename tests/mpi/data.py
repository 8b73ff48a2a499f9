"""Small pictures with captions as shards, and configurations of small models."""
import io
import json
import struct
import tarfile
import zlib

SIDE = 16
VQ = {"resolution": SIDE, "in_channels": 3, "base_channels": 8, "channel_multiplier": [1, 2], "num_res_blocks": 1,
      "attn_resolutions": [], "attn_type": "none", "latent_channels": 4, "embed_dim": 4, "num_embeddings": 16,
      "norm_groups": 4, "patch_size": 2}
LM = {"hidden_size": 32, "layers": 2, "heads": 4, "ffn_size": 48, "max_positions": 64}
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
ENCODER = {"projection_dim": 8, "text_config": TOWER | {"max_position_embeddings": 40},
           "vision_config": TOWER | {"image_size": SIDE, "patch_size": 8}}
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "white": (240, 240, 240),
           "black": (10, 10, 10)}


def png(rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows)))
            + chunk(b"IEND", b""))


def picture(colour, column):
    inside, outside = bytes(COLOURS[colour]), bytes((90, 90, 120))
    return png([b"".join(inside if column <= x < column + 6 and 4 <= y < 12 else outside for x in range(SIDE))
                for y in range(SIDE)])


def shard(path, first, count):
    with tarfile.open(path, "w") as tar:
        for i in range(first, first + count):
            colour, column = list(COLOURS)[i % 5], i * 3 % 10 + i // 100 * 7
            text = {"text": [f"a {colour} square at {column}", f"the square is {colour}"], "query": f"{colour} at {column}"}
            for name, data in ((f"{i:03}.png", picture(colour, column)), (f"{i:03}.json", json.dumps(text).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
