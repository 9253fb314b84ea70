"""Decodes server-sent events, by section 9.2.6 of the HTML standard. No I/O."""

import re

import msgspec

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")


class Message(msgspec.Struct, frozen=True):
    #: `message` if the server named none.
    event: str
    data: str
    id: str | None


class EventStreamDecoder:
    """Takes a stream's bytes in any pieces and gives whole messages. A message that a cut left unfinished is never given."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, piece: bytes) -> list[Message]:
        """Return the messages that this piece completes."""
        text = self._rest + piece
        # A carriage return at the end may be half of a line's end.
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = _END_OF_LINE.split(text[: len(text) - len(held)])
        self._rest = rest + held
        return [message for line in lines if (message := self._take(line.decode(errors="replace")))]

    def _take(self, line: str) -> Message | None:
        if line:
            name, _, value = line.partition(":")
            self._note(name, value.removeprefix(" "))
            return None
        message = Message(self._event or "message", "\n".join(self._data), self._id) if self._data else None
        self._event, self._data = "", []
        return message

    def _note(self, name: str, value: str) -> None:
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
