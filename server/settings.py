"""Settings, each from one environment variable."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pipelines.nearest_name import did_you_mean
from server.addresses import networks
from server.operator_error import OperatorError

_TAKES = {
    "device": "it takes auto, cpu, cuda, or cuda:1 for the second GPU",
    "devices": "it takes auto for every GPU, or a list such as cuda:0,cuda:1 or cpu,cpu, in which no GPU comes twice",
    "ray": "it takes auto, or the address of a cluster's head, such as 10.0.0.5:6379",
    "log_level": "it takes DEBUG, INFO, WARNING or ERROR",
    "memory_gib": "it takes a number of GiB, 0 for all there is",
    "archive_days": "it takes a number of days up to 36500, 0 to keep archived images",
    "disk_gib": "it takes a number of GiB, 0 for no limit",
    "disk_free_gib": "it takes a number of GiB",
}
#: Variables of the client, which may run in the same environment.
_OF_THE_CLIENT = {"BACKLOT_URL", "BACKLOT_KEY", "BACKLOT_SIGNING_SECRET"}


_DEVICE = "(?:cpu|cuda(?::[0-9]+)?)"


class SettingsError(OperatorError):
    """An environment variable has a value that cannot be used."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `backlot` and the server, each from the variable `BACKLOT_` and its name in capitals."""

    #: The database, images, keys and logs.
    data: Path = Path("data")
    models: Path = Path("models.toml")
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8700
    #: How clients reach this server through a proxy, e.g. `https://studio.lan/backlot`.
    public_url: str = ""
    #: Addresses and networks of the proxies whose `X-Forwarded-For`, `-Proto` and `-Host` count.
    trusted_proxies: str = "127.0.0.1,::1"
    #: Images that may wait before a new job gets 503 QUEUE_FULL.
    queue_limit: Annotated[int, Meta(ge=1)] = 1000
    #: Submissions for each key and minute; 0 switches the limit off.
    rate_limit: Annotated[int, Meta(ge=0)] = 600
    #: Reads for each key and minute; 0 switches the limit off.
    read_limit: Annotated[int, Meta(ge=0)] = 6000
    #: How long a signed image link lives, in seconds.
    link_seconds: Annotated[int, Meta(ge=1)] = 3600
    #: Days after which archived images are removed; 0 keeps them.
    archive_days: Annotated[float, Meta(ge=0, le=36_500)] = 0.0
    #: GiB that images may take: above it the oldest are removed, archived ones first; 0 is no limit.
    disk_gib: Annotated[float, Meta(ge=0)] = 0.0
    #: Free GiB below which no job is accepted.
    disk_free_gib: Annotated[float, Meta(ge=0)] = 1.0
    #: Days that request-log rows are kept.
    log_days: Annotated[int, Meta(ge=1, le=36_500)] = 90
    #: `auto` takes every GPU, or the CPU if there is none; or a list, such as `cuda:0,cuda:1` or `cpu,cpu`.
    devices: Annotated[str, Meta(pattern=rf"^(auto|{_DEVICE}(,{_DEVICE})*)$")] = "auto"
    #: One device in place of `devices`: `auto` takes the first GPU, or the CPU if there is none; or `cpu`, `cuda`, `cuda:1`.
    device: Annotated[str, Meta(pattern=f"^(auto|{_DEVICE})?$")] = ""
    #: A Ray cluster whose boxes generate: `auto` is the one that this box is in, or an address such as `10.0.0.5:6379`.
    ray: Annotated[str, Meta(pattern=r"^(|auto|[^\s/]+:[0-9]+)$")] = ""
    #: Memory of its device that each GPU process may take, in GiB; 0 is all of it.
    memory_gib: Annotated[float, Meta(ge=0)] = 0.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def local_devices(self) -> list[str]:
        """Return the devices of this box that were named, each GPU with its index; `auto` alone if none was."""
        return _indexed(self.device or self.devices)

    @property
    def uses_own_devices(self) -> bool:
        """Return whether devices of this box generate: if there is no cluster, or if they are named."""
        return not self.ray or self.device != "" or self.devices != "auto"

    @property
    def database(self) -> Path:
        return self.data / "backlot.db"

    @property
    def images(self) -> Path:
        return self.data / "images"

    @property
    def thumbnails(self) -> Path:
        return self.data / "thumbnails"

    @property
    def previews(self) -> Path:
        return self.data / "previews"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def links_key(self) -> Path:
        """Return the file of the secret that image links are signed with."""
        return self.keys / "links.key"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings. Raises SettingsError with the variable's name, its value and what it takes."""
    known = {f"BACKLOT_{field.name.upper()}": field for field in msgspec.structs.fields(Settings)}
    for variable in sorted(environ):
        if variable.startswith("BACKLOT_") and variable not in known.keys() | _OF_THE_CLIENT:
            hint = did_you_mean(variable, known, "BACKLOT_") or f"; the settings are {', '.join(known)}"
            raise SettingsError(f"{variable} is no setting{hint}")
    values: dict[str, Any] = {}
    for variable, field in known.items():
        text = environ.get(variable)
        if text is None:
            continue
        try:
            values[field.name] = _read(field, text)
        except (msgspec.ValidationError, ValueError) as error:
            takes = _TAKES.get(field.name, str(error))
            raise SettingsError(f"{variable}={text!r} cannot be used: {takes}") from None
    if "device" in values and "devices" in values:
        raise SettingsError(
            "BACKLOT_DEVICE and BACKLOT_DEVICES are both set: unset one; BACKLOT_DEVICES may name several"
        )
    return Settings(**values)


def _read(field: msgspec.structs.FieldInfo, text: str) -> Any:
    """Return the value that a variable stands for. Raises ValueError or msgspec.ValidationError."""
    if not text.strip():
        default = f"have the default, {field.default}" if str(field.default) else "go without it"
        raise ValueError(f"it is empty; unset it to {default}")
    if field.type is Path:
        if text.startswith("~"):
            raise ValueError("nothing expands the ~ here; write the whole path, from the /")
        return Path(text)
    if field.name == "host":
        # Brackets are for URLs: `[::1]` is `::1`.
        return text.removeprefix("[").removesuffix("]")
    value = msgspec.convert(text, field.type, strict=False)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it is no number that can be counted to")
    if field.name == "devices":
        gpus = [name for name in _indexed(value) if name != "cpu"]
        if len(set(gpus)) < len(gpus):
            raise ValueError("a GPU comes twice")
    if field.name == "trusted_proxies":
        networks(text)
    if field.name == "public_url":
        return _public_url(text)
    return value


def _indexed(names: str) -> list[str]:
    """Return a list of devices in which `cuda` is `cuda:0`."""
    return ["cuda:0" if name == "cuda" else name for name in names.split(",")]


def _public_url(text: str) -> str:
    """Return the URL without a slash at its end. Raises ValueError."""
    if text.split() != [text]:
        raise ValueError("it has a space in it; write that as %20")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"it takes a whole URL, such as https://{text.split('://')[-1].strip('/') or 'studio.lan'}")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("it takes a scheme, a host, and perhaps a port and a path, but no more")
    # Reading the port checks it.
    if parts.port == 0:
        raise ValueError("port 0 is no port that a client can reach")
    return text.rstrip("/")
