"""Chooses the LoRAs that an image gets: the card's, the brand's and the request's."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pipelines.lora import Lora, LoraWeight
from pipelines.model_card import ModelCard
from server.models_file import Brand, Models
from server.validation import Problem


class LoraChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA as a request names it."""

    name: Annotated[str, Meta(description="One of the model's loras in GET /v1/models")]
    weight: Annotated[LoraWeight, Meta(description="How strongly it acts; 0 switches off one of the card or brand")] = (
        1.0
    )


def resolve(card: ModelCard, brand: Brand, asked: Mapping[str, float], models: Models) -> tuple[Lora, ...]:
    """Return the LoRAs of an image in the order of their names.

    If several name the same LoRA, the request's weight counts, then the brand's. A brand may name LoRAs of several models;
    those that fit this one count.
    """
    fitting = models.loras_of(card.name)
    of_brand = {name: weight for name, weight in brand.loras.items() if name in fitting}
    weights = {**card.sampling.loras, **of_brand, **asked}
    return tuple(Lora(name, fitting[name].file, weight) for name, weight in sorted(weights.items()) if weight != 0)


def with_words(brand: Brand, loras: Sequence[Lora], models: Models) -> Brand:
    """Return the brand with the words of these LoRAs among its own, which are kept if a prompt is too long."""
    words = [brand.prompt, *(models.loras[lora.name].prompt for lora in loras)]
    return msgspec.structs.replace(brand, prompt=", ".join(word for word in words if word))


def problems_of(asked: list[LoraChoice], card: ModelCard, brand: Brand, models: Models) -> list[Problem]:
    """Return what is wrong with the LoRAs of a request, beside their types."""
    fitting = models.loras_of(card.name)
    problems = []
    names: set[str] = set()
    for index, choice in enumerate(asked):
        if choice.name not in fitting:
            way_out = f"it takes {', '.join(fitting)}" if fitting else "it takes none"
            message = f"{card.name} has no LoRA {choice.name[:100]!r}; {way_out}"
            problems.append(Problem(("loras", index, "name"), "enum", message))
        elif choice.name in names:
            problems.append(
                Problem(("loras", index, "name"), "value_error", f"{choice.name} is named twice; name it once")
            )
        names.add(choice.name)
    if not problems:
        weights = {choice.name: choice.weight for choice in asked}
        problems += [
            Problem(
                ("loras",), "value_error", f"The LoRA {lora.name} cannot be used: {models.unusable_loras[lora.name]}"
            )
            for lora in resolve(card, brand, weights, models)
            if lora.name in models.unusable_loras
        ]
    return problems
