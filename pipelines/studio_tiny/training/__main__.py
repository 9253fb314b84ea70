"""Make pictures, fit every part, write the pipeline folder; stop it and run it again at will."""

import argparse
import copy
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import StableDiffusionPipeline

from pipelines.studio_tiny.training import autoencoder, denoiser, distillation, parts
from pipelines.studio_tiny.training.darkroom import Arrivals, Darkroom, Order, first
from pipelines.studio_tiny.training.device import device
from pipelines.studio_tiny.training.latents import Pool
from pipelines.studio_tiny.training.learner import Stage
from pipelines.studio_tiny.training.sheet import FEW_MOODS, STEPS, draw_sheet, generated, rendered
from pipelines.studio_tiny.vocabulary import MOODS, SCENES

#: Steps of an image after each round of distillation.
FEWER = (16, 8)
#: How many times quarter-size pictures are enlarged.
ENLARGED = 4
#: How many of them are made of one set: few, since they teach its layout and not its moods.
LAYOUT_PICTURES = 12
#: Enlarged pictures teach at times above LAYOUT, and full-size ones at times below DETAIL; 0 is the clean picture, 1 noise
#: alone. Above LAYOUT the noise hides that enlarged pictures have no detail. Full-size ones cost ten times as much to render,
#: so there are few layouts among them, which the model would learn by heart above DETAIL. Between the two it sees both kinds,
#: so that one leads to the other.
LAYOUT, DETAIL = 0.6, 0.75
#: Steps on layouts for each step on full-size pictures, which only add details to what the model knows already.
LAYOUT_TURNS = 2


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of all stages. The defaults are for a CPU; docs/howto/train-studio-tiny.md has those for a GPU."""

    work: Path
    out: Path
    #: A folder that this command wrote. Its autoencoder is kept, and the denoiser goes on from its weights.
    begin_with: Path | None = None
    #: Another seed renders other sets.
    seed: int = 0
    #: How many processes render, and how many threads torch has.
    cores: int = 1
    #: Sets of half-size pictures that are rendered before the autoencoder is fitted.
    first_sets: int = 120
    #: Sets of half-size pictures in all.
    coarse_sets: int = 1600
    #: Sets of quarter-size pictures: many layouts for little time. None of them is one of the other sets.
    layout_sets: int = 2000
    #: Sets of full-size pictures.
    fine_sets: int = 300
    core_steps: int = 1000
    autoencoder_steps: int = 8000
    autoencoder_batch: int = 8
    autoencoder_minutes: float = math.inf
    #: Steps on half-size pictures, which cost a quarter of full-size ones and teach the composition. 0 leaves the stage out.
    coarse_steps: int = 12_000
    coarse_batch: int = 128
    coarse_minutes: float = math.inf
    #: Steps on full-size pictures and on layouts.
    fine_steps: int = 15_000
    fine_batch: int = 48
    fine_minutes: float = math.inf
    lr: float = 1e-3
    #: Steps of each round of distillation. 0 leaves the rounds out.
    few_steps: int = 1000
    few_batch: int = 32
    few_minutes: float = math.inf
    #: The guidance that the first of these rounds takes into the weights.
    guidance: float = 3.0


def main() -> None:
    defaults = msgspec.structs.asdict(Plan(work=Path("build/studio-tiny"), out=Path("build/studio-tiny/weights")))
    parser = argparse.ArgumentParser(prog="./scripts/train_studio_tiny", description=__doc__)
    for name, default in defaults.items():
        kind = Path if default is None else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, metavar=str(default))
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="only draw a sheet of what the weights in --out make"
    )
    parser.add_argument("--render-sheet", type=Path, metavar="FILE", help="only draw a sheet of renders")
    parser.add_argument("--sheet-steps", type=int, default=STEPS, metavar=str(STEPS), help="steps of its images")
    arguments = vars(parser.parse_args())
    sheet, render_sheet, steps = (arguments.pop(name) for name in ("sheet", "render_sheet", "sheet_steps"))
    plan = Plan(**arguments)
    if render_sheet is not None:
        draw_sheet(rendered, tuple(SCENES), FEW_MOODS, render_sheet, side=288)
    elif sheet is not None:
        draw_sheet(generated(plan.out, steps), tuple(SCENES), tuple(MOODS), sheet, side=512)
    else:
        train(plan)


def train(plan: Plan) -> None:
    """Run every stage that is not finished."""
    torch.set_num_threads(plan.cores)
    plan.work.mkdir(parents=True, exist_ok=True)
    (plan.work / "PID").write_text(f"{os.getpid()}\n")
    with Darkroom(plan.cores, plan.seed) as darkroom, ThreadPoolExecutor() as reading:
        (coarse,) = darkroom.order(Order(folder=plan.work / "pictures-2", count=plan.coarse_sets, shrink=2))
        layouts, fine = darkroom.order(
            Order(
                folder=plan.work / "pictures-4",
                count=plan.layout_sets,
                shrink=ENLARGED,
                first=max(plan.coarse_sets, plan.fine_sets),
                pictures=LAYOUT_PICTURES,
            ),
            Order(folder=plan.work / "pictures-1", count=plan.fine_sets, shrink=1),
        )
        vae, model = _begun(plan, coarse)

        def save(text: Any, unet: Any) -> None:
            # These are copies because only the folder has half precision.
            pipeline = parts.pipeline(*(copy.deepcopy(part).cpu() for part in (vae, text, unet)))
            pipeline.to(torch.float16).save_pretrained(plan.out, safe_serialization=True)

        def fit(stage: Stage, *lessons: denoiser.Lesson) -> Any:
            return denoiser.fit(plan.work, stage, model, lessons, plan.seed, save)

        def pictures(size: int, ordered: list[Future[Path]], enlarged: int = 1) -> tuple[Pool, Callable[[], None]]:
            pool = Pool(plan.work / f"latents-{size}", vae, enlarged, plan.seed)
            return pool, Arrivals(pool, ordered, reading).take

        if plan.coarse_steps:
            stage = Stage("coarse", plan.coarse_steps, plan.coarse_batch, plan.lr, plan.coarse_minutes)
            model = fit(stage, denoiser.Lesson(*pictures(2, coarse), denoiser.from_noise()))
        # Sets that are not begun when their stage is over would only delay other sets.
        _cancel(coarse)
        full_size = pictures(1, fine)
        lessons = [denoiser.Lesson(*full_size, denoiser.from_noise(most=DETAIL if layouts else 1))]
        if layouts:
            arriving = pictures(ENLARGED, layouts, ENLARGED)
            lessons.append(denoiser.Lesson(*arriving, denoiser.from_noise(least=LAYOUT), LAYOUT_TURNS))
        stage = Stage("fine", plan.fine_steps, plan.fine_batch, plan.lr / 2, plan.fine_minutes)
        model = fit(stage, *lessons)
        _cancel(layouts)
        if not plan.few_steps:
            return
        for steps, guidance in zip(FEWER, (plan.guidance, *(1.0 for _ in FEWER)), strict=False):
            # A student learns its teacher's answers at all times, so it matters little which pictures get noise.
            loss = distillation.halving(model, steps, guidance)
            stage = Stage(f"few-{steps}", plan.few_steps, plan.few_batch, plan.lr / 4, plan.few_minutes)
            model = fit(stage, denoiser.Lesson(*full_size, loss))


def _cancel(ordered: list[Future[Path]]) -> None:
    for future in ordered:
        future.cancel()


def _begun(plan: Plan, coarse: list[Future[Path]]) -> tuple[Any, Any]:
    """Return the fitted autoencoder, and the model with which the first stage of the denoiser begins."""
    if plan.begin_with is not None:
        begun = StableDiffusionPipeline.from_pretrained(plan.begin_with, dtype=torch.float32)
        return begun.vae.to(device()), denoiser.joined(begun.text_encoder, begun.unet)
    core = Stage("core", plan.core_steps, 16, 2e-3, math.inf)
    full = Stage("autoencoder", plan.autoencoder_steps, plan.autoencoder_batch, 1e-3, plan.autoencoder_minutes)
    shards = first(coarse, plan.first_sets, "pictures")
    return autoencoder.fit(plan.work, shards, core, full, plan.seed), denoiser.fresh()


if __name__ == "__main__":
    main()
