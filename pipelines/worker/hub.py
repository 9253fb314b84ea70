"""Models of a hub: their files on this box, downloaded if need be, and what to say if that fails."""

import logging
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pipelines.model_card import ModelCard

log = logging.getLogger(__name__)

#: Seconds to wait for the hub's answer to what went wrong.
_ASK_S = 10.0


class CannotLoad(Exception):
    """A model cannot be used; the message says what to change."""


def fetch(card: ModelCard) -> Path:
    """Return the folder of the model's files; those of a hub id are downloaded first if need be. Raises CannotLoad."""
    weights = card.weights
    if weights.folder is not None:
        return Path(weights.folder)
    if weights.hub is None:
        raise CannotLoad(f"the card of {card.name} names neither folder nor hub")
    try:
        folder = DiffusionPipeline.download(
            weights.hub, revision=weights.revision, variant=weights.variant, use_safetensors=True
        )
    except Exception as error:
        log.exception("%s could not be fetched from %s", card.name, weights.hub)
        raise CannotLoad(f"{card.name} could not be fetched: {_why(card, error)}") from error
    return Path(folder)


def _why(card: ModelCard, error: Exception) -> str:
    """Return what keeps the model from being fetched.

    diffusers falls back to its cache whatever the hub answers, and then says only that the cache lacks it; so ask again.
    """
    hub, revision = card.weights.hub or "", card.weights.revision
    if isinstance(error, ValueError) and "variant" in str(error):
        return f"{hub} has no files of variant {card.weights.variant!r}; correct or remove variant"
    try:
        HfApi().model_info(hub, revision=revision, timeout=_ASK_S)
    except GatedRepoError:
        return f"{hub} is gated: accept its licence on the hub, and set HF_TOKEN to a token of the account that did"
    except RevisionNotFoundError:
        return f"{hub} has no revision {revision or 'main'!r}; correct or remove revision"
    except RepositoryNotFoundError:
        return f"the hub has no {hub}, or it is private; correct hub, or set HF_TOKEN to a token that may read it"
    except EntryNotFoundError:
        return f"{hub} is no diffusers model: it has no model_index.json"
    except OfflineModeIsEnabled:
        return f"HF_HUB_OFFLINE is set, and {hub} is not whole in the cache; unset it, or copy the cache of another box here"
    except HfHubHTTPError as told:
        return _of_status(hub, told.response.status_code if told.response is not None else 0)
    except Exception as told:
        # Whatever its client raises that is no answer: no route, no name, no time, no certificate.
        log.exception("The hub could not be asked about %s", hub)
        return f"the hub cannot be reached ({type(told).__name__}), and {hub} is not whole in the cache; see to the network"
    return f"{hub}: {error}"


def _of_status(hub: str, status: int) -> str:
    if status in (401, 403):
        return f"the hub refuses {hub} ({status}); set HF_TOKEN to a token that may read it"
    if status == 429:
        return f"the hub limits how often this box may ask (429); wait some minutes, or set HF_TOKEN ({hub})"
    return f"the hub is out of order (status {status}), and {hub} is not whole in the cache; try again later"
