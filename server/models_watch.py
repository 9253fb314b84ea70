"""The present models.toml, read again when it is saved."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from server.models_file import Models, ModelsFileError, load_models

log = logging.getLogger(__name__)

#: Seconds between looks at the file.
LOOK_EVERY_S = 1.0


class ModelsFile:
    """Holds the present models. A good edit replaces them at once; a bad one changes nothing, and `error` says why.

    A model that an edit, or a change of its files, would make unusable stays as it was, and the rest of the edit counts.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ModelsFileError: a server does not start on a bad file."""
        self.path = path
        self._seen = self._stamp()
        self.current: Models = load_models(path)
        #: When the present models were taken up, in seconds since 1970.
        self.taken_up_at = int(time.time())
        #: What is wrong with the file as it is now; None if all of it is in use.
        self.error: str | None = _told(self.current)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every good edit, until cancelled."""
        self._log_problems(self.current)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look(changed)
            except Exception:
                log.exception("%s could not be looked at", self.path)

    async def _look(self, changed: Callable[[], None]) -> None:
        stamp = await asyncio.to_thread(self._stamp)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            models = await asyncio.to_thread(load_models, self.path)
        except ModelsFileError as error:
            self.error = str(error)
            log.error(  # noqa: TRY400  told whole
                "The edit of %s has no effect, the models stay as they were: %s", self.path, "; ".join(error.problems)
            )
            return
        self.error = _told(models)
        self._log_problems(models)
        models = models.keeping(self.current)
        if models == self.current:
            return
        before, self.current = self.current, models
        self.taken_up_at = int(time.time())
        log.info(
            "%s was edited: %s; enabled: %s; default: %s",
            self.path,
            ", ".join(_changes(before, models)),
            ", ".join(models.enabled),
            models.default_model,
        )
        changed()

    def _log_problems(self, models: Models) -> None:
        for problem in models.problems:
            log.error("%s: %s", self.path, problem)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def _told(models: Models) -> str | None:
    return "\n".join(models.problems) or None


def _changes(before: Models, after: Models) -> list[str]:
    """Return what an edit changed: the cards and tables that are new, gone or other than they were."""
    changed = [name for name in {**before.models, **after.models} if before.models.get(name) != after.models.get(name)]
    for table in ("operations", "brands", "default_model"):
        if getattr(before, table) != getattr(after, table):
            changed.append(table)
    return changed
