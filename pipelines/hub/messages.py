"""The messages of a download process: one JSON object a line on its standard output."""

from collections.abc import Callable

import msgspec


class Progress(msgspec.Struct, frozen=True, tag=True):
    """More bytes are on this box. It is sent for as long as bytes arrive, so silence means that none do."""

    #: The bytes of earlier downloads are included.
    done_bytes: int
    total_bytes: int
    #: The mean over the last seconds.
    bytes_per_s: float


class Logged(msgspec.Struct, frozen=True, tag=True):
    """A line for the log."""

    #: A level of logging, such as logging.WARNING.
    level: int
    text: str


class Downloaded(msgspec.Struct, frozen=True, tag=True):
    """Every file is on this box. This is the last message."""

    folder: str
    total_bytes: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The download failed. This is the last message. What has arrived stays, and the next download goes on from there."""

    message: str


Message = Progress | Logged | Downloaded | Refused

_encoder = msgspec.json.Encoder()
#: Return the message that a line holds. Raises msgspec.MsgspecError if it holds none.
decode: Callable[[bytes], Message] = msgspec.json.Decoder(Message).decode


def encode(message: Message) -> bytes:
    """Return the line that stands for a message."""
    return _encoder.encode(message) + b"\n"
