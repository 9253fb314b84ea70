"""Serves the shipped folder with LitServe: `python -m benchmarks.lit_app PORT BATCH`."""

import sys
from io import BytesIO
from typing import Any

import litserve
from fastapi import Response

from benchmarks.bare import images_of, load


class Backgrounds(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.pipeline = load()

    def decode_request(self, request: dict[str, int]) -> int:
        return request["seed"]

    def predict(self, seeds: Any) -> Any:
        images = generate(self.pipeline, seeds if isinstance(seeds, list) else [seeds])
        return images if isinstance(seeds, list) else images[0]

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def generate(pipeline: Any, seeds: list[int]) -> list[bytes]:
    """Return the PNG files of one stock call."""
    files = []
    for image in images_of(pipeline, seeds):
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
