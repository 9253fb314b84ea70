"""Explanations for the operator of why a download failed."""

import errno
from collections.abc import Iterator

from httpx2 import HTTPError
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

#: Errors of the network, the hub and the disk. Any other is a fault of a program, whose traceback is of use.
EXPECTED = (OSError, HTTPError, EntryNotFoundError)

#: Errors of the operating system if the cache is on a full or broken disk, may not be written, or is no folder.
_OF_THE_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EIO,
)


def why_refused(hub: str, revision: str | None, error: Exception) -> str:
    """Return what kept a model of a hub from being downloaded, and the way out."""
    for cause in _causes(error):
        match cause:
            case GatedRepoError():
                return f"{hub} is gated: accept its licence on the hub, and set HF_TOKEN to a token of the account that did"
            case RevisionNotFoundError():
                return f"{hub} has no revision {revision or 'main'!r}; correct or remove revision"
            case RepositoryNotFoundError():
                return (
                    f"the hub has no {hub}, or it is private; correct hub, or set HF_TOKEN to a token that may read it"
                )
            case OfflineModeIsEnabled():
                return (
                    f"HF_HUB_OFFLINE is set, and {hub} is not whole in the cache; unset it, or copy another box's cache"
                )
            case LocalEntryNotFoundError():
                # This error says only that the hub did not answer; its cause says why.
                continue
            case EntryNotFoundError():
                return f"{hub} is no diffusers model: it has no model_index.json"
            case HfHubHTTPError(response=response) if response is not None:
                return _of_status(hub, response.status_code)
            case OSError() if cause.errno in _OF_THE_DISK:
                return f"{hub} cannot be kept on this box ({cause}); see to the disk of the hub's cache, or set HF_HOME"
    return f"the hub cannot be reached, or falls silent ({type(error).__name__}: {error}); see to the network"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_status(hub: str, status: int) -> str:
    if status in (401, 403):
        return f"the hub refuses {hub} ({status}); set HF_TOKEN to a token that may read it"
    if status == 429:
        return f"the hub limits how often this box may ask (429); wait some minutes, or set HF_TOKEN ({hub})"
    return f"the hub is out of order (status {status}), and {hub} is not whole in the cache; try again later"
