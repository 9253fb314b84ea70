"""A workflow: what a client may ask for.

It checks a spec, resolves it to a plan, and says what is kept of a job that went well. The intake makes the job.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pipelines import protocol
from pipelines.colors import parse_color
from pipelines.model_card import ModelCard
from server.errors import Invalid
from server.jobs import Generation, Job, JobType, Plan, image_path
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType, NewImage, Result
from server.models_file import Brand, Models
from server.validation import Problem, check, within
from server.workflows import loras
from server.workflows.prompts import Prompt
from server.workflows.spec import GenerationSpec, common_problems, tier_of

#: Seeds that the server draws stay below this, so that people can read them aloud.
DRAWN_SEEDS = 2**32

Spec = TypeVar("Spec", bound=GenerationSpec)


class Workflow(msgspec.Struct, Generic[Spec], frozen=True, kw_only=True):
    """One row of the registry."""

    job_type: JobType
    op_class: str
    #: The name of the operation in the OpenAPI document, and its summary.
    operation_id: str
    summary: str
    spec: type[Spec]
    #: Returns what is wrong with the workflow's own fields among a spec's values.
    own_problems: Callable[[dict[str, Any]], list[Problem]]
    #: Returns the prompt of a spec's images, for its model's card and its brand.
    prompt_of: Callable[[Spec, ModelCard, Brand], Prompt]
    #: Returns a name for a job whose spec has none.
    coin_name: Callable[[Spec], str]
    #: Returns how many images a spec asks for.
    count_of: Callable[[Spec], int]
    #: The beginning of a job's label among transactions; the job's name follows.
    label: str
    #: The kind of its artifacts and entries in the ledger, and the fields of a spec that an entry shows.
    artifact_kind: ArtifactKind
    entry_type: EntryType
    entry_fields: tuple[str, ...]
    #: The message of the last event of a job that went well.
    succeeded: str

    def check(self, raw: Any, models: Models, others: Sequence[Problem] = ()) -> Spec:
        """Return the spec. Raises Invalid with every problem found, `others` of the same request included."""
        values, problems = check(raw, self.spec)
        for name in self.spec.trimmed:
            if isinstance(values.get(name), str):
                values[name] = values[name].strip()
        if isinstance(raw, dict):
            problems += self.own_problems(values)
            problems += common_problems(values, raw, models)
        if problems or others:
            raise Invalid([*others, *within("body", problems)])
        return self.spec(**values)

    def resolve(self, spec: Spec, models: Models) -> Plan:
        """Return the plan for a checked spec; image i has the seed of the first plus i."""
        operation = models.operations[self.job_type]
        card = models.enabled[spec.image_model or models.default_model]
        brand = models.brands.get(spec.pilot_brand or "", Brand())
        applied = loras.resolve(card, brand, {lora.name: lora.weight for lora in spec.loras}, models)
        prompt = self.prompt_of(spec, card, loras.with_words(brand, applied, models))
        size = card.size(tier_of(spec, card), spec.aspect_ratio or "1:1")
        first = random.randrange(DRAWN_SEEDS) if spec.seed is None else spec.seed  # noqa: S311  not a secret
        generations = tuple(
            Generation(
                model=card.name,
                width=size.width,
                height=size.height,
                steps=card.sampling.steps,
                guidance=card.sampling.guidance,
                # Seeds wrap around at the end of their range.
                seed=(first + index) % 2**53,
                prompt=prompt.text,
                negative_prompt=prompt.negative,
                brand_words=prompt.brand_words,
                colors=tuple(parse_color(color) for color in spec.dominant_colors),
                palette=spec.palette or card.sampling.palette,
                loras=applied,
                second=size.second,
            )
            for index in range(self.count_of(spec))
        )
        return Plan(
            generations=generations,
            evaluate=operation.eval_enabled if spec.eval_enabled is None else spec.eval_enabled,
            on_technical_failure=spec.on_technical_failure or operation.on_technical_failure,
            max_attempts=operation.max_attempts,
            display_name=spec.display_name or self.coin_name(spec),
            understood=prompt.understood,
        )

    def result_of(self, job: Job, images: Sequence[protocol.Generated]) -> Result:
        """Return what to keep of the images of a job, which come in the order of its generations."""
        kept = [
            NewImage(
                path=image_path(job.job_id, index, len(images)),
                kind=self.artifact_kind,
                label=job.plan.display_name,
                meta=_meta(job, image),
                entry_type=self.entry_type,
                spec={"display_name": job.plan.display_name, **{name: job.request[name] for name in self.entry_fields}},
                description=_description(job, image),
            )
            for index, image in enumerate(images)
        ]
        return Result(kept, self.succeeded)


def _meta(job: Job, image: protocol.Generated) -> dict[str, Any]:
    meta: dict[str, Any] = msgspec.to_builtins(image.recipe)
    meta |= {"model_revision": image.recipe.revision, "timings": image.timings, "attempts": job.attempts}
    meta["palette"] = image.recipe.palette
    del meta["revision"]
    if job.plan.understood is not None:
        meta["understood"] = msgspec.to_builtins(job.plan.understood)
    if image.prompt_cut:
        meta["prompt_cut"] = image.prompt_cut
    if image.evaluation is not None:
        meta["eval"] = msgspec.to_builtins(image.evaluation)
    if image.defect is not None:
        meta["technical_failure"] = image.defect
    return meta


def _description(job: Job, image: protocol.Generated) -> str:
    recipe = image.recipe
    return f"{job.plan.display_name}, {recipe.width} × {recipe.height}, by {recipe.model}, seed {recipe.seed}"
