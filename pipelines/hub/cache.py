"""The folder in which the hub's cache keeps a model on this box."""

from pathlib import Path

from pipelines.model_card import Weights


def cached_folder(weights: Weights) -> Path | None:
    """Return the folder of the commit of a card's hub id and revision, which may lack files; None if the cache has none."""
    if weights.hub is None:
        return None
    # This is imported here because to import it takes longer than a server without models of a hub takes to start.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(weights.hub, "model_index.json", revision=weights.revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None
