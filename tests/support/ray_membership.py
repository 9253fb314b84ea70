"""Look for a cluster at an address that is none, then at the right one, as the server does; write what the pool says.

python -m tests.support.ray_membership CLUSTER
"""

import asyncio
import os
import sys
from collections.abc import Callable

from server.cluster.membership import Membership
from server.scheduler.bounds import DEFAULT_BOUNDS
from server.scheduler.pool import Pool
from server.settings import Settings


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  the condition is what a task of this loop has noted
        await asyncio.sleep(0.05)


async def main(cluster: str) -> None:
    # `auto` means the address in this variable.
    os.environ["RAY_ADDRESS"] = "nowhere"
    pool = Pool([], DEFAULT_BOUNDS)
    keeping = asyncio.create_task(Membership(Settings(ray="auto")).keep(pool))
    await until(lambda: "cannot be followed" in str(pool.problem))
    sys.stdout.write(f"{pool.problem}\n")
    os.environ["RAY_ADDRESS"] = cluster
    await until(lambda: pool.problem is None)
    sys.stdout.write(" ".join(sorted(gpu.name for gpu in pool)) + "\n")
    keeping.cancel()


asyncio.run(main(sys.argv[1]))
