"""Make pictures, fit every part, write the pipeline folder; stop it and run it again at will."""

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from tqdm import tqdm

from pipelines.studio_tiny.training import autoencoder, denoiser, distillation, parts
from pipelines.studio_tiny.training.latents import Pool
from pipelines.studio_tiny.training.pictures import render_shards, write_shard
from pipelines.studio_tiny.training.sheet import FEW_MOODS, draw_sheet, generated, rendered
from pipelines.studio_tiny.training.words import IN_TRAINING, words_of

SEED = 0
#: Steps of an image after each round of distillation.
FEWER = (16, 8)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything: some eighteen hours of one core."""

    work: Path
    out: Path
    #: Processes that render, and threads of torch.
    cores: int = 1
    #: Sets of half-size pictures before the autoencoder is fitted, and at most.
    first_sets: int = 120
    coarse_sets: int = 1600
    #: A set is added every so many steps.
    steps_a_set: int = 6
    #: Sets of full-size pictures.
    fine_sets: int = 300
    core_steps: int = 1000
    autoencoder_steps: int = 8000
    #: On half-size pictures, where a sample costs a quarter; the composition is learnt here.
    coarse_steps: int = 12_000
    coarse_batch: int = 128
    fine_steps: int = 5000
    fine_batch: int = 48
    lr: float = 1e-3
    #: Of each of the rounds that make the steps of an image fewer.
    few_steps: int = 1000
    few_batch: int = 32
    #: Taken into the weights by the first of these rounds.
    guidance: float = 2.0
    #: Stop the denoiser after so many minutes, to go on another day.
    minutes: float = math.inf


def main() -> None:
    defaults = msgspec.structs.asdict(Plan(work=Path("build/studio-tiny"), out=Path("build/studio-tiny/weights")))
    parser = argparse.ArgumentParser(prog="./scripts/train_studio_tiny", description=__doc__)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, metavar=str(default))
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="only draw a sheet of what the weights in --out make"
    )
    parser.add_argument("--render-sheet", type=Path, metavar="FILE", help="only draw a sheet of renders")
    parser.add_argument(
        "--sheet-steps", type=int, default=16, metavar="16", help="steps of its images; --guidance is theirs too"
    )
    arguments = vars(parser.parse_args())
    sheet, render_sheet, steps = (arguments.pop(name) for name in ("sheet", "render_sheet", "sheet_steps"))
    plan = Plan(**arguments)
    if render_sheet is not None:
        draw_sheet(rendered, IN_TRAINING.scenes, FEW_MOODS, render_sheet, side=288)
    elif sheet is not None:
        words = words_of(plan.out)
        draw_sheet(generated(plan.out, steps, plan.guidance), words.scenes, words.moods, sheet, side=512)
    else:
        train(plan)


def train(plan: Plan) -> None:
    """Run every stage that is not finished."""
    torch.set_num_threads(plan.cores)
    plan.work.mkdir(parents=True, exist_ok=True)
    (plan.work / "PID").write_text(f"{os.getpid()}\n")
    coarse_folder, fine_folder = plan.work / "pictures-2", plan.work / "pictures-1"
    coarse = _rendered(coarse_folder, plan.first_sets, 2, plan.cores)
    stages = (
        autoencoder.Stage("core", plan.core_steps, 16, shrink=2, lr=2e-3),
        autoencoder.Stage("autoencoder", plan.autoencoder_steps, 8, shrink=1, lr=1e-3),
    )
    vae = autoencoder.fit(plan.work, coarse, stages, SEED)

    def save(text: Any, unet: Any) -> None:
        # Copies, because half precision is for the folder alone.
        pipeline = parts.pipeline(*(copy.deepcopy(part) for part in (vae, text, unet)))
        pipeline.to(torch.float16).save_pretrained(plan.out, safe_serialization=True)

    coarse_pool = _pool(plan.work / "latents-2", vae, coarse)
    grow = _growth(coarse_pool, coarse_folder, plan)
    until = time.monotonic() + plan.minutes * 60
    stage = denoiser.Stage("coarse", plan.coarse_steps, plan.coarse_batch, plan.lr, None)
    if not denoiser.fit(plan.work, coarse_pool, stage, denoiser.from_noise(), SEED, until, grow, save):
        return
    fine_pool = _pool(plan.work / "latents-1", vae, _rendered(fine_folder, plan.fine_sets, 1, plan.cores))
    stage = denoiser.Stage("fine", plan.fine_steps, plan.fine_batch, plan.lr / 2, "coarse")
    if not denoiser.fit(plan.work, fine_pool, stage, denoiser.from_noise(), SEED, until, _stay, save):
        return
    for steps, guidance in zip(FEWER, (plan.guidance, *(1.0 for _ in FEWER)), strict=False):
        teacher = denoiser.averaged(plan.work, stage.name)
        loss = distillation.halving(teacher, steps, guidance)
        stage = denoiser.Stage(f"few-{steps}", plan.few_steps, plan.few_batch, plan.lr / 4, stage.name)
        if not denoiser.fit(plan.work, fine_pool, stage, loss, SEED, until, _stay, save):
            return


def _rendered(folder: Path, sets: int, shrink: int, cores: int) -> list[Path]:
    shards = render_shards(folder, sets, SEED, shrink, cores)
    return list(tqdm(shards, desc=f"pictures 1/{shrink}", total=sets, unit="set", mininterval=20))


def _pool(folder: Path, vae: Any, shards: list[Path]) -> Pool:
    pool = Pool(folder, vae)
    for shard in tqdm(shards, desc=folder.name, unit="set", mininterval=20):
        pool.add(shard)
    return pool


def _growth(pool: Pool, folder: Path, plan: Plan) -> Callable[[int], None]:
    """Return what adds a set every so many steps; after a restart it catches up."""
    have = plan.first_sets

    def grow(step: int) -> None:
        nonlocal have
        while have < min(plan.coarse_sets, plan.first_sets + step // plan.steps_a_set):
            pool.add(write_shard(folder, have, SEED, 2))
            have += 1

    return grow


def _stay(step: int) -> None:
    """Add no pictures."""


if __name__ == "__main__":
    main()
