"""Writes what other people's software makes of the formats that lib/files/ reads."""

import io
import json
import tarfile

import numpy
import torch
from safetensors.torch import save_file

torch.manual_seed(0)
save_file(
    {
        "a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "b": torch.tensor([1.5, -2.25, 3.0], dtype=torch.bfloat16),
        "c.half": torch.tensor([[0.5], [65504.0]], dtype=torch.float16),
        "ids": torch.tensor([-1, 1 << 40], dtype=torch.int64),
        "bytes": torch.tensor([1, 2, 255], dtype=torch.uint8),
        "signed": torch.tensor([-128, 127], dtype=torch.int8),
        "words": torch.tensor([[[-5]]], dtype=torch.int32),
        "scalar": torch.tensor(7.0),
        "empty": torch.zeros(0, 3),
    },
    "small.safetensors",
    metadata={"format": "pt", "note": "grüße"},
)


def add(archive, name, data, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.type = kind
    info.mtime = 1700000000
    if kind == tarfile.LNKTYPE:
        info.linkname = "s/0001.txt"
    archive.addfile(info, io.BytesIO(data))


members = [
    ("s", b"", tarfile.DIRTYPE),
    ("s/.hidden.txt", b"not read", tarfile.REGTYPE),
    ("s/0001.txt", "ein roter Kreis – größer".encode(), tarfile.REGTYPE),
    ("s/0001.cls", b"3", tarfile.REGTYPE),
    ("s/0001.jpg", bytes(range(256)) * 3, tarfile.REGTYPE),
    ("s/0001.seg.png", b"another picture", tarfile.REGTYPE),
    ("s/0002.cls", b"4", tarfile.REGTYPE),
    ("s/0003.json", json.dumps({"text": "two squares"}).encode(), tarfile.REGTYPE),
    ("s/0003.PNG", b"\x89PNG", tarfile.REGTYPE),
    ("s/link.txt", b"", tarfile.LNKTYPE),
    ("s/grün." + "txt", b"", tarfile.REGTYPE),
    ("d.x/" + "long" * 40 + "/0004.txt", b"deep", tarfile.REGTYPE),
]
for name, form in (("pax.tar", tarfile.PAX_FORMAT), ("gnu.tar", tarfile.GNU_FORMAT)):
    with tarfile.open(name, "w", format=form) as archive:
        for member in members:
            add(archive, *member)
