"""The shipped folder behind LitServe: `python -m benchmarks.lit_app PORT BATCH`."""

import sys
from io import BytesIO
from typing import Any

import litserve
import torch
from fastapi import Response

from benchmarks.bare import load
from pipelines.studio_tiny.vocabulary import phrase
from server.models_file import load_models


class Backgrounds(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.pipeline = load()
        self.prompt = phrase("marble", "warm", [(255, 255, 240), (218, 165, 32)]).prompt

    def decode_request(self, request: dict[str, int]) -> int:
        return request["seed"]

    def predict(self, seeds: Any) -> Any:
        images = generate(self.pipeline, self.prompt, seeds if isinstance(seeds, list) else [seeds])
        return images if isinstance(seeds, list) else images[0]

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def generate(pipeline: Any, prompt: str, seeds: list[int]) -> list[bytes]:
    """PNG files of one stock call."""
    from benchmarks.bare import ROOT

    card = load_models(ROOT / "models.toml").default
    images = pipeline(
        [prompt] * len(seeds),
        width=512,
        height=512,
        num_inference_steps=card.sampling.steps,
        guidance_scale=card.sampling.guidance,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
    files = []
    for image in images:
        file = BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    return files


if __name__ == "__main__":
    port, batch = int(sys.argv[1]), int(sys.argv[2])
    api = Backgrounds(max_batch_size=batch, batch_timeout=0.05 if batch > 1 else 0.0)
    litserve.LitServer(api, accelerator="auto", timeout=False).run(
        port=port, log_level="error", generate_client_file=False
    )
