#!/usr/bin/env python3
"""Makes chameleon-swin/model.safetensors (the text model of the five shards, one file) and ref/chameleon-swin.safetensors
(what transformers computed from it) of the folder that make_reference.py writes: merge.py FOLDER"""
import glob
import os
import sys

import torch  # noqa: F401  (bfloat16)
from safetensors.torch import load_file, save_file

source, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
weights = {}
for shard in sorted(glob.glob(os.path.join(source, "chameleon-swin", "model-*.safetensors"))):
    weights.update({k: v for k, v in load_file(shard).items() if ".vqmodel." not in k})
save_file(weights, os.path.join(here, "chameleon-swin", "model.safetensors"), metadata={"format": "pt"})
ref = load_file(os.path.join(source, "ref", "chameleon-swin.safetensors"))
parts = ("text.", "greedy.", "mixed.input", "mixed.processor", "decode.", "image.wide.codes")
keep = {k: v for k, v in ref.items() if k.startswith(parts) and "masked" not in k and "pixels" not in k}
save_file(keep, os.path.join(here, "ref", "chameleon-swin.safetensors"))
