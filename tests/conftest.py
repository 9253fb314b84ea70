"""Fixtures: the tiny pipelines and the servers that the tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.files import models_file
from tests.support.preloaded import preloaded
from tests.support.server import ROOT, Server, ServerWithoutGpu, ServerWithPreloadedGpu, StartServer

if "PYTEST_XDIST_WORKER" in os.environ:
    # One xdist worker runs for each core, so it and its servers compute in one thread. torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a job with `&` ignoring SIGINT, and the processes that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of the code: no example has a time limit, and none is told to be too slow.
settings.register_profile("backlot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("backlot")

SLOW = 400  # steps of the tiny model: about ten seconds, long enough to interfere


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    # The import is here so that tests without pipelines do not wait for torch.
    from tests.support.tiny import save_all

    return save_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def preloaded_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the socket of a process that forks GPU processes."""
    path = tmp_path_factory.mktemp("preloaded") / "worker"
    with preloaded("worker", path):
        yield path


@pytest.fixture(scope="module")
def start_server(preloaded_worker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Yield a function that starts servers; they end with the module. A `cold` GPU process starts from nothing, as in use."""
    started: list[Server] = []

    def start(models: Path, cold: bool = False, **environment: str) -> Server:
        data = tmp_path_factory.mktemp("data")
        server = (
            Server(data, models, **environment)
            if cold
            else ServerWithPreloadedGpu(data, models, preloaded_worker, **environment)
        )
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def tiny_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Start a server with the tiny models, good and broken; `exact` is the good one at one batch size."""
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    folders = {**tiny_folders, "exact": tiny_folders["good"]}
    return start_server(models_file(path, folders, extra="reproducible = true"))


@pytest.fixture(scope="module")
def slow_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Start a server whose jobs run long enough to be cancelled, killed and hung."""
    folders = {name: tiny_folders[name] for name in ("good", "nan")}
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    # The slot group always has two slots.
    models = models_file(path, folders, steps=SLOW, step_timeout_s=3, max_batch=2, reproducible="true")
    return start_server(models)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """Start a server with the models.toml and the weights of this repository."""
    return start_server(ROOT / "models.toml")


@pytest.fixture(scope="module")
def light_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerWithoutGpu]:
    """Yield a server with a fake GPU process, which is up in a second."""
    server = ServerWithoutGpu(tmp_path_factory.mktemp("light"))
    server.start(wait_ready=False)
    yield server
    server.stop()
