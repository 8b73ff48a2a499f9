"""Writes mixing.json: what NumPy makes of the formulas of guidance and contrastive decoding, in float64.

    python3 make_mixing.py    (NumPy 2.x; seed 7)
"""
import json
from pathlib import Path

import numpy as np


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def contrast(c, u, alpha, k):
    """Yu et al. 2023, eq. 3 (k = 1: Li et al. 2022, eq. 2 to 4)."""
    expert, amateur = log_softmax(c), log_softmax(u)
    kth = np.sort(expert)[::-1][min(k, len(c)) - 1]
    return np.where(np.exp(expert) >= alpha * np.exp(kth), expert - amateur, -np.inf)


def main():
    random = np.random.default_rng(7)
    cases = []
    for n, alpha, k, scale, image_scale in [(12, 0.1, 1, 3.0, 1.2), (40, 0.5, 4, 7.5, 1.5), (40, 1.0, 7, 0.5, 0.0),
                                            (5, 0.9, 9, 1.0, 1.0), (257, 0.05, 30, 4.0, 2.0)]:
        c, u, p = (random.normal(0, 2, n).astype(np.float32).astype(np.float64) for _ in range(3))
        barred = sorted(random.choice(n, n // 4, replace=False).tolist())
        allowed = np.ones(n, bool)
        allowed[barred] = False
        scores = np.full(n, -np.inf)
        scores[allowed] = contrast(c[allowed], u[allowed], alpha, k)
        own = np.full(n, -np.inf)
        own[allowed] = log_softmax(c[allowed])
        finite = lambda x: [None if not np.isfinite(v) else float(v) for v in x]
        cases.append({"c": c.tolist(), "u": u.tolist(), "p": p.tolist(), "barred": barred, "alpha": alpha, "k": k,
                      "scale": scale, "image_scale": image_scale,
                      "guided": (u + scale * (c - u)).tolist(),
                      "three": (u + image_scale * (p - u) + scale * (c - p)).tolist(),
                      "contrast": finite(scores - scores[np.isfinite(scores)].max()), "own": finite(own)})
    Path(__file__).with_name("mixing.json").write_text(json.dumps({"cases": cases}) + "\n")


if __name__ == "__main__":
    main()
