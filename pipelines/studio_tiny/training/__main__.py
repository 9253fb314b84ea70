"""Make pictures, fit every part, write the pipeline folder; stop it and run it again at will."""

import argparse
import copy
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import StableDiffusionPipeline

from pipelines.studio_tiny.training import autoencoder, denoiser, distillation, parts
from pipelines.studio_tiny.training.darkroom import Arrivals, Darkroom, first
from pipelines.studio_tiny.training.device import device
from pipelines.studio_tiny.training.latents import Pool
from pipelines.studio_tiny.training.sheet import FEW_MOODS, draw_sheet, generated, rendered
from pipelines.studio_tiny.vocabulary import MOODS, SCENES

#: Steps of an image after each round of distillation.
FEWER = (16, 8)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything: some eighteen hours of one core, or a quarter of an hour of a large GPU and its cores."""

    work: Path
    out: Path
    #: A folder that this command wrote: its autoencoder is kept, and the denoiser goes on from its weights.
    begin_with: Path | None = None
    #: Another seed renders other sets.
    seed: int = 0
    #: Processes that render, and threads of torch.
    cores: int = 1
    #: Sets of half-size pictures before the autoencoder is fitted, and in all.
    first_sets: int = 120
    coarse_sets: int = 1600
    #: Sets of full-size pictures.
    fine_sets: int = 300
    core_steps: int = 1000
    autoencoder_steps: int = 8000
    autoencoder_batch: int = 8
    autoencoder_minutes: float = math.inf
    #: On half-size pictures, where a sample costs a quarter; the composition is learnt here. No steps leave the stage out.
    coarse_steps: int = 12_000
    coarse_batch: int = 128
    coarse_minutes: float = math.inf
    fine_steps: int = 5000
    fine_batch: int = 48
    fine_minutes: float = math.inf
    lr: float = 1e-3
    #: Of each of the rounds that make the steps of an image fewer.
    few_steps: int = 1000
    few_batch: int = 32
    few_minutes: float = math.inf
    #: Taken into the weights by the first of these rounds.
    guidance: float = 2.0


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
    parser.add_argument(
        "--sheet-steps", type=int, default=12, metavar="12", help="steps of its images; --guidance is theirs too"
    )
    arguments = vars(parser.parse_args())
    sheet, render_sheet, steps = (arguments.pop(name) for name in ("sheet", "render_sheet", "sheet_steps"))
    plan = Plan(**arguments)
    if render_sheet is not None:
        draw_sheet(rendered, tuple(SCENES), FEW_MOODS, render_sheet, side=288)
    elif sheet is not None:
        draw_sheet(generated(plan.out, steps, plan.guidance), tuple(SCENES), tuple(MOODS), sheet, side=512)
    else:
        train(plan)


def train(plan: Plan) -> None:
    """Run every stage that is not finished."""
    torch.set_num_threads(plan.cores)
    plan.work.mkdir(parents=True, exist_ok=True)
    (plan.work / "PID").write_text(f"{os.getpid()}\n")
    with Darkroom(plan.cores, plan.seed) as darkroom, ThreadPoolExecutor() as reading:
        coarse = darkroom.order(plan.work / "pictures-2", plan.coarse_sets, 2)
        fine = darkroom.order(plan.work / "pictures-1", plan.fine_sets, 1)
        vae, model = _begun(plan, coarse)

        def save(text: Any, unet: Any) -> None:
            # Copies, because half precision is for the folder alone.
            pipeline = parts.pipeline(*(copy.deepcopy(part).cpu() for part in (vae, text, unet)))
            pipeline.to(torch.float16).save_pretrained(plan.out, safe_serialization=True)

        def fit(stage: denoiser.Stage, loss: denoiser.Loss, pool: Pool, arrivals: Arrivals) -> Any:
            return denoiser.fit(plan.work, pool, stage, model, loss, plan.seed, arrivals.take, save)

        if plan.coarse_steps:
            pool = Pool(plan.work / "latents-2", vae)
            stage = denoiser.Stage("coarse", plan.coarse_steps, plan.coarse_batch, plan.lr, plan.coarse_minutes)
            model = fit(stage, denoiser.from_noise(), pool, Arrivals(pool, coarse, reading))
        # Half-size sets that are not begun would only hold the full-size ones up.
        for ordered in coarse:
            ordered.cancel()
        pool = Pool(plan.work / "latents-1", vae)
        arrivals = Arrivals(pool, fine, reading)
        stage = denoiser.Stage("fine", plan.fine_steps, plan.fine_batch, plan.lr / 2, plan.fine_minutes)
        model = fit(stage, denoiser.from_noise(), pool, arrivals)
        for steps, guidance in zip(FEWER, (plan.guidance, *(1.0 for _ in FEWER)), strict=False):
            stage = denoiser.Stage(f"few-{steps}", plan.few_steps, plan.few_batch, plan.lr / 4, plan.few_minutes)
            model = fit(stage, distillation.halving(model, steps, guidance), pool, arrivals)


def _begun(plan: Plan, coarse: list[Future[Path]]) -> tuple[Any, Any]:
    """Return the autoencoder, fitted, and what the first stage of the denoiser begins with."""
    if plan.begin_with is not None:
        begun = StableDiffusionPipeline.from_pretrained(plan.begin_with, dtype=torch.float32)
        return begun.vae.to(device()), denoiser.joined(begun.text_encoder, begun.unet)
    vae = _autoencoder(plan, first(coarse, plan.first_sets, "pictures"))
    return vae, denoiser.fresh()


def _autoencoder(plan: Plan, shards: list[Path]) -> Any:
    stages = (
        autoencoder.Stage("core", plan.core_steps, 16, 2, 2e-3, math.inf),
        autoencoder.Stage(
            "autoencoder", plan.autoencoder_steps, plan.autoencoder_batch, 1, 1e-3, plan.autoencoder_minutes
        ),
    )
    return autoencoder.fit(plan.work, shards, stages, plan.seed)


if __name__ == "__main__":
    main()
