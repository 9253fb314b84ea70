"""What a model card asks of its pipeline, held against what diffusers and the model's folder give; without torch.

The server checks every enabled card so before it takes up models.toml, and the GPU process checks a model's files so before
it reads them. A key, an option or an argument of a card either acts, or is refused here.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from pipelines.colors import PaletteMode
from pipelines.diffusers_classes import DENOISERS, class_names, optional_components, parameters
from pipelines.guidance import SECOND_GUIDANCE
from pipelines.model_card import ModelCard
from pipelines.option_check import INSTALL, problems_of_options
from pipelines.palette_check import steering_problem
from pipelines.upscale import UPSCALING_PIPELINES, UPSCALING_SCHEDULERS
from pipelines.weight_files import PICKLES, BadWeights, weight_files

#: What Backlot passes to every call.
_NEEDED = ("prompt", "width", "height", "num_inference_steps", "generator", "output_type")
#: How a pipeline tells of its steps; the first ones of diffusers do so by `callback`.
_CALLBACKS = ("callback_on_step_end", "callback")
#: A pipeline that takes one of these changes a picture, follows one, or makes films.
_OTHER_KINDS = {
    "mask_image": "paints into a picture",
    "strength": "changes a picture",
    "control_image": "follows a control picture",
    "controlnet_conditioning_scale": "follows a control picture",
    "num_frames": "makes films",
}
#: How pipelines are named whose call alone does not show that they need more than words, or make no picture.
_OTHER_NAMES = re.compile(r"Edit|I2I|Video|Animate|Prior|Refiner|LDM3D")
#: Arguments that the card or the spec says already, and how; a second value would make `meta` untrue.
_SAID_ELSEWHERE = {
    "prompt": "the spec and the card's prompt say it",
    "prompt_2": "the spec and the card's prompt say it",
    "prompt_3": "the spec and the card's prompt say it",
    "prompt_embeds": "the spec and the card's prompt say it",
    "negative_prompt": "the card's negative_prompt says it",
    "negative_prompt_2": "the card's negative_prompt says it",
    "negative_prompt_3": "the card's negative_prompt says it",
    "negative_prompt_embeds": "the card's negative_prompt says it",
    "width": "the spec's resolution and aspect_ratio say it",
    "height": "the spec's resolution and aspect_ratio say it",
    "use_resolution_binning": "the spec's resolution and aspect_ratio say it",
    "num_inference_steps": "the card's steps says it",
    "timesteps": "the card's steps says it",
    "sigmas": "the card's steps says it",
    "denoising_end": "the card's steps says it",
    "generator": "the spec's seed says it",
    "latents": "the spec's seed says it",
    "num_images_per_prompt": "a spec's n says it",
    "output_type": "the server needs its own",
    "return_dict": "the server needs its own",
    "use_kv_cache": "the server needs its own",
    "callback": "the server needs its own",
    "callback_steps": "the server needs its own",
    "callback_on_step_end": "the server needs its own",
    "callback_on_step_end_tensor_inputs": "the server needs its own",
}
#: How the components are named that must have weights.
_WITH_WEIGHTS = (*DENOISERS, "vae", "text_encoder", "image_encoder", "safety_checker")
#: Components that pipelines can do without, beside those that say so themselves.
_OPTIONAL = {"StableDiffusion3Pipeline": frozenset({"text_encoder_3", "tokenizer_3"})}
#: Optional components that people delete from folders to save room.
_DISPENSABLE = frozenset({"safety_checker", "feature_extractor", "image_encoder", "text_encoder_3", "tokenizer_3"})
#: Files that a tokenizer can be read from, besides those of sentencepiece and tiktoken.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")
#: How diffusers and transformers name a way of quantizing → the module that does it, and the package that brings it.
_QUANTIZERS = {
    "auto-round": ("auto_round", "auto-round"),
    "bfl": ("accelerate", "accelerate"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "gguf": ("gguf", "gguf"),
    "modelopt": ("modelopt", "nvidia-modelopt"),
    "nunchaku_lite": ("kernels", "kernels"),
    "quanto": ("optimum", "optimum-quanto"),
    "sdnq": ("sdnq", "sdnq"),
    "torchao": ("torchao", "torchao"),
}
#: Processors of texts and pictures of which worker/text_processors.py reads what reads texts.
TEXT_PROCESSORS = frozenset({"PixtralProcessor", "Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor"})
#: An id of the hub: NAME or OWNER/NAME.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def problems_of(card: ModelCard, folder: Path | None) -> Iterator[str]:
    """Yield what is wrong with a card, each as `key = value: why`; of its folder too, if that is on this box.

    Raises OSError or ValueError if the folder cannot be examined.
    """
    hub = card.weights.hub
    if hub is not None and (not _HUB_ID.fullmatch(hub) or len(hub) > 96 or ".." in hub or "--" in hub):
        yield f"hub = {hub!r}: {_hub_hint(hub)}"
    pipeline: object = card.weights.pipeline
    scheduler = card.weights.scheduler
    index = {} if folder is None else _read_json(folder / "model_index.json")
    if folder is not None:
        own = index.get("_class_name")
        if pipeline is not None and pipeline != own:
            yield f"pipeline = {pipeline!r}: the folder says {own!r}; remove the key"
        pipeline = own
        yield from _problems_of_kind("model_index.json", pipeline)
        if scheduler is None:
            scheduler = _scheduler_in(index)
        yield from problems_of_files(card, folder)
    elif pipeline is not None:
        yield from _problems_of_kind(f"pipeline = {pipeline!r}", pipeline)
    known = class_names("schedulers") if card.weights.scheduler is not None else []
    if card.weights.scheduler is not None and card.weights.scheduler not in known:
        near = did_you_mean(card.weights.scheduler, known)
        yield f"scheduler = {card.weights.scheduler!r}: diffusers has no such scheduler{near}"
    elif isinstance(scheduler, str) and (options := parameters("schedulers", scheduler, "__init__")) is not None:
        yield from (
            f"scheduler_options.{name}: {scheduler} has no such option{did_you_mean(name, options)}"
            for name in card.weights.scheduler_options
            if name not in options
        )
    yield from _problems_of_call(card, pipeline, scheduler)
    yield from problems_of_options(card, index, folder)
    if card.sampling.palette is PaletteMode.STEER and (problem := steering_problem(pipeline, scheduler)) is not None:
        yield f"palette = 'steer': {problem}; write prompt or match"
    if card.sampling.upscale is not None:
        yield from _problems_of_second_pass(pipeline, scheduler)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'steps'?`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def pipeline_of(folder: Path) -> str | None:
    """Return the class that a folder's model_index.json names; None if it brings a class of its own.

    Raises OSError or ValueError if that cannot be read.
    """
    name = _read_json(folder / "model_index.json").get("_class_name")
    return name if isinstance(name, str) else None


def scheduler_of(folder: Path) -> str | None:
    """Return the scheduler class that a folder's model_index.json names; None if it names none.

    Raises OSError or ValueError if that cannot be read.
    """
    return _scheduler_in(_read_json(folder / "model_index.json"))


def _scheduler_in(index: dict[str, object]) -> str | None:
    match index.get("scheduler"):
        case [_, str(name)]:
            return name
        case _:
            return None


def absent_components(folder: Path) -> list[str]:
    """Return the components that a folder lacks and its pipeline can do without. Raises OSError or ValueError."""
    index = _read_json(folder / "model_index.json")
    pipeline = str(index.get("_class_name"))
    optional = optional_components(pipeline) | _OPTIONAL.get(pipeline, frozenset())
    lacking = [name for name in sorted(optional) if not (folder / name).is_dir()]
    # Some are optional because prompts may come as embeddings, which they never do here.
    return [name for name in lacking if name in _DISPENSABLE or index.get(name) in (None, [None, None])]


def _problems_of_kind(place: str, pipeline: object) -> Iterator[str]:
    if not isinstance(pipeline, str):
        yield f"{place}: its pipeline brings code of its own, which is not run here; use a folder of a stock pipeline"
        return
    taken = parameters("pipelines", pipeline, "__call__")
    if taken is None:
        near = did_you_mean(pipeline, class_names("pipelines"))
        yield f"{place}: the installed diffusers has no {pipeline}{near}"
        return
    other = next((what for name, what in _OTHER_KINDS.items() if name in taken), None)
    lacking = [name for name in _NEEDED if name not in taken]
    if not set(_CALLBACKS) & set(taken):
        lacking.append(_CALLBACKS[0])
    if other is None and _OTHER_NAMES.search(pipeline):
        other = "needs more than words, or makes no picture"
    if other is not None:
        yield f"{place}: {pipeline} {other}; backgrounds need a text-to-image pipeline"
    elif lacking:
        yield f"{place}: {pipeline} takes no {', '.join(lacking)}; backgrounds need a text-to-image pipeline"


def problems_of_files(card: ModelCard, folder: Path) -> Iterator[str]:
    """Yield what is wrong with the files of each component: a tokenizer without files, weights that are cut off …

    Raises OSError or ValueError if the folder cannot be examined.
    """
    variants = set()
    index = _read_json(folder / "model_index.json")
    absent = absent_components(folder)
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
            continue
        component = folder / name
        if not component.is_dir():
            if name not in absent:
                yield f"{name}: model_index.json names it, and there is no folder {name}; copy the whole model"
        elif not any(component.iterdir()):
            yield f"{name}: its folder is empty; copy the whole model"
        elif name.startswith("tokenizer") and not any(_is_vocabulary(path) for path in component.iterdir()):
            yield f"{name}: its folder has no vocabulary, such as tokenizer.json or vocab.json; copy the whole model"
        elif card.weights.file is not None:
            # Its weights may be in the file.
            continue
        elif (component / "config.json").is_file() and any(_may_hold_weights(path) for path in component.iterdir()):
            try:
                variants.add(weight_files(component, card.weights.variant, pickle=card.weights.pickle).variant)
            except BadWeights as error:
                yield str(error)
        elif (component / "config.json").is_file() and name.startswith(_WITH_WEIGHTS):
            yield f"{name}: its folder has no weights; copy the whole model"
        yield from _problems_of_packages(component, value[0], str(value[1]))
    if card.weights.variant is not None and variants and card.weights.variant not in variants:
        yield f"variant = {card.weights.variant!r}: no file of the folder is of this variant; remove the key"


def _problems_of_packages(component: Path, library: str, kind: str) -> Iterator[str]:
    """Yield the packages that a component needs, and that are not installed with Backlot."""
    reads_pictures = kind.endswith("Processor") and not kind.endswith("ImageProcessor") and kind not in TEXT_PROCESSORS
    if reads_pictures and find_spec("torchvision") is None:
        yield f"{component.name}: {kind} needs torchvision, in the version that fits torch; {INSTALL} torchvision"
    if not (component / "config.json").is_file():
        return
    quantized = _read_json(component / "config.json").get("quantization_config")
    method = quantized.get("quant_method") if isinstance(quantized, dict) else None
    if method in _QUANTIZERS:
        module, package = _QUANTIZERS[method]
        if find_spec(module) is None:
            yield f"{component.name}: its weights are quantized by {method}, which needs {package}; {INSTALL} {package}"
    elif method is not None and library == "diffusers":
        yield f"{component.name}: its weights are quantized by {method!r}, which diffusers does not know; use other weights"


def _may_hold_weights(path: Path) -> bool:
    return path.name.endswith((".safetensors", ".index.json", *PICKLES))


def _is_vocabulary(path: Path) -> bool:
    return path.name in _VOCABULARIES or path.suffix in (".model", ".tiktoken")


def _problems_of_call(card: ModelCard, pipeline: object, scheduler: object) -> Iterator[str]:
    guidance = card.sampling.guidance_argument
    for name in card.sampling.arguments:
        if name in _SAID_ELSEWHERE:
            yield f"arguments.{name}: {_SAID_ELSEWHERE[name]}; remove it here"
        elif name == guidance:
            yield f"arguments.{name}: the card's guidance says it; remove it here"
    if guidance in _SAID_ELSEWHERE:
        yield f"guidance_argument = {guidance!r}: that is not guidance ({_SAID_ELSEWHERE[guidance]})"
    if not isinstance(pipeline, str) or (taken := parameters("pipelines", pipeline, "__call__")) is None:
        return
    if guidance not in taken:
        likely = [name for name in taken if "guidance" in name or "cfg" in name]
        hint = did_you_mean(guidance, likely) or (f"; it takes {', '.join(likely)}" if likely else "")
        yield f"guidance_argument = {guidance!r}: {pipeline} takes no such argument{hint}"
    for name in card.sampling.arguments:
        if name not in taken and name not in _SAID_ELSEWHERE:
            yield f"arguments.{name}: {pipeline} takes no such argument{did_you_mean(name, taken)}"
    if card.wording.negative_prompt.strip():
        if "negative_prompt" not in taken:
            yield f"negative_prompt: {pipeline} takes none; remove the key"
        elif (
            SECOND_GUIDANCE in taken and guidance != SECOND_GUIDANCE and SECOND_GUIDANCE not in card.sampling.arguments
        ):
            yield (
                f"negative_prompt: {pipeline} uses it only with guidance_argument = {SECOND_GUIDANCE!r};"
                " set that or remove the key"
            )
    elif guidance == SECOND_GUIDANCE and card.sampling.guidance > 1 and not card.wording.negative_prompt:
        yield (
            f"guidance = {card.sampling.guidance:g}: {pipeline} guides only if there is a negative prompt;"
            ' write negative_prompt = " " or guidance = 1.0'
        )
    step = parameters("schedulers", scheduler, "step") if isinstance(scheduler, str) else None
    if "eta" in card.sampling.arguments and step is not None and "eta" not in step:
        yield f"arguments.eta: {scheduler} does not use it; remove it"


def _problems_of_second_pass(pipeline: object, scheduler: object) -> Iterator[str]:
    if isinstance(pipeline, str) and pipeline not in UPSCALING_PIPELINES:
        yield f"upscale: {pipeline} is not among those that can begin with a picture; remove it"
    if isinstance(scheduler, str) and scheduler not in UPSCALING_SCHEDULERS:
        yield (
            f"upscale: {scheduler} cannot begin in the middle of its schedule; remove it, or write a scheduler that can:"
            f" {', '.join(sorted(UPSCALING_SCHEDULERS))}"
        )


def _hub_hint(hub: str) -> str:
    address = re.match(r"(?:https?://)?(?:www\.)?huggingface\.co/([\w.-]+/[\w.-]+)", hub)
    if address is not None:
        return f"a hub id is no address; write hub = {address[1]!r}"
    if hub.startswith(("/", "./", "~", "../")) or hub.count("/") > 1:
        return "a hub id looks like org/name; for a folder on this box write folder"
    return "a hub id looks like org/name"


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not a table; copy it again")  # noqa: TRY004  the file is bad, not the call
    return found
