"""Surfaces as points with normals, and the smooth functions that shape them.

Units: cm; x to the image's right, y up, z towards the camera; the origin lies in the head, at the eyes' height.
Every part of a person is a grid of angle (around the vertical axis, 0 = front) by height.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""float32 throughout, which is twice as fast; numpy's types cannot follow that."""
HEAD, HAIR, EAR, NECK, TORSO, GLASSES = range(6)


@dataclass(frozen=True)
class Surface:
    """Points of one or more parts."""

    points: Array
    """[3, N], cm"""
    normals: Array
    """[3, N], unit length"""
    uv: Array
    """[2, N], cm: where on the part's texture; for the head x and y of the face at rest"""
    part: NDArray[np.uint8]
    """[N]"""
    open: Array
    """[N], 0..1: how much ambient light reaches the point"""


def bump(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> Array:
    """A Gaussian of height 1."""
    return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


def step(low: float, high: float, x: Array) -> Array:
    """0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def curve(x: Array, at: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """A smooth curve through knots (cubic Hermite with finite differences), constant beyond them."""
    k, v = np.array(at, np.float32), np.array(values, np.float32)
    slope = np.gradient(v, k)
    i = np.clip(np.searchsorted(k, x) - 1, 0, len(k) - 2)
    h = k[i + 1] - k[i]
    t = np.clip((x - k[i]) / h, 0, 1)
    a, b = (1 + 2 * t) * (1 - t) ** 2 * v[i], t * (1 - t) ** 2 * h * slope[i]
    return (a + b + t * t * (3 - 2 * t) * v[i + 1] - t * t * (1 - t) * h * slope[i + 1]).astype(np.float32)


def ring(angle: Array, width: Array, front: Array, middle: Array, back: Array, power: float) -> tuple[Array, Array]:
    """x and z of a superellipse cross-section at the given angles (radians)."""
    s, c = np.sin(angle), np.cos(angle)
    x = width * np.sign(s) * np.abs(s) ** power
    depth = np.where(c > 0, front - middle, middle - back)
    return x, middle + depth * np.sign(c) * np.abs(c) ** power


def normals_of(grid: Array) -> Array:
    """Unit normals, outward, of a grid [3, H, W] whose rows go down and whose columns go to the right."""

    def slope(axis: int) -> Array:
        out = np.empty_like(grid)
        to = np.moveaxis(out, axis, 0)
        of = np.moveaxis(grid, axis, 0)
        to[1:-1], to[0], to[-1] = of[2:] - of[:-2], of[1] - of[0], of[-1] - of[-2]
        return out

    (dx, dy, dz), (rx, ry, rz) = slope(1), slope(2)
    n = np.stack([dy * rz - dz * ry, dz * rx - dx * rz, dx * ry - dy * rx])
    return n / (np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-9)


def box_mean(a: Array, r: int) -> Array:
    """Mean over a window of 2r+1 by 2r+1, edges repeated."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (r + 1, r)
        total = np.cumsum(np.pad(a, pad, mode="edge"), axis=axis, dtype=np.float64)
        n = 2 * r + 1
        a = (np.take(total, range(n, total.shape[axis]), axis) - np.take(total, range(total.shape[axis] - n), axis)) / n
    return a.astype(np.float32)


def surface(
    x: Array,
    y: Array,
    z: Array,
    uv: tuple[Array, Array],
    part: int,
    light: Array,
    keep: Array | bool = True,
) -> Surface:
    """The surface of a grid; everything is spread to its shape [H, W]. Only points in `keep` stay."""
    x, y, z, u, v, light, keep = np.broadcast_arrays(x, y, z, *uv, light, keep)
    grid = np.stack([x, y, z]).astype(np.float32)
    points, normals = grid[:, keep], normals_of(grid)[:, keep]
    places = np.stack([u[keep], v[keep]]).astype(np.float32)
    return Surface(
        points,
        normals,
        places,
        np.full(points.shape[1], part, np.uint8),
        light[keep].astype(np.float32),
    )
