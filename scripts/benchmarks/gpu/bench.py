"""Models of the size of SDXL, FLUX.1, Z-Image and Qwen-Image with random weights, on a GPU: bare diffusers beside Backlot.

Each is run by a bare loop, eager and as fast as diffusers makes it, and by a Backlot server with the same options on its
card. The weights are made on the device and written to the work folder, which needs some 45 GB for the largest.
"""

import asyncio
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch

from benchmarks.asked_process import AskedProcess
from benchmarks.gpu.options import SIDES, Options, read_options
from benchmarks.gpu.shapes import SHAPES, Shape
from benchmarks.server import running, succeeded
from benchmarks.serving import LOAD, ask_backlot, latencies, trace
from tests.support.server import ROOT, Server


class Measured(msgspec.Struct, frozen=True):
    """One row of the table."""

    images_per_s: float
    #: Seconds of an image that has no other beside it.
    seconds: float
    #: Seconds from arrival to the whole PNG, under Poisson load.
    p95: float
    peak_bytes: int | None
    #: Mean seconds in which no step ran, between two batches.
    between: float


def main() -> None:
    options = read_options(__doc__ or "")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"bench gpu: torch {torch.__version__} sees no GPU; --device cpu --tiny tries the code without one")
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(
        f"{card}, torch {torch.__version__}, {options.dtype}; random weights, {'tiny' if options.tiny else 'real shapes'}"
    )
    print("| model | size | run by | images/s | s/image | p95 s | peak GiB | between batches s | of the matrix peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.models:
        with TemporaryDirectory(prefix="backlot-bench-", dir=options.work) as folder:
            shape = SHAPES[name]
            measure(msgspec.structs.replace(shape, steps=options.steps or shape.steps), options, Path(folder))


_began = time.perf_counter()


def tell(*words: str) -> None:
    """Print on stderr what is done, with the seconds since the start."""
    print(f"[{time.perf_counter() - _began:5.0f} s]", *words, file=sys.stderr, flush=True)


def measure(shape: Shape, options: Options, folder: Path) -> None:
    """Print the rows of one model."""
    weights = folder / "weights"
    made_on = "tiny" if options.tiny else options.device
    arguments = [sys.executable, "-m", "benchmarks.gpu.weights", shape.name, made_on, str(weights)]
    subprocess.run(arguments, cwd=ROOT / "scripts", check=True)
    tell(f"{shape.title}: the weights are written")
    #: By tier, the part of the device's peak that one image a second takes.
    shares: dict[str, float] = {}

    def show(tier: str, by: str, row: Measured) -> None:
        memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**30:.1f}"
        print(
            f"| {shape.title}, {shape.steps} steps | {SIDES[tier]}² | {by} | {row.images_per_s:.3f} | {row.seconds:.2f} |"
            f" {row.p95:.2f} | {memory} | {row.between:.3f} | {shares[tier] * row.images_per_s:.0%} |",
            flush=True,
        )

    for way in options.ways:
        with bare(weights, options) as ask:
            tell(f"{shape.title}: diffusers has loaded it, to be run {way}")
            if not shares:
                peak = ask(what="peak")["operations_per_s"]
                for tier in options.sizes:
                    asked = ask(what="operations", call=call(shape), side=SIDES[tier])
                    shares[tier] = asked["operations"] / peak
            if way == "tuned":
                ask(what="tune", **tuning(shape, options))
            for tier in options.sizes:
                show(tier, f"diffusers, {way}", of_bare(ask, shape, SIDES[tier], options))
        with (
            TemporaryDirectory(prefix="backlot-bench-") as data,
            backlot(shape, weights, Path(data), way, options) as server,
        ):
            tell(f"{shape.title}: Backlot listens, to run it {way}")
            for tier in options.sizes:
                show(tier, f"Backlot, {way}", of_backlot(server, tier, options))


def tuning(shape: Shape, options: Options) -> dict[str, bool]:
    """Return the options of the tuned rows. Compiling tiny models for a CPU would take minutes and show nothing."""
    return {"compiled": not options.tiny, "channels_last": shape.convolves}


def call(shape: Shape) -> dict[str, Any]:
    """Return the arguments of a bare call besides prompt, size and seeds."""
    guidance = {shape.card.get("guidance_argument", "guidance_scale"): shape.guidance}
    negative = {"negative_prompt": shape.card["negative_prompt"]} if "negative_prompt" in shape.card else {}
    return {"num_inference_steps": shape.steps, **guidance, **negative}


@contextmanager
def bare(weights: Path, options: Options) -> Iterator[Any]:
    """Run a bare loop in a process of its own, and yield the function that asks it."""
    with closing(AskedProcess("benchmarks.gpu.bare")) as process:
        process.ask(what="load", folder=str(weights), device=options.device, dtype=options.dtype)
        yield process.ask


def of_bare(ask: Any, shape: Shape, side: int, options: Options) -> Measured:
    """Measure a bare loop at its best batch size. Its latency is that of requests taken one by one."""
    best: dict[str, Any] = {}
    alone = 0.0
    for batch in sorted({1, *options.batches}):
        asked = partial(ask, what="run", call=call(shape), side=side, batch=batch)
        # The first call compiles and chooses kernels, so it is not counted.
        asked(images=batch)
        images = math.ceil(options.images / batch) * batch
        found = asked(images=images)
        found["rate"] = images / found["seconds"]
        tell(f"diffusers, {side}², batches of {batch}: {images} images in {found['seconds']:.1f} s")
        if batch == 1:
            alone = 1 / found["rate"]
        if not best or found["rate"] > best["rate"]:
            best = found
    p95 = percentile(one_by_one(trace(LOAD * best["rate"], 0, options.requests), alone))
    return Measured(best["rate"], alone, p95, best["peak_bytes"], between(best["step_ends"]))


def one_by_one(arrivals: Sequence[float], seconds: float) -> list[float]:
    """Return the latencies of a server that takes requests one by one, in their order."""
    free, taken = 0.0, []
    for arrival in arrivals:
        free = max(free, arrival) + seconds
        taken.append(free - arrival)
    return taken


def percentile(taken: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(taken, n=20)[18]


def between(ends: Sequence[float]) -> float:
    """Return the mean seconds between batches: by how much a gap between steps is longer than a step, if any is."""
    intervals = [after - before for before, after in pairwise(sorted(ends))]
    step = statistics.median(intervals) if intervals else 0.0
    gaps = [interval - step for interval in intervals if interval > 1.5 * step]
    return statistics.mean(gaps) if gaps else 0.0


@contextmanager
def backlot(shape: Shape, weights: Path, data: Path, way: str, options: Options) -> Iterator[Server]:
    """Run a server with the model on its card; the model is not loaded yet."""
    tuned = tuning(shape, options) if way == "tuned" else {}
    card = {
        "folder": str(weights),
        "licence": "random weights",
        "dtype": options.dtype,
        "tiers": options.sizes,
        "multiple_of": 64,
        "steps": shape.steps,
        "guidance": shape.guidance,
        "max_batch": options.batches[-1],
        "batch_shapes": options.batches,
        "prompt": "marble warm",
        "preview": "off",
        **shape.card,
        **({"compile": True} if tuned.get("compiled") else {}),
        **({"channels_last": True} if tuned.get("channels_last") else {}),
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in card.items()]
    models = data / "models.toml"
    models.write_text("\n".join(["default_model = 'random'", "[models.random]", *lines, ""]))
    device = "cpu" if options.device == "cpu" else "cuda:0"
    with running(data / "data", models, BACKLOT_DEVICES=device) as server:
        yield server


def of_backlot(server: Server, tier: str, options: Options) -> Measured:
    """Measure a server, after enough images that the cost of every batch size is known."""
    # Random weights often give a flat picture, which is to be delivered all the same.
    spec: dict[str, Any] = {"resolution": tier, "on_technical_failure": "deliver"}

    def together(images: int, first: int) -> list[str]:
        return [server.submit(**spec, seed=first + index) for index in range(images)]

    # The next larger batch size is tried when there are images to fill it.
    for images in sorted({1, *options.batches, 2 * options.batches[-1]}):
        for job_id in together(images, 1000 * images):
            succeeded(server, job_id)
        tell(f"Backlot, {tier}: warmed up with {images} together")
    started = time.perf_counter()
    jobs = together(options.images, 0)
    for job_id in jobs:
        succeeded(server, job_id)
    rate = options.images / (time.perf_counter() - started)
    tell(f"Backlot, {tier}: {options.images} images, {rate:.3f} a second")
    alone = []
    for seed in range(3):
        started = time.perf_counter()
        succeeded(server, server.submit(**spec, seed=seed))
        alone.append(time.perf_counter() - started)
    headers = {"Authorization": f"Bearer {server.key}"}
    ask = partial(ask_backlot, fields=spec)
    p95 = percentile(asyncio.run(latencies(server.url, headers, ask, trace(LOAD * rate, 0, options.requests))))
    ends = [end for job_id in jobs for end in _step_ends(server, job_id)]
    return Measured(rate, statistics.median(alone), p95, _peak(server, SIDES[tier]), between(_joined(ends)))


def _step_ends(server: Server, job_id: str) -> list[float]:
    events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return [datetime.fromisoformat(event["created_at"]).timestamp() for event in events if "step" in event["extra"]]


def _joined(ends: Sequence[float]) -> list[float]:
    """Return one end for each denoiser call: the steps of images that took it together are told a moment apart."""
    joined: list[float] = []
    for end in sorted(ends):
        if not joined or end - joined[-1] > 0.005:
            joined.append(end)
    return joined


def _peak(server: Server, side: int) -> int | None:
    """Return the most bytes that a step of this image size took, at any batch size that was measured."""
    [model] = json.loads(server.backlot("models", "list", "--json").stdout)
    found = [cost["peak_bytes"] for cost in model["measured"] if cost["width"] == side and cost["peak_bytes"]]
    return max(found, default=None)
