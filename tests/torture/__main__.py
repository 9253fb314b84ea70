"""`scripts/torture`: rounds of load and blows, after each of which everything must hold.

A round submits jobs, deals some blows to the server and its GPU process meanwhile, lets all jobs end, and checks what must
hold. The same seed gives the same jobs and blows, at nearly the same moments. If something does not hold, the run ends with
status 1, says what and the round's seed, and leaves the data folder as it is.
"""

import argparse
import logging
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.support.files import models_file
from tests.support.preloaded import ForkedProcess, preloaded
from tests.support.receiver import Receiver
from tests.support.server import Server, free_port, wait_for
from tests.torture.blows import Blows, any_child
from tests.torture.invariants import Broken, check
from tests.torture.load import Clients, Follower, Submission, submissions

JOBS = 4
#: The least and the most blows of a round, and the longest pause before each, in seconds.
BLOWS = (1, 4)
PAUSE_S = 0.8
#: Rounds on one data folder; after them a fresh one is begun, so that the checks stay quick.
ROUNDS_A_FOLDER = 50
CREDITS = 1_000_000
#: Denoising steps of the tiny model: about a tenth of a second an image.
STEPS = 8
#: A time limit long enough for a busy machine, so that only frozen processes exceed it.
STEP_TIMEOUT_S = 20
#: Seconds that the jobs of a round may take; only a lost job takes so long.
ROUND_S = 900


class ForkedServer(Server):
    """A server that is forked from a preloaded one."""

    def launch(self) -> Any:
        return ForkedProcess.server(Path(self.environment["PRELOADED_SERVER"]), self.environment)


class Torture:
    """One data folder, its server, and the server's clients."""

    def __init__(self, folder: Path, cold: bool, devices: str) -> None:
        """Start the server with these devices. If `cold`, every process starts from nothing, as in use."""
        self.folder = folder
        self.sent: list[Submission] = []
        self._running = ExitStack()
        self._preloaded = {
            name: self._running.enter_context(preloaded(name, folder / name))
            for name in (() if cold else ("worker", "server"))
        }
        self._receiver = Receiver(200)
        self.server = _server(folder, cold, devices)
        self.server.start()
        for command in (
            ("clients", "grant", "studio", str(CREDITS)),
            ("webhooks", "set", "studio", self._receiver.url),
        ):
            done = self.server.backlot(*command)
            assert done.returncode == 0, done.stderr
        self.clients = Clients(self.server.url, self.server.key)
        self.follower = Follower(self.clients)
        self.blows = Blows(self.server, self._gpu_process, hang_s=STEP_TIMEOUT_S + 2)

    def round(self, seed: int) -> None:
        """Play one round. Raises Broken, and AssertionError for a wrong answer."""
        rng = random.Random(seed)
        new = submissions(rng, f"round-{seed}", JOBS)
        wait = self.clients.begin(new)
        for _ in range(rng.randint(*BLOWS)):
            time.sleep(rng.uniform(0, PAUSE_S))
            self.blows.deal(rng)
        wait()
        self.sent += new
        wait_for(self._all_ended, ROUND_S)
        for submission in new:
            if (again := self.clients.send(submission)) != submission.answer:
                raise Broken(f"{submission.key} was answered {submission.answer}, and later {again}")
        wait_for(self._all_followed, 120)
        check(self.server.data, self.sent, new, self.follower.events)

    def ends(self) -> Counter[str]:
        """Count the jobs by how they ended."""
        query = "SELECT coalesce(json_extract(extra, '$.reason'), event_type) FROM events WHERE event_type IN ('succeeded', 'failed')"
        return Counter(row[0] for row in self._rows(query))

    def images(self) -> int:
        return int(self._rows("SELECT count(*) FROM artifacts")[0][0])

    def close(self) -> None:
        """Check that the webhook of every end arrives, then stop everything."""
        ended = {row[0] for row in self._rows("SELECT public_id FROM jobs")}
        wait_for(lambda: {message.job_id for message in self._receiver.received} == ended, 90)
        self.kill()

    def kill(self) -> None:
        self.follower.close()
        self.clients.close()
        self.server.stop(signal.SIGKILL)
        self._receiver.stop()
        self._running.close()

    def _gpu_process(self) -> int | None:
        parent = self._preloaded.get("worker", self.server.process)
        return any_child(parent.pid)

    def _all_ended(self) -> bool:
        return not self._rows("SELECT 1 FROM jobs WHERE ended_at IS NULL LIMIT 1")

    def _all_followed(self) -> bool:
        if self.follower.error is not None:
            raise self.follower.error
        last = self.follower.events[-1]["cursor"] if self.follower.events else 0
        return self._rows("SELECT coalesce(max(cursor), 0) FROM events") == [(last,)]

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"{self.server.data.as_uri()}/backlot.db?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()


def _server(folder: Path, cold: bool, devices: str) -> Server:
    """Return a server with a fixed port, so that clients find it again, and one slow tiny model under two names."""
    from tests.support.tiny import unet_pipeline

    model = folder / "model"
    unet_pipeline().save_pretrained(model, safe_serialization=True)
    toml = models_file(
        folder / "models.toml",
        {"good": model, "other": model},
        steps=STEPS,
        step_timeout_s=STEP_TIMEOUT_S,
        max_batch=2,
        reproducible="true",
    )
    kind = Server if cold else ForkedServer
    return kind(
        folder / "data",
        toml,
        BACKLOT_PORT=str(free_port()),
        BACKLOT_DEVICES=devices,
        OMP_NUM_THREADS="1",
        PRELOADED_WORKER=str(folder / "worker"),
        PRELOADED_SERVER=str(folder / "server"),
    )


def torture(rounds: int, seed: int, cold: bool, devices: str = "cpu") -> bool:
    """Play rounds of the seeds from `seed` on, and print the figures; return whether everything held after each."""
    began = time.monotonic()
    blows: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    images = played = 0
    good = True
    while good and played < rounds:
        folder = Path(tempfile.mkdtemp(prefix="backlot-torture-"))
        box = Torture(folder, cold, devices)
        try:
            for _ in range(min(ROUNDS_A_FOLDER, rounds - played)):
                at = time.monotonic()
                box.round(seed + played)
                played += 1
                _say(
                    f"round {played} of {rounds} held, {time.monotonic() - at:.1f} s, {time.monotonic() - began:.0f} s in all"
                )
            box.close()
        except Exception as error:
            good = False
            logging.debug("It failed here", exc_info=True)
            _say(
                f"\nDoes not hold after the round of --seed {seed + played}:\n{type(error).__name__}: {error}\nData: {folder}"
            )
            box.kill()
        blows += box.blows.dealt
        ends += box.ends()
        images += box.images()
        if good:
            shutil.rmtree(folder)
    _say(
        f"\n{played} rounds, {ends.total()} jobs, {images} images, {blows.total()} blows, {time.monotonic() - began:.0f} s\n"
        f"ends: {_counts(ends)}\nblows: {_counts(blows)}"
    )
    return good


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the first round's seed; the next round has the next one")
    parser.add_argument("--devices", default="cpu", help="BACKLOT_DEVICES of the server; one of their processes is hit")
    parser.add_argument(
        "--cold", action="store_true", help="let every process start from nothing, as in use; a round takes longer"
    )
    parser.add_argument("--verbose", action="store_true", help="show where a failed round failed")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING)
    sys.exit(not torture(arguments.rounds, arguments.seed, arguments.cold, arguments.devices))


if __name__ == "__main__":
    main()
