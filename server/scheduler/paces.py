"""How long images take: what guesses of a wait are made of."""


class Paces:
    """Keeps the seconds of the last image of each model and size, in pixels."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int, int], float] = {}
        #: Seconds that the last image of all was in its slot, decoding included.
        self.last = 1.0

    def note(self, model: str, width: int, height: int, seconds: float) -> None:
        self._seconds[model, width, height] = self.last = seconds

    def of(self, model: str, width: int, height: int) -> float:
        """Return the seconds that such an image takes; those of the last one if none of its model and size was made yet."""
        return self._seconds.get((model, width, height), self.last)
