#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, but for the inputs that once broke something (broken-*), which stay.

    make_seeds.py BUILD_DIR      (a build with the target fuzz_make_models)

Everything is made here, or taken from tests/data, where a script beside it tells how it was made.
"""
import io
import json
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
SEEDS = HERE / "seeds"


def folder(target):
    """The target's folder of seeds, emptied of what is written here."""
    path = SEEDS / target
    path.mkdir(parents=True, exist_ok=True)
    for seed in path.iterdir():
        if not seed.name.startswith("broken-"):
            seed.unlink()
    return path


def models(build):
    path = folder("model")
    subprocess.run(["cmake", "--build", build, "--target", "fuzz_make_models"], check=True)
    tools = [tool for tool in Path(build).rglob("fuzz_make_models") if tool.is_file()]
    subprocess.run([tools[0], path], check=True)
    encoder(build, path / "eyes.cm3")


def encoder(build, path):
    """The half of a CLIP that sees, in q8."""
    hidden, side, patch, random, header, data = 32, 8, 4, 12345, {}, b""
    grid = (side // patch) ** 2 + 1
    shapes = {"embeddings.class_embedding": [hidden], "embeddings.patch_embedding.weight": [hidden, 3, patch, patch],
              "embeddings.position_embedding.weight": [grid, hidden]}
    layer = "encoder.layers.0."
    for norm in ("pre_layrnorm", "post_layernorm", layer + "layer_norm1", layer + "layer_norm2"):
        shapes |= {norm + ".weight": [hidden], norm + ".bias": [hidden]}
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"):
        shapes |= {layer + name + ".weight": [hidden, hidden], layer + name + ".bias": [hidden]}
    shapes = {"vision_model." + name: shape for name, shape in shapes.items()}
    shapes["visual_projection.weight"] = [8, hidden]
    for name, shape in shapes.items():
        count = 1
        for n in shape:
            count *= n
        values = []
        for _ in range(count):
            random = (random * 1103515245 + 12345) % 2**31
            values.append(random / 2**31 - 0.5)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *values)
    config = {"model_type": "clip_vision_model", "hidden_size": hidden, "intermediate_size": hidden, "image_size": side,
              "patch_size": patch, "num_attention_heads": 2, "num_hidden_layers": 1, "projection_dim": 8}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        (Path(folder) / "model.safetensors").write_bytes(tensor_file(header, data))
        tools = [tool for tool in Path(build).rglob("cm3") if tool.is_file()]
        subprocess.run([tools[0], "convert", folder, path, "--weights", "q8", "--block", "32", "--quiet"], check=True)


def tensor_file(header, data, length=None):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def short(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def storage(kind="FloatStorage", key="0", count=6):
    return b"(" + short("storage") + f"ctorch\n{kind}\n".encode() + short(key) + short("cpu") + b"K" + bytes([count]) + b"tQ"


def tensor(inside, function="_rebuild_tensor_v2"):
    return f"ctorch._utils\n{function}\n(".encode() + inside + b"\x89ccollections\nOrderedDict\n)RtR"


def number(value):
    return b"K" + bytes([value])


def pickles():
    """Small ones of every kind that is read, as torch.save() writes them."""
    matrix = tensor(storage() + number(0) + number(2) + number(3) + b"\x86" + number(3) + number(1) + b"\x86")
    turned = tensor(storage() + number(0) + number(3) + number(2) + b"\x86" + number(1) + number(3) + b"\x86")
    scalar = tensor(storage("LongStorage", "1", 1) + number(0) + b")" + b")")
    return {
        "matrix": b"\x80\x02}" + short("w") + matrix + b"s.",
        "several": b"\x80\x02}q\x00(" + short("a") + matrix + b"q\x01" + short("b") + b"h\x01" + short("t") + turned + b"u.",
        "state-dict": b"\x80\x02}" + short("state_dict") + b"ccollections\nOrderedDict\n)R(" + short("w") + matrix + b"u"
                      + b"}" + short("_metadata") + b"}sbs.",
        "scalar": b"\x80\x02}(" + short("n") + scalar + short("epoch") + b"M\x10\x27" + short("lr") + b"G?\xf0\0\0\0\0\0\0u.",
        "parameter": b"\x80\x02}" + short("p") + b"ctorch._utils\n_rebuild_parameter\n(" + matrix + b"\x88ccollections\nOrderedDict\n)RtRs.",
        "framed": b"\x80\x04\x95\x14\0\0\0\0\0\0\0}\x94(\x8c\x01aK\x01\x8c\x01b]\x94(K\x01K\x02eu.",
        "tuples": b"\x80\x02(K\x01K\x02\x86N\x88\x89)\x85J\xff\xff\xff\xff\x8a\x02\x01\x02t.",
        "system": b"\x80\x02cos\nsystem\n" + short("ls") + b"\x85R.",
    }


def pickle_seeds():
    path = folder("pickle")
    for name, data in pickles().items():
        (path / name).write_bytes(data)


def torch_seeds():
    path = folder("torch")
    for name, data in pickles().items():
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("m/data.pkl", data)
            archive.writestr("m/byteorder", "little")
            archive.writestr("m/data/0", struct.pack("<6f", *range(6)))
            archive.writestr("m/data/1", struct.pack("<q", 7))
        (path / name).write_bytes(stream.getvalue())


def config_seeds():
    path = folder("config")
    chameleon = json.loads((DATA / "parity/chameleon/config.json").read_text())
    chameleon.pop("vocabulary_map", None)
    old = {**chameleon, "rope_theta": 10000.0, "rope_scaling": None}
    old.pop("rope_parameters", None)
    texts = {
        "chameleon": "h" + json.dumps(chameleon),
        "chameleon-2024": "h" + json.dumps(old),
        "clip": "c" + (DATA / "parity/clip/config.json").read_text(),
        "clip-text": "c" + json.dumps({"model_type": "clip_text_model", "hidden_size": 32, "num_attention_heads": 4}),
        "params": "m" + (DATA / "parity/meta-swin/models/tiny/params.json").read_text(),
        "preprocessor": "p" + (DATA / "parity/clip/preprocessor_config.json").read_text(),
        "yaml": "y" + (DATA / "parity/meta-swin/tokenizer/vqgan.yaml").read_text(),
        "yaml-flow": "y{model: {params: {embed_dim: 16, n_embed: 64, ddconfig: {ch: 32, ch_mult: [1, 2]}}}}",
    }
    for name, text in texts.items():
        (path / name).write_text(text)


def safetensors():
    path = folder("safetensors")
    shutil.copy(DATA / "files/small.safetensors", path / "all-types")
    entry = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    byte = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    half = {"dtype": "F16", "shape": [2], "data_offsets": [1, 5]}
    cases = {
        "one": tensor_file({"a": entry}, bytes(8)),
        "metadata": tensor_file({"__metadata__": {"format": "pt"}, "a": entry}, bytes(8)),
        "misaligned": tensor_file({"b": byte, "h": half}, bytes(5)),
        "padding": tensor_file({"pad.0": byte, "h": half}, bytes(5)),
        "empty": tensor_file({}, b""),
        "no-elements": tensor_file({"e": {"dtype": "I64", "shape": [0, 7], "data_offsets": [0, 0]}}, b""),
        "scalar": tensor_file({"s": {"dtype": "I32", "shape": [], "data_offsets": [0, 4]}}, bytes(4)),
        "huge-header": tensor_file(b"{}", b"", 1 << 62),
        "huge-shape": tensor_file({"a": {**entry, "shape": [1 << 40, 1 << 40]}}, bytes(8)),
        "overlap": tensor_file({"a": entry, "b": entry}, bytes(8)),
        "nested": tensor_file(b"[" * 80, b""),
    }
    for name, content in cases.items():
        (path / name).write_bytes(content)


BYTES = [b for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or 174 <= b < 256]
ALPHABET = {b: chr(b) for b in BYTES} | {
    b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in BYTES)}


def byte_level():
    names = ["<s>", "</s>"] + [ALPHABET[b] for b in range(256)] + ["he", "llo", "hello", "\u0120hello"]
    merges = [["h", "e"], ["l", "l"], ["ll", "o"], ["he", "llo"], ["\u0120", "hello"]]
    names.insert(-1, "ll")
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": 0, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": True},
            {"id": 1, "content": "</s>", "special": True, "normalized": False, "lstrip": True}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {name: i for i, name in enumerate(names)}, "merges": merges},
    }


def fallback():
    names = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "a", "b", "\u2581a", "ab"]
    return {
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<unk>", "special": True}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
                  "vocab": {name: i for i, name in enumerate(names)}, "merges": ["\u2581 a", "a b"]},
    }


def small(pre_tokenizer=None, normalizer=None, **model):
    names = list("abcdefgh .,'0123") + ["ab", "abc", "<unk>"]
    return {"version": "1.0", "added_tokens": [{"id": 40, "content": "<x>", "single_word": True}],
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "model": {"type": "BPE", "vocab": {name: i for i, name in enumerate(names)},
                      "merges": ["a b", "ab c"], **model}}


def tokenizers():
    path = folder("tokenizer")
    regex = {"type": "Split", "pattern": {"Regex": "[a-c]+|\\s+(?!\\S)| ?\\d{1,3}|."}, "behavior": "Isolated"}
    clip = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Removed", "invert": True, "pattern": {
            "Regex": "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|"
                     "[^\\s\\p{L}\\p{N}]+"}},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}
    folding = {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]}
    cases = {
        "byte-level": (byte_level(), "hello <s> hello</s> caf\u00e9 \u20ac"),
        "fallback": (fallback(), "a b \u20ac ab"),
        "regex": (small(regex), "abc 123 a. a"),
        "clip": (small(clip, folding, end_of_word_suffix="ab", unk_token="<unk>"), "ABC  ab's 12"),
        "spaces": (small({"type": "WhitespaceSplit"}, unk_token="<unk>"), "ab abc\tz"),
        "digits": (small({"type": "Digits", "individual_digits": True}, ignore_merges=True), "ab 123 <x>"),
        "punctuation": (small({"type": "Punctuation", "behavior": "MergedWithPrevious"}), "a,b.c 'a"),
        "prefix": (small(continuing_subword_prefix="b"), "abc <x> abc"),
        "no-components": (small(), "abc\nabc"),
    }
    for name, (tokenizer, text) in cases.items():
        content = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
        (path / name).write_bytes(content.encode() + b"\0" + text.encode())
    not_text = json.dumps(small(), separators=(",", ":")).encode() + b"\0abc\xff\xfe\xe2\x82 a\x80"
    (path / "not-text").write_bytes(not_text)


def pictures():
    for target, ending in (("jpeg", ".jpg"), ("png", ".png")):
        path = folder(target)
        for picture in sorted((DATA / "image/pictures").glob("*" + ending)):
            if picture.stat().st_size < 5000:
                shutil.copy(picture, path / picture.stem)


def shard(form, members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    blocks = buffer.getvalue().rstrip(b"\0")
    return blocks + bytes(-len(blocks) % 512 + 1024)  # without the filling up to 10240


def records():
    path = folder("records")
    picture = (DATA / "image/pictures/rgb-one-pixel.png").read_bytes()
    members = [("s/1.txt", b"a red ball\n"), ("s/1.png", picture), ("s/1.cls", b"3"),
               ("s/2.json", json.dumps({"text": ["one", "two \u20ac"], "codes": [1, 2, 65535],
                                        "codebook": "0123456789abcdef"}).encode()),
               ("s/3.json", b'{"text": "three", "codes": []}'), ("s/3.jpg", b"\xff\xd8\xff")]
    long_name = [("d.x/" + "long" * 40 + "/gr\u00fcn.txt", b"deep")]
    (path / "ustar").write_bytes(shard(tarfile.USTAR_FORMAT, members))
    (path / "pax").write_bytes(shard(tarfile.PAX_FORMAT, long_name))
    (path / "gnu").write_bytes(shard(tarfile.GNU_FORMAT, long_name))
    (path / "one").write_bytes(shard(tarfile.USTAR_FORMAT, [("1.txt", b"a")]))
    (path / "cut").write_bytes(shard(tarfile.USTAR_FORMAT, members)[:1700])
    lines = [{"text": "a red ball", "image": "a.png", "key": "k"}, {"text": ["a", "b"], "codes": [0, 7, 511]},
             {"text": None, "codebook": "fedcba9876543210"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / "lines").write_text(text + '\n  \n"only a text"\r\n{"text": "the last without an end"}')
    (path / "line").write_text('{"text": "a"}')
    (path / "string").write_text('"a \\u20ac \\ud83d\\ude00"\n')


def ids():
    path = folder("detokenise")
    first = 4 + 16 + 4  # special tokens; bytes follow, as both tokenizers of the target have them
    order = BYTES + [b for b in range(256) if b not in BYTES]
    for kind, place in (("bytes", lambda b: first + order.index(b)), ("fallback", lambda b: first + b)):
        flag = kind == "fallback"
        for name, text in {
            "text": "a \u20ac \u00e9 \U0001f600".encode(),
            "parts": b"\xe2\x82\xe2\x82\xac\xf0\x9f\x98a\xf0\x9f\x98\x80\xc3",
            "wrong": b"\x80\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe0\x80\x80\xf8\x88\x80\x80\x80",
            "nul": b"a\0b \xe2\0\x82",
        }.items():
            said = b"".join(struct.pack("<H", place(b)) for b in text)
            (path / f"{kind}-{name}").write_bytes(bytes([flag]) + said)
            (path / f"{kind}-{name}-ended").write_bytes(bytes([flag | 2]) + said)
        tail = b"".join(struct.pack("<H", first + 256 + i) for i in range(12))
        (path / f"{kind}-merges").write_bytes(bytes([flag | 2]) + tail)
    (path / "nothing").write_bytes(b"\2")
    (path / "no-ids").write_bytes(b"\0" + struct.pack("<5i", -1, 5, 2**31 - 1, -2**31, 300))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    models(sys.argv[1])
    safetensors()
    tokenizers()
    pictures()
    records()
    pickle_seeds()
    torch_seeds()
    config_seeds()
    ids()
    total = sum(seed.stat().st_size for seed in SEEDS.rglob("*") if seed.is_file())
    print(f"{total} bytes of seeds")


if __name__ == "__main__":
    main()
