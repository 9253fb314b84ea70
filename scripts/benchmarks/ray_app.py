"""Serves the shipped folder with Ray Serve and its batching: `python -m benchmarks.ray_app PORT BATCH`."""

import asyncio
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.bare import load
from benchmarks.lit_app import generate

PORT, BATCH = int(sys.argv[1]), int(sys.argv[2])


@serve.deployment(max_ongoing_requests=10_000)
class Backgrounds:
    def __init__(self) -> None:
        self.pipeline = load()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.05)  # type: ignore[untyped-decorator]
    async def images(self, seeds: list[int]) -> list[bytes]:
        return await asyncio.to_thread(generate, self.pipeline, seeds)

    async def __call__(self, request: Request) -> Any:
        return Response(await self.images((await request.json())["seed"]), media_type="image/png")


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": PORT})
    serve.run(Backgrounds.bind(), route_prefix="/predict", blocking=True)  # type: ignore[attr-defined]
