"""Runs bare diffusers over one folder, as a script without a server would: `python -m benchmarks.gpu.bare`.

Reads one JSON order a line and answers each with one JSON line. The first order loads the folder.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch.utils.flop_counter import FlopCounterMode

from pipelines.worker.device_memory import forget_peak, peak_bytes

#: Side of the square matrices by whose product the device's peak is measured.
_SIDE = {"cuda": 8192, "cpu": 512}
_PROMPT = "marble warm"


class Bare:
    def __init__(self, folder: str, device: str, dtype: str) -> None:
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._pipeline: Any = DiffusionPipeline.from_pretrained(folder, dtype=self._dtype, use_safetensors=True)
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.to(self._device)
        self._denoiser = getattr(self._pipeline, "transformer", None) or self._pipeline.unet

    def tune(self, compiled: bool, channels_last: bool) -> dict[str, Any]:
        """Make the denoiser as fast as diffusers can: by compiled blocks, and by channels last if it has convolutions."""
        if channels_last:
            self._denoiser.to(memory_format=torch.channels_last)
        if compiled:
            self._denoiser.compile_repeated_blocks(dynamic=False)
        return {}

    def run(self, call: dict[str, Any], side: int, batch: int, images: int) -> dict[str, Any]:
        """Make `images` images in batches, with their files."""
        ends: list[float] = []

        def note(_: Any, __: int, ___: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            self._wait()
            ends.append(time.time())
            return tensors

        forget_peak(self._device)
        with TemporaryDirectory() as folder:
            started = time.perf_counter()
            for first in range(0, images, batch):
                made = self._pipeline(**self._arguments(call, side, batch, first), callback_on_step_end=note).images
                for index, image in enumerate(made):
                    image.save(Path(folder) / f"{first + index}.png")
            seconds = time.perf_counter() - started
        return {"seconds": seconds, "peak_bytes": peak_bytes(self._device), "step_ends": ends}

    def operations(self, call: dict[str, Any], side: int) -> dict[str, float]:
        """Return the floating-point operations of one image's denoiser calls."""
        with FlopCounterMode(display=False) as counter:
            self._pipeline(**self._arguments({**call, "num_inference_steps": 1}, side, 1, 0))
        # The counter names the module at the top by its class, and those below it by their attributes.
        counts = counter.get_flop_counts()
        counted = sum(counts.get(type(self._denoiser).__name__, {}).values())
        return {"operations": counted * call["num_inference_steps"]}

    def peak(self) -> dict[str, float]:
        """Return the operations a second of a large matrix product in the pipeline's dtype."""
        side = _SIDE[self._device.type]
        one = torch.randn(side, side, device=self._device, dtype=self._dtype)
        best = float("inf")
        for _ in range(10):
            self._wait()
            started = time.perf_counter()
            one @ one
            self._wait()
            best = min(best, time.perf_counter() - started)
        return {"operations_per_s": 2 * side**3 / best}

    def _arguments(self, call: dict[str, Any], side: int, batch: int, first: int) -> dict[str, Any]:
        seeds = range(first, first + batch)
        return {
            **call,
            **({"negative_prompt": [call["negative_prompt"]] * batch} if "negative_prompt" in call else {}),
            "prompt": [_PROMPT] * batch,
            "width": side,
            "height": side,
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        }

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    bare: Bare | None = None
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("what")
        if bare is None:
            bare, answer = Bare(**order), {}
        else:
            answer = getattr(bare, what)(**order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
