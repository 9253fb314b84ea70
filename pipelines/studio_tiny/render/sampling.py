"""Evenly spread random numbers: the first two of Sobol's dimensions, scrambled for each pixel and purpose."""

from typing import Any

from numba import njit


@njit(cache=True)
def scramble(x: Any) -> Any:
    x = (x ^ 61) ^ (x >> 16)
    x = (x + (x << 3)) & 0xFFFFFFFF
    x = x ^ (x >> 4)
    x = (x * 0x27D4EB2D) & 0xFFFFFFFF
    return x ^ (x >> 15)


@njit(cache=True)
def pair(index: Any, purpose: Any, pixel: Any, samples: Any) -> Any:
    """Return sample `index` of a stratified pair in 0–1."""
    key = scramble((pixel * 16 + purpose) & 0xFFFFFFFF)
    i = index ^ (key & (samples - 1))
    first, second, direction = 0, 0, 0x80000000
    j, bit = i, 0x80000000
    while j:
        if j & 1:
            first ^= bit
            second ^= direction
        j >>= 1
        bit >>= 1
        direction ^= direction >> 1
    first ^= scramble(key ^ 0x68BC21EB)
    second ^= scramble(key ^ 0x02E5BE93)
    return (first + 0.5) * 2.3283064365386963e-10, (second + 0.5) * 2.3283064365386963e-10


@njit(cache=True, fastmath=True)
def around(nx: Any, ny: Any, nz: Any) -> Any:
    """Return two axes at right angles to a unit vector (Duff et al. 2017)."""
    sign = 1.0 if nz >= 0 else -1.0
    a = -1.0 / (sign + nz)
    b = nx * ny * a
    return 1.0 + sign * nx * nx * a, sign * b, -sign * nx, b, sign + ny * ny * a, -ny
