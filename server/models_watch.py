"""The present models.toml, read again when it is saved."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipelines.model_card import ModelCard, Weights
from server.models_file import Models, ModelsFileError, load_models

log = logging.getLogger(__name__)

#: Seconds between looks at the file.
LOOK_EVERY_S = 1.0
#: Seconds until an edit that takes an enabled model away acts. The jobs that wait for that model fail then, and an editor may
#: save a file in two parts, the first of them valid in itself.
REMOVAL_WAIT_S = 3.0


class ModelsFile:
    """Holds the present models. A good edit replaces them at once; a bad one changes nothing, and `error` says why.

    An edit that takes an enabled model away acts after REMOVAL_WAIT_S, unless the file is saved again meanwhile.
    A model that an edit, or a change of its files, would make unusable stays as it was, and the rest of the edit counts.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ModelsFileError: a server does not start on a bad file."""
        self.path = path
        self._seen = self._stamp()
        #: When the file that was seen last acts, in seconds on the monotonic clock, if it takes a model away.
        self._acts_at: float | None = None
        self.current: Models = load_models(path)
        #: When the present models were taken up, in seconds since 1970.
        self.taken_up_at = int(time.time())
        #: The fault of the file as it is now; None if all of it is in use.
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

    def arrived(self, card: ModelCard, here: Weights) -> None:
        """Take up what the files of a hub's model say, now that they are here, unless its card was edited meanwhile."""
        present = self.current.models.get(card.name)
        if present is None or present.weights != card.weights:
            return
        known = msgspec.structs.replace(present, weights=here)
        self.current = msgspec.structs.replace(self.current, models={**self.current.models, card.name: known})

    async def _look(self, changed: Callable[[], None]) -> None:
        stamp = await asyncio.to_thread(self._stamp)
        if stamp != self._seen:
            self._seen, self._acts_at = stamp, None
        elif self._acts_at is None or time.monotonic() < self._acts_at:
            return
        try:
            models = await asyncio.to_thread(load_models, self.path)
        except ModelsFileError as error:
            self.error, self._acts_at = str(error), None
            log.error(  # noqa: TRY400  told whole
                "The edit of %s has no effect, the models stay as they were: %s", self.path, "; ".join(error.problems)
            )
            return
        had_error, self.error = self.error is not None, _told(models)
        self._log_problems(models)
        models = models.keeping(self.current)
        gone = sorted(self.current.enabled.keys() - models.enabled.keys())
        if gone and self._acts_at is None:
            self._acts_at = time.monotonic() + REMOVAL_WAIT_S
            log.info("The edit of %s takes away %s; it acts in %g s", self.path, ", ".join(gone), REMOVAL_WAIT_S)
            return
        self._acts_at = None
        if models == self.current:
            if had_error and self.error is None:
                log.info("%s is good again, and the models are as they were", self.path)
            # The models are the same, but the operator may have mended something else that stood in a model's way.
            changed()
            return
        before, self.current = self.current, models
        self.taken_up_at = int(time.time())
        log.info(
            "%s was edited: %s; enabled: %s; default: %s",
            self.path,
            ", ".join(_changes(before, models)) or "the files that it names",
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
    """Return the names of the cards and tables that an edit added, removed or changed."""
    changed = [name for name in {**before.models, **after.models} if before.models.get(name) != after.models.get(name)]
    for table in ("operations", "brands", "loras", "default_model"):
        if getattr(before, table) != getattr(after, table):
            changed.append(table)
    return changed
