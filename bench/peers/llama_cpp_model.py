"""A GGUF file of random weights in Chameleon's architecture: python3 llama_cpp_model.py SHAPE bf16|q8|q4 FILE.

q8 is q8_0, q4 is q4_0 with the table of tokens and the head in q8_0, as cm3 convert has it.
"""
import sys

import gguf
import numpy as np

SHAPES = {  # layers, width, feed-forward, heads, kv heads
    "a": (24, 1024, 4096, 16, 16),
    "b": (16, 2048, 5504, 16, 16),
    "chameleon-7b": (32, 4096, 11008, 32, 32),
}
VOCAB = 65536
KIND = gguf.GGMLQuantizationType


def matrix(writer, name, rows, columns, kind, random):
    """Blocks with ordinary scales and any integers."""
    if kind == KIND.BF16:
        values = (random.standard_normal((rows, columns), dtype=np.float32) * 0.02).view(np.uint32) >> 16
        writer.add_tensor(name, values.astype(np.uint16).view(np.uint8).reshape(rows, 2 * columns), raw_dtype=kind)
        return
    bytes_each = {KIND.Q8_0: 32, KIND.Q4_0: 16}[kind]
    blocks = np.empty((rows, columns // 32, 2 + bytes_each), np.uint8)
    blocks[:, :, :2] = np.frombuffer(np.float16(0.0004).tobytes(), np.uint8)
    blocks[:, :, 2:] = random.integers(0, 256, (rows, columns // 32, bytes_each), dtype=np.uint8)
    writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=kind)


def main(shape, weights, path):
    layers, d, ffn, heads, kv_heads = SHAPES[shape]
    kind = {"bf16": KIND.BF16, "q8": KIND.Q8_0, "q4": KIND.Q4_0}[weights]
    ends = KIND.Q8_0 if kind == KIND.Q4_0 else kind
    random = np.random.default_rng(1)
    head = d // heads
    writer = gguf.GGUFWriter(path, "chameleon", use_temp_file=True)
    writer.add_context_length(4096)
    writer.add_embedding_length(d)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_swin_norm(False)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("no_vocab")
    matrix(writer, "token_embd.weight", VOCAB, d, ends, random)
    matrix(writer, "output.weight", VOCAB, d, ends, random)
    writer.add_tensor("output_norm.weight", np.ones(d, np.float32))
    for i in range(layers):
        b = f"blk.{i}."
        writer.add_tensor(b + "attn_norm.weight", np.ones(d, np.float32))
        writer.add_tensor(b + "ffn_norm.weight", np.ones(d, np.float32))
        for name, n in (("q", heads), ("k", kv_heads)):
            writer.add_tensor(f"{b}attn_{name}_norm.weight", np.ones((n, head), np.float32))
            writer.add_tensor(f"{b}attn_{name}_norm.bias", np.zeros((n, head), np.float32))
        matrix(writer, b + "attn_q.weight", d, d, kind, random)
        matrix(writer, b + "attn_k.weight", kv_heads * head, d, kind, random)
        matrix(writer, b + "attn_v.weight", kv_heads * head, d, kind, random)
        matrix(writer, b + "attn_output.weight", d, d, kind, random)
        matrix(writer, b + "ffn_gate.weight", ffn, d, kind, random)
        matrix(writer, b + "ffn_up.weight", ffn, d, kind, random)
        matrix(writer, b + "ffn_down.weight", d, ffn, kind, random)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
