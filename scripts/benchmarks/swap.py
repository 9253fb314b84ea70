"""Measures a change of model: the seconds from a small model's last image to the first step of one as large as SDXL.

The large one is a folder of random float16 weights, some 7 GB, that is built once under .bench. If "busy",
it is ordered while the small one is busy, so that there is time to prefetch it; "idle" leaves no time. If "cold", its files
are not in the page cache.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.model_card import ModelCard
from pipelines.protocol import Generate, Generated, Item, LeftSlot, Loaded, Started, Steps
from server.models_file import load_models
from tests.support.gpu_process import GpuProcess

ROOT = Path(__file__).parent.parent.parent
LARGE = ROOT / ".bench" / "sdxl-sized"
ROUNDS = 3
#: Images of the small model while the large one is prefetched.
BUSY_IMAGES = 24


def main() -> None:
    if not LARGE.exists():
        code = "from benchmarks.swap import build; build()"
        # Build it in a process of its own, whose end frees the memory.
        subprocess.run([sys.executable, "-c", code], check=True)
    for name, busy, cold in (
        ("idle, warm", False, False),
        ("idle, cold", False, True),
        ("busy, warm", True, False),
        ("busy, cold", True, True),
    ):
        results = [_swap(busy=busy, cold=cold) for _ in range(ROUNDS)]
        gaps = ", ".join(f"{gap:.2f}" for gap, _, _ in results)
        gap, load, rate = (statistics.median(values) for values in zip(*results, strict=True))
        meanwhile = f"; {rate:.2f} images/s of the small model meanwhile" if busy else ""
        print(f"  {name}: {gap:.2f} s to the first step ({gaps}), {load:.2f} s of it loading{meanwhile}", flush=True)


def _swap(*, busy: bool, cold: bool) -> tuple[float, float, float]:
    """Return the seconds from the small model's last image to the large one's first step, the seconds of the large one's
    load, and the small model's images a second from when the large one is ordered."""
    small = load_models(ROOT / "models.toml").default
    large = ModelCard.from_flat(
        name="large", folder=str(LARGE), licence="-", tiers=("1K",), steps=4, guidance=0.0, dtype="float16"
    )
    _read(LARGE)
    if cold:
        _drop_from_page_cache(LARGE)
    with TemporaryDirectory() as folder, GpuProcess(Path(folder)) as process:
        process.wait(Started)
        process.send(_generate(small, 512, 4, "warm-up", folder))
        process.wait(Generated)
        images = BUSY_IMAGES if busy else 1
        for number in range(images):
            process.send(_generate(small, 512, 4, str(number), folder))
        process.wait(LeftSlot)
        process.send(_generate(large, 64, 1, "large", folder))
        ordered = time.perf_counter()
        for _ in range(images - 1):
            process.wait(LeftSlot)
        left = time.perf_counter()
        loaded = process.wait(Loaded)
        process.wait(Steps)
        first_step = time.perf_counter()
    rate = (images - 1) / (left - ordered) if busy else float("nan")
    return first_step - left, loaded.seconds, rate


def _generate(card: ModelCard, side: int, batch_size: int, image_id: str, folder: str) -> Generate:
    item = Item(image_id, 1, "marble warm", "", f"{folder}/{image_id}.png")
    return Generate(card, side, side, card.sampling.steps, card.sampling.guidance, batch_size, item)


def _read(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        with path.open("rb", buffering=0) as file:
            while file.read(2**24):
                pass


def _drop_from_page_cache(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def build() -> None:
    """Write the large folder: SDXL's parts in their sizes, with random weights."""
    import torch

    from benchmarks.gpu.weights import MAKERS

    with torch.device("meta"):
        denoiser = MAKERS["sdxl"].denoiser()
    denoiser = denoiser.to(torch.float16).to_empty(device="cpu")
    # All weights repeat one block: drawing a number for each would take minutes.
    block = torch.randn(2**22, dtype=torch.float32).mul_(0.02).half()
    with torch.no_grad():
        for weight in denoiser.parameters():
            for part in weight.view(-1).split(len(block)):
                part.copy_(block[: len(part)])
    MAKERS["sdxl"].pipeline(denoiser).to(torch.float16).save_pretrained(LARGE, safe_serialization=True)
