#!/usr/bin/env python3
"""Makes shapes.png, emblems.png and palette.png: the toybox drawn by another program, in another way.

Every pixel is 32 x 32 points, each tested against the definitions of the shapes as inequalities. Needs NumPy and
Pillow; run it here to make the files anew. The C drawing is compared with them by `toybox-evaluate selftest`.
"""
import numpy as np
from PIL import Image

SIDE, WINDOW, POINTS = 96, 40, 32
RADII = {"small": 0.095, "large": 0.150}
SHAPES = ["circle", "ring", "square", "triangle", "diamond", "star", "heart", "cross"]


def convex(x, y, corners):
    """Points on the same side of every edge."""
    signs = []
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        signs.append((bx - ax) * (y - ay) - (by - ay) * (x - ax))
    signs = np.array(signs)
    return (signs >= 0).all(axis=0) | (signs <= 0).all(axis=0)


def star(x, y):
    """Ten triangles from the centre to neighbouring points of the outline."""
    inside = np.zeros(x.shape, bool)
    corners = []
    for i in range(10):
        radius, angle = (1.0, 0.42)[i % 2], np.radians(36 * i - 90)
        corners.append((radius * np.cos(angle), radius * np.sin(angle)))
    for a, b in zip(corners, corners[1:] + corners[:1]):
        inside |= convex(x, y, [(0, 0), a, b])
    return inside


def shape_at(name, x, y):
    d = np.hypot(x, y)
    if name == "circle":
        return d <= 1
    if name == "ring":
        return (d <= 1) & (d >= 0.55)
    if name == "square":
        return (abs(x) <= 0.85) & (abs(y) <= 0.85)
    if name == "triangle":
        return convex(x, y, [(0, -1), (1, 0.8), (-1, 0.8)])
    if name == "diamond":
        return abs(x) / 0.7 + abs(y) <= 1
    if name == "star":
        return star(x, y)
    if name == "heart":
        discs = np.hypot(abs(x) - 0.45, y + 0.35) <= 0.5
        return discs | convex(x, y, [(-0.93, -0.15), (0.93, -0.15), (0, 0.95)])
    return ((abs(x) <= 0.32) & (abs(y) <= 1)) | ((abs(y) <= 0.32) & (abs(x) <= 1))


def points(width):
    """Coordinates in pixels of all points of a square of `width` pixels."""
    along = (np.arange(width * POINTS) + 0.5) / POINTS
    return np.meshgrid(along, along)


def pixels(values):
    """The mean over each pixel's points."""
    n = values.shape[0] // POINTS
    return values.reshape(n, POINTS, n, POINTS, -1).mean(axis=(1, 3))


def shapes():
    sheet = np.zeros((2 * WINDOW, 8 * WINDOW, 3), np.uint8)
    x, y = points(WINDOW)
    for row, size in enumerate(RADII):
        for column, name in enumerate(SHAPES):
            # The same centres as in selftest.c: off the grid, in another way for each.
            cx = WINDOW / 2 + 0.1 * ((7 * column + 3 * row) % 10) - 0.45
            cy = WINDOW / 2 + 0.1 * ((3 * column + 5 * row) % 10) - 0.45
            r = RADII[size] * SIDE
            mask = pixels(shape_at(name, (x - cx) / r, (y - cy) / r).astype(float))
            tile = sheet[row * WINDOW:(row + 1) * WINDOW, column * WINDOW:(column + 1) * WINDOW]
            tile[:] = np.rint(255 * mask)
    Image.fromarray(sheet).save("shapes.png", optimize=True)


def rgb(code):
    return np.array([int(code[i:i + 2], 16) for i in (0, 2, 4)], float)


GREY, RED, YELLOW, BLUE, BLACK, WHITE = map(rgb, ["CED4DA", "E03131", "FFD43B", "1971C2", "1A1A1A", "FFFFFF"])
# Parting, first colour, second colour, charge, its colour; the same list as in selftest.c.
EMBLEMS = [("per pale", RED, BLUE, "star", BLACK), ("per fess", YELLOW, BLACK, "heart", WHITE),
           ("quarterly", BLUE, YELLOW, "ring", RED), ("bend", BLACK, RED, "cross", YELLOW),
           ("bordered", BLUE, WHITE, "diamond", BLACK)]


def emblems():
    sheet = np.zeros((SIDE, SIDE * len(EMBLEMS), 3), np.uint8)
    x, y = points(SIDE)
    x, y = x / SIDE - 0.5, y / SIDE - 0.5
    for i, (parting, first, second, charge, colour) in enumerate(EMBLEMS):
        is_first = {"per pale": x < 0, "per fess": y < 0, "quarterly": x * y > 0, "bend": x > y,
                    "bordered": np.hypot(x, y) > 0.26}[parting]
        picture = np.where(is_first[..., None], first, second)
        picture[np.hypot(x, y) > 0.36] = GREY
        picture[shape_at(charge, x / 0.13, y / 0.13)] = colour
        sheet[:, i * SIDE:(i + 1) * SIDE] = np.rint(pixels(picture))
    Image.fromarray(sheet).save("emblems.png", optimize=True)


PALETTE = """
E03131 F08C00 FFD43B 2F9E44 1971C2 9C36B5 F783AC 1A1A1A FFFFFF
CED4DA A5D8FF E9D8A6 9BE29B 1B2A6B
FF0000 FF8000 00FF00 0000FF 00FFFF FFFF00 FF00FF FFFFFF
"""


def palette():
    """One pixel a colour: objects, backgrounds, then the shapes' classes in the order of SHAPES."""
    Image.fromarray(np.array([[rgb(code) for code in PALETTE.split()]], np.uint8)).save("palette.png")


if __name__ == "__main__":
    palette()
    shapes()
    emblems()
