"""Bytes and CPU time of packed answers: gzip, and Brotli beside it."""

import base64
import random
import time
import zlib
from collections.abc import Callable

import brotli
import numpy as np
import orjson
from yard import quartiles

ROUNDS = 9
Pack = Callable[[bytes], bytes]


def _gzip(level: int) -> Pack:
    return lambda body: zlib.compress(body, level, wbits=16 + zlib.MAX_WBITS)


def _brotli(quality: int) -> Pack:
    return lambda body: brotli.compress(body, quality=quality)


PACKERS = {
    "gzip 6": _gzip(6),
    "br 1": _brotli(1),
    "br 2": _brotli(2),
    "br 4": _brotli(4),
}


def _answers() -> dict[str, bytes]:
    """What models answer with, 0.25 to 1 MB of JSON each."""
    draw, numbers = random.Random(0), np.random.default_rng(0)
    logits = numbers.standard_normal(200_000).astype("float32")
    shares = [[round(float(x), 3) for x in row] for row in numbers.random((2000, 64))]
    found = [
        {
            "label": draw.choice(["cat", "dog", "horse"]),
            "score": round(draw.random(), 4),
            "box": [draw.randrange(640) for _ in range(4)],
            "id": f"{draw.getrandbits(64):016x}",
        }
        for _ in range(9000)
    ]
    return {
        "float32": orjson.dumps({"predictions": logits[:13_000].tolist()}),
        "3 digits": orjson.dumps({"predictions": shares}),
        "objects": orjson.dumps({"predictions": found}),
        "base64": orjson.dumps({"predictions": base64.b64encode(logits.tobytes()).decode()}),
    }


def _cpu_ms(pack: Pack, body: bytes) -> float:
    started = time.thread_time()
    pack(body)
    return (time.thread_time() - started) * 1000


def measure() -> dict[str, str]:
    """Each against gzip at level 1, in turn, as ratios: of the bytes, and of the CPU time."""
    figures = {}
    for kind, body in _answers().items():
        plain = _gzip(1)
        base = len(plain(body))
        times: dict[str, list[float]] = {name: [] for name in PACKERS}
        alone = []
        for _ in range(ROUNDS):
            alone.append(_cpu_ms(plain, body))
            for name, pack in PACKERS.items():
                times[name].append(_cpu_ms(pack, body) / alone[-1])
        figures[f"{kind}, gzip 1: bytes of unpacked; CPU, ms"] = (
            f"{base / len(body):.3f}; {quartiles(alone)}"
        )
        for name, pack in PACKERS.items():
            figures[f"{kind}, {name} / gzip 1: bytes; CPU"] = (
                f"{len(pack(body)) / base:.3f}; {quartiles(times[name])}"
            )
    return figures
