"""The model's images of the specs, made once in a process of their own and kept in a folder."""

import resource
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import DiffusionPipeline
from tqdm import tqdm

from benchmarks.quality.renders import keep, paths
from benchmarks.quality.specs import Spec
from pipelines.denoising.guidance_interval import partly_guided
from pipelines.model_card import Sampling
from pipelines.studio_tiny.vocabulary import prompt


class Cost(msgspec.Struct, frozen=True):
    """The cost of images. It is kept beside them."""

    #: The seconds of each square image.
    seconds: list[float]
    #: The memory of the process at its peak.
    mebibytes: float


def generate(weights: Path, folder: Path, specs: list[Spec], sampling: Sampling) -> Cost:
    """Make the images that are not there yet, one at a time, with all of torch's threads."""
    kept = folder / "cost.json"
    cost = msgspec.json.decode(kept.read_bytes(), type=Cost) if kept.exists() else Cost([], 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(path, spec) for path, spec in zip(paths(folder, specs), specs, strict=True) if not path.exists()]
    if not missing:
        return cost
    pipeline: Any = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for path, spec in tqdm(missing, desc="images", mininterval=10):
        started = time.perf_counter()
        images = partly_guided(pipeline, sampling.guidance_interval, images=1)(
            prompt(spec.scene, spec.mood, spec.colors),
            width=spec.width,
            height=spec.height,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            generator=torch.Generator("cpu").manual_seed(spec.seed),
            output_type="np",
        ).images
        if spec.width == spec.height:
            cost.seconds.append(time.perf_counter() - started)
        keep(path, (images[0] * 255).round().astype("uint8"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cost = Cost(cost.seconds, max(cost.mebibytes, peak))
        kept.write_bytes(msgspec.json.encode(cost))
    return cost
