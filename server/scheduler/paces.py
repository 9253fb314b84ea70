"""Remembers how long images take, so that waits can be guessed."""


class Paces:
    """Keeps the seconds of the last image of each model and size, in pixels."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int, int], float] = {}
        #: Seconds that the last image of all was in its slot, decoding included.
        self.last = 1.0

    def note(self, model: str, width: int, height: int, seconds: float) -> None:
        self._seconds[model, width, height] = self.last = seconds

    def of(self, model: str, width: int, height: int) -> float:
        """Return the seconds of the last image of this model and size; if there is none yet, those of the last of all."""
        return self._seconds.get((model, width, height), self.last)
