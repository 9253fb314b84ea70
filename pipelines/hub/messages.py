"""What a download process says: one JSON object a line on its standard output."""

import msgspec


class Progress(msgspec.Struct, frozen=True, tag=True):
    """More bytes are on this box. Sent for as long as something arrives, so silence means that nothing does."""

    #: Those of earlier downloads included.
    done_bytes: int
    total_bytes: int
    #: Over the last seconds.
    bytes_per_s: float


class Logged(msgspec.Struct, frozen=True, tag=True):
    """A line for the log."""

    #: A level of logging, such as logging.WARNING.
    level: int
    text: str


class Downloaded(msgspec.Struct, frozen=True, tag=True):
    """Every file is on this box; the last message."""

    folder: str
    total_bytes: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The download failed; the last message. What has arrived stays, and the next download goes on from there."""

    message: str


Message = Progress | Logged | Downloaded | Refused

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line. Raises msgspec.MsgspecError if it is none."""
    return _decoder.decode(line)
