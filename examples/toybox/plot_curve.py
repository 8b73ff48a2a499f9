#!/usr/bin/env python3
"""Draws a table as curve.sh prints it, shares against training tokens, as an SVG picture, and tells how many times fewer tokens reach the same
share with retrieval. Usage: plot_curve.py TABLE.tsv OUT.svg"""
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 50, 20, 40, 50
COLOURS = {"without": "#e03131", "with retrieval": "#1971c2"}


def read(path):
    """Tokens, and each column's shares, of the rows that are whole."""
    head, *rows = [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8") if line.strip()]
    rows = [[float(word) for word in row] for row in rows if len(row) == len(head) and all(row)]
    return [row[0] for row in rows], {name: [row[i + 1] for row in rows] for i, name in enumerate(head[1:])}


def reached(tokens, shares, share):
    """Tokens at which a curve first comes to a share, straight between points; from nothing at the start. None: never."""
    before, low = 0.0, 0.0
    for at, high in zip(tokens, shares):
        if high >= share:
            return before + (at - before) * ((share - low) / (high - low) if high > low else 1)
        before, low = at, high
    return None


def main():
    tokens, series = read(sys.argv[1])

    def place(x, y):
        return (f"{LEFT + (WIDTH - LEFT - RIGHT) * x / tokens[-1]:.1f}",
                f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y:.1f}")

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">Whole scenes right, by million tokens of training</text>']
    for i in range(6):
        y = place(0, i / 5)[1]
        out.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/><text x="12" y="{y}">{i / 5:.1f}</text>')
    for at in tokens:
        out.append(f'<text x="{place(at, 0)[0]}" y="{HEIGHT - 28}" text-anchor="middle">{at:.1f}</text>')
    for index, (name, shares) in enumerate(series.items()):
        colour = COLOURS.get(name, "#2f9e44")
        line = " ".join(",".join(place(*point)) for point in zip(tokens, shares))
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{LEFT + 150 * index}" y="{HEIGHT - 8}" fill="{colour}">{name}</text>')
    out.append("</svg>")
    open(sys.argv[2], "w", encoding="utf-8").write("\n".join(out) + "\n")
    for at, share in zip(tokens, series["without"]):
        other = reached(tokens, series["with retrieval"], share)
        if share > 0 and other:
            print(f"{share:.3f} of scenes: {at:.2f} million tokens without, {other:.2f} with retrieval: {at / other:.1f} times fewer")


main()
