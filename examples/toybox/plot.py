#!/usr/bin/env python3
"""Draws the loss curves of a run's log.jsonl as an SVG picture. Usage: plot.py LOG.jsonl OUT.svg [TITLE]"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 60, 20, 40, 50


def read(path):
    """Each series as a list of (step, value): training losses, validation losses."""
    series = {"loss": [], "image_loss": [], "text_loss": [], "validation_loss": []}
    for line in open(path, encoding="utf-8"):
        entry = json.loads(line)
        for name, points in series.items():
            if entry.get(name):
                held_out = "validation_loss" in entry
                if name == "validation_loss" or not held_out:
                    points.append((entry["step"], entry[name]))
    return {name: points for name, points in series.items() if points}


def main():
    series = read(sys.argv[1])
    title = sys.argv[3] if len(sys.argv) > 3 else sys.argv[1]
    last = max(step for points in series.values() for step, _ in points)
    values = [v for points in series.values() for _, v in points]
    low, high = math.log(min(values)), math.log(max(values))

    def place(step, value):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log(value)) / (high - low or 1)
        return f"{x:.1f},{y:.1f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="24" font-size="15">{title}</text>']
    for i in range(6):
        value = math.exp(low + (high - low) * i / 5)
        y = place(0, value).split(",")[1]
        out.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/><text x="8" y="{y}">{value:.3g}</text>')
        step = last * i // 5
        x = place(step, math.exp(low)).split(",")[0]
        out.append(f'<text x="{x}" y="{HEIGHT - 28}" text-anchor="middle">{step}</text>')
    colours = {"loss": "#1971c2", "image_loss": "#2f9e44", "text_loss": "#9c36b5", "validation_loss": "#e03131"}
    for index, (name, points) in enumerate(series.items()):
        line = " ".join(place(step, value) for step, value in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="1.4"/>')
        out.append(f'<text x="{LEFT + 150 * index}" y="{HEIGHT - 8}" fill="{colours[name]}">{name.replace("_", " ")}</text>')
    out.append("</svg>")
    open(sys.argv[2], "w", encoding="utf-8").write("\n".join(out) + "\n")


main()
