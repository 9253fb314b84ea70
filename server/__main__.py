"""`python -m server`: run the server until it is told to stop."""

import argparse
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import msgspec

from pipelines.printable import printable_lines
from server.data_folder import hold, prepare
from server.logs import log_to
from server.models_watch import ModelsFile
from server.operator_error import OperatorError
from server.scheduler.devices import Device, local_devices, started_early
from server.settings import Settings, read_settings

#: Seconds without a sign of its client after which a connection ends. Accepted sockets inherit this from the listening one.
GONE_AFTER_S = 60


class CannotListen(OperatorError):
    """The address is taken, or is not an address of this box."""


class CannotServe(OperatorError):
    """The operating system refuses a GPU process, or a package that a setting needs is not installed."""


def main(devices: Callable[[Settings], Sequence[Device]] = local_devices) -> None:
    parser = argparse.ArgumentParser(prog="./scripts/serve", description="Run the Backlot server.")
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for the whole LAN (BACKLOT_HOST)")
    parser.add_argument("--port", type=_port, help="port to listen on (BACKLOT_PORT)")
    arguments = parser.parse_args()
    try:
        settings = read_settings()
        settings = msgspec.structs.replace(
            settings,
            host=(arguments.host or settings.host).removeprefix("[").removesuffix("]"),
            port=settings.port if arguments.port is None else arguments.port,
        )
        serve(settings, devices(settings))
    except OperatorError as error:
        sys.exit(printable_lines(f"backlot: {error}"))
    except KeyboardInterrupt:
        # uvicorn has shut down in good order and raises the signal again.
        sys.exit(130)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it takes 0–65535")
    return int(text)


def serve(settings: Settings, devices: Sequence[Device]) -> None:
    """Run until SIGTERM or SIGINT, with GPU processes on these devices.

    Raises ModelsFileError, AlreadyRunning, Unusable, DatabaseNewer, CannotListen, CannotServe or DamagedSecret.
    """
    if settings.ray and find_spec("ray") is None:
        raise CannotServe("BACKLOT_RAY is set, and Ray is not installed: install backlot[ray], or unset BACKLOT_RAY")
    models = ModelsFile(settings.models)
    prepare(settings)
    with hold(settings.data):
        log_to(settings.logs, settings.log_level)
        listening = _listen(settings.host, settings.port)
        # GPU processes start first, since each takes seconds to import torch. If this process cannot start after all, they
        # see that and end too.
        try:
            devices = [started_early(device) for device in devices]
        except OSError as error:
            raise CannotServe(
                f"a GPU process cannot be started: {error}; free memory, or raise the limits on processes and open files"
            ) from error
        from server.http_server import run

        run(settings, models, listening, devices)


def _listen(host: str, port: int) -> socket.socket:
    """Bind the address. This comes before the first client is made: a server that cannot start prints no key."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # `::` is every address of this box, those of IPv4 too.
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except socket.gaierror as error:
        raise CannotListen(
            f"cannot listen on {host}: {error.strerror}; choose an address of this box with --host"
        ) from error
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host}, port {port}: {error.strerror}; stop what is there, or choose another --host or --port"
        ) from error
    # The operating system gives up a client that has vanished or takes no more bytes.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_AFTER_S // 2)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, GONE_AFTER_S // 6)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER_S * 1000)
    return listening


if __name__ == "__main__":
    main()
