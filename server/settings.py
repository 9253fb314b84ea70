"""Settings, each from one environment variable."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

_TAKES = {
    "device": "it takes auto, cpu, cuda, or cuda:1 for the second GPU",
    "log_level": "it takes DEBUG, INFO, WARNING or ERROR",
}


class SettingsError(Exception):
    """An environment variable has a value that cannot be used."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `backlot` and the server read from the environment; `BACKLOT_` and the name in capitals."""

    #: The database, images, keys and logs.
    data: Path = Path("data")
    models: Path = Path("models.toml")
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8700
    #: How clients reach this server through a proxy, e.g. `https://backlot.studio.lan`.
    public_url: str = ""
    #: Images that may wait before a new job gets 503 QUEUE_FULL.
    queue_limit: Annotated[int, Meta(ge=1)] = 1000
    #: Requests a minute and key; 0 switches the limit off.
    rate_limit: Annotated[int, Meta(ge=0)] = 600
    #: How long a signed image link lives, in seconds.
    link_seconds: Annotated[int, Meta(ge=1)] = 3600
    #: Days that request-log rows are kept.
    log_days: Annotated[int, Meta(ge=1)] = 90
    #: `auto` takes CUDA if there is one, else the CPU; or `cpu`, `cuda`, `cuda:1`.
    device: Annotated[str, Meta(pattern="^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    #: Memory of the device that the GPU process may take, in GiB; 0 is all of it.
    memory_gib: Annotated[float, Meta(ge=0)] = 0.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def database(self) -> Path:
        return self.data / "backlot.db"

    @property
    def images(self) -> Path:
        return self.data / "images"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def keys(self) -> Path:
        return self.data / "keys"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError with the variable's name, its value and what it takes."""
    known = {f"BACKLOT_{field.name.upper()}": field for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for variable, field in known.items():
        text = environ.get(variable)
        if text is None:
            continue
        try:
            values[field.name] = Path(text) if field.type is Path else msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            takes = _TAKES.get(field.name, str(error))
            raise SettingsError(f"{variable}={text!r} cannot be used: {takes}") from None
    return Settings(**values)
