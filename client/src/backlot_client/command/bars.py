"""Live bars on a terminal, one for each picture on its way; nothing if standard error is no terminal."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backlot_client.answers import EventType, JobEvent

_LONGEST_TITLE = 40


def stage_of(event: JobEvent) -> str:
    """Return in a few words what the job is doing."""
    if event.event_type is EventType.QUEUED:
        return "waiting"
    if event.event_type is EventType.SUCCEEDED:
        return "fetching"
    if event.event_type is EventType.FAILED:
        return str(event.extra.get("reason", "failed"))
    if "step" in event.extra:
        return f"step {event.extra['step']} of {event.extra.get('steps', '?')}"
    return event.stage or ""


class Bars:
    """A context in which bars are shown. Lines printed meanwhile go above them."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[stage]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            # If stdout is redirected, lines printed to it must go there, and not by way of the bars to the terminal.
            redirect_stdout=sys.stdout.isatty(),
            refresh_per_second=4,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, title: str, total: int | None = None) -> TaskID:
        """Show another bar; without a total it only shows that something is going on."""
        shown = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
        return self._progress.add_task(printable(shown), total=total, stage="")

    def show(self, bar: TaskID, event: JobEvent) -> None:
        self._progress.update(bar, stage=printable(stage_of(event)))
        if "step" in event.extra and "steps" in event.extra:
            self._progress.update(bar, completed=event.extra["step"], total=event.extra["steps"])

    def advance(self, bar: TaskID, stage: str) -> None:
        self._progress.update(bar, advance=1, stage=stage)

    def finish(self, bar: TaskID, stage: str) -> None:
        self._progress.update(bar, stage=printable(stage), total=1, completed=1)
        self._progress.stop_task(bar)

    def remove(self, bar: TaskID) -> None:
        self._progress.remove_task(bar)


def printable(text: str) -> str:
    """Return text from outside with its control characters escaped, since a terminal would obey them."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
