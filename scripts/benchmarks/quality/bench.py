"""Measures how good the model's images are on specs that no training has seen, beside renders of the same specs.

Images and renders are kept in the work folder, so a run that was stopped goes on, and a second one is quick. A judge that
learnt from renders names scene and mood; its own errors on held-out renders are in the table. It is the folder's judge.pt
if there is one; `python3 -m benchmarks.quality.judge` makes one of a training's own pictures, on a GPU in a minute.
"""

import argparse
import hashlib
import os
import statistics
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
from tqdm import tqdm

from benchmarks.quality import figures
from benchmarks.quality.images import Cost, generate
from benchmarks.quality.judge import LESSONS, SETS, pictures_of, trained, verdict
from benchmarks.quality.network import Judge
from benchmarks.quality.renders import held_out, paths, read, small, taught
from benchmarks.quality.specs import Spec, draw, reseeded
from pipelines.model_card import Sampling
from pipelines.output.measurement import evaluate
from pipelines.output.palette import match
from pipelines.output.png import Pixels
from pipelines.studio_tiny.vocabulary import SCENES
from server.models_file import load_models
from tests.support.server import ROOT

#: One in this many specs is also rendered at full size, to compare edges.
SHARP = 6
#: The first spec of each scene is made with this many seeds, to see what a seed changes.
SEEDS = 4


class Options(msgspec.Struct, frozen=True):
    images: int = 500
    weights: Path = ROOT / "pipelines" / "studio_tiny" / "weights"
    work: Path = ROOT / "build" / "quality"
    #: Steps and guidance in place of those of the card in models.toml; 0 leaves the card's.
    steps: int = 0
    guidance: float = 0.0
    #: How many sets the judge learns from if the work folder has no judge. Layouts are compared with those of the same sets.
    sets: int = SETS
    #: The seed with which the weights were trained, whose sets those are.
    seed: int = 0
    lessons: int = LESSONS
    cores: int = os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/bench quality", description=__doc__)
    for name, default in msgspec.structs.asdict(Options()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, metavar=str(default))
    options = Options(**vars(parser.parse_args()))
    options.work.mkdir(parents=True, exist_ok=True)
    specs = draw(options.images)
    again = reseeded(specs[: len(SCENES)], SEEDS)
    made_by = _digest(options)
    images, cost = _generated(options, options.work / f"images-{made_by}", specs)
    varied, _ = _generated(options, options.work / f"seeds-{made_by}", again)
    renders = held_out(options.work / "renders", specs, 2, options.cores)
    sharp = held_out(options.work / "renders-sharp", specs[: -(-len(specs) // SHARP)], 1, options.cores)
    varied_renders = held_out(options.work / "renders-seeds", again, 4, options.cores)
    judge = trained(options.work, options.cores, options.sets, options.lessons)
    known = pictures_of(
        taught(options.work / f"taught-{options.seed}", options.sets, options.cores, options.seed), options.cores
    )
    rows = [
        *_colours(images, renders, specs),
        *_names(judge, images, renders, specs),
        *_shapes(images, renders, sharp, known, specs),
        _seeds(varied, varied_renders),
        *_cost(cost),
    ]
    sampling = _sampling(options)
    within = "" if sampling.guidance_interval is None else f" while the noise is in {sampling.guidance_interval}"
    print(f"{options.weights}: {len(specs)} images, {sampling.steps} steps, guidance {sampling.guidance:g}{within}")
    print(f"  {'':62} {'images':>8} {'renders':>8}")
    for label, made, rendered in rows:
        print(f"  {label:62} {made:>8} {rendered:>8}")


Row = tuple[str, str, str]


def _sampling(options: Options) -> Sampling:
    """Return how images are made: as the card says, except for what the options say."""
    sampling = load_models(ROOT / "models.toml").enabled["studio-tiny"].sampling
    return msgspec.structs.replace(
        sampling, steps=options.steps or sampling.steps, guidance=options.guidance or sampling.guidance
    )


def _digest(options: Options) -> str:
    """Return a digest of the weights and settings that images are made with."""
    digest = hashlib.sha256(repr(_sampling(options)).encode())
    for path in sorted(options.weights.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _generated(options: Options, folder: Path, specs: list[Spec]) -> tuple[list[Pixels], Cost]:
    """Return the images and their cost. A process of its own makes them, so that its peak of memory is that of generating."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        cost = pool.submit(generate, options.weights, folder, specs, _sampling(options)).result()
    return [read(path) for path in paths(folder, specs)], cost


def _colours(images: list[Pixels], renders: list[Pixels], specs: list[Spec]) -> Iterable[Row]:
    matched = [match(pixels, spec.colors) for pixels, spec in zip(tqdm(images, desc="match"), specs, strict=True)]
    plain, moved, floor = (_distances(pictures, specs) for pictures in (images, matched, renders))
    yield "CIEDE2000 to all requested colours, median", f"{np.median(plain):.2f}", f"{np.median(floor):.2f}"
    yield "  90th percentile", f"{np.quantile(plain, 0.9):.2f}", f"{np.quantile(floor, 0.9):.2f}"
    yield 'with palette = "match", median', f"{np.median(moved):.2f}", ""
    yield "  90th percentile", f"{np.quantile(moved, 0.9):.2f}", ""


def _distances(pictures: list[Pixels], specs: list[Spec]) -> list[float]:
    return [
        entry.delta_e
        for pixels, spec in zip(pictures, specs, strict=True)
        for entry in evaluate(pixels, spec.colors).palette
    ]


def _names(judge: Judge, images: list[Pixels], renders: list[Pixels], specs: list[Spec]) -> Iterable[Row]:
    made, floor = (verdict(judge, np.stack([small(pixels) for pixels in some]), specs) for some in (images, renders))
    scenes, moods = [spec.scene for spec in specs], [spec.mood for spec in specs]
    yield "scene named by the judge", _share(made.scenes, scenes), _share(floor.scenes, scenes)
    yield "mood named by the judge", _share(made.moods, moods), _share(floor.moods, moods)
    # Halves of equal size, because the distance grows as the sets become smaller.
    odd = floor.features[1::2]
    yield (
        "Fréchet distance of the judge's features to held-out renders",
        f"{figures.frechet(made.features[::2], odd):.2f}",
        f"{figures.frechet(floor.features[::2], odd):.2f}",
    )


def _share(named: list[str], meant: list[str]) -> str:
    return f"{np.mean([one == other for one, other in zip(named, meant, strict=True)]):.1%}"


def _shapes(
    images: list[Pixels], renders: list[Pixels], sharp: list[Pixels], known: Pixels, specs: list[Spec]
) -> Iterable[Row]:
    edges = [
        np.nanmedian([figures.edge_sharpness(pixels) for pixels in some]) for some in (images[: len(sharp)], sharp)
    ]
    yield f"edge sharpness at full size, of {len(sharp)}", f"{edges[0]:.2f}", f"{edges[1]:.2f}"
    made, fresh, taught_rows = (_layouts(some) for some in (images, renders, known))
    scenes = [spec.scene for spec in specs]
    spread, floor = figures.diversity(made, scenes), figures.diversity(fresh, scenes)
    yield "diversity of layouts within a scene, of the renders'", f"{spread / floor:.0%}", "100%"
    yield (
        "as near to a taught layout as 5% of fresh renders are",
        f"{figures.copied(made, fresh, taught_rows):.1%}",
        "5.0%",
    )


def _seeds(images: list[Pixels], renders: list[Pixels]) -> Row:
    specs = [str(index // SEEDS) for index in range(len(images))]
    spread, floor = (figures.diversity(_layouts(some), specs) for some in (images, renders))
    return "diversity of layouts over the seeds of a spec, of the renders'", f"{spread / floor:.0%}", "100%"


def _layouts(pictures: Iterable[Pixels]) -> figures.Floats:
    return figures.layouts(np.stack([small(pixels) for pixels in pictures]))


def _cost(cost: Cost) -> Iterable[Row]:
    if cost.seconds:
        yield "seconds an image of 512 × 512, median", f"{statistics.median(cost.seconds):.2f}", ""
    yield "peak memory of the process, MiB", f"{cost.mebibytes:.0f}", ""
