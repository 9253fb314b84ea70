"""Checks of the files of a model's folder against its model_index.json."""

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

from pipelines.checks.packages import lack_of
from pipelines.diffusers_classes import DENOISERS, mentions, optional_components
from pipelines.model_card import ModelCard
from pipelines.model_index import ModelIndex, read_if_there
from pipelines.parts_of_file import held_components
from pipelines.weight_files import PICKLES, BadWeights, weight_files

#: Beginnings of the names of components that must have weights.
_WITH_WEIGHTS = (*DENOISERS, "vae", "text_encoder", "image_encoder", "safety_checker")
#: Components that a pipeline can do without although its class does not say so.
_OPTIONAL = {"StableDiffusion3Pipeline": frozenset({"text_encoder_3", "tokenizer_3"})}
#: Optional components that people delete from folders to save room.
_DISPENSABLE = frozenset({"safety_checker", "feature_extractor", "image_encoder", "text_encoder_3", "tokenizer_3"})
#: Files that a tokenizer can be read from, besides those of sentencepiece and tiktoken.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")
#: Ways of quantizing, by the names of diffusers and transformers, each with the module that does it and its package.
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
#: Processors of texts and pictures from which worker/text_processors.py loads only the part for texts.
TEXT_PROCESSORS = frozenset({"PixtralProcessor", "Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor"})


def absent_components(folder: Path, index: ModelIndex) -> list[str]:
    """Return the components that a folder lacks and its pipeline can do without. Raises OSError."""
    pipeline = str(index.pipeline)
    optional = optional_components(pipeline) | _OPTIONAL.get(pipeline, frozenset())
    lacking = [name for name in sorted(optional) if not (folder / name).is_dir()]
    # Others are optional only for prompts that come as embeddings, which Backlot never passes.
    return [name for name in lacking if name in _DISPENSABLE or name not in index.components]


def problems_of_classes(index: ModelIndex) -> Iterator[str]:
    """Yield which components are of classes that no installed package has; their code would come with the model."""
    for name, (library, kind) in index.components.items():
        if library in ("diffusers", "transformers") or mentions("pipelines", kind, kind):
            continue
        if find_spec(library.partition(".")[0] or "-") is None:
            yield f"{name}: its {kind} brings code of its own, which is not run here; use a model of stock components"


def problems_of_files(card: ModelCard, folder: Path, index: ModelIndex) -> Iterator[str]:
    """Yield what is wrong with the files of each component, such as a missing vocabulary or weights that are cut off.

    Raises OSError or ValueError if the folder cannot be examined.
    """
    yield from problems_of_classes(index)
    variants = set()
    absent = absent_components(folder, index)
    held = _held(card, index)
    for name, (library, kind) in index.components.items():
        component = folder / name
        if not component.is_dir():
            if name not in absent:
                yield f"{name}: model_index.json names it, and there is no folder {name}; copy the whole model"
        elif not any(component.iterdir()):
            yield f"{name}: its folder is empty; copy the whole model"
        elif name.startswith("tokenizer") and not any(_is_vocabulary(path) for path in component.iterdir()):
            yield f"{name}: its folder has no vocabulary, such as tokenizer.json or vocab.json; copy the whole model"
        elif name in held:
            continue
        elif (component / "config.json").is_file() and any(_may_hold_weights(path) for path in component.iterdir()):
            try:
                variants.add(weight_files(component, card.weights.variant, pickle=card.weights.pickle).variant)
            except BadWeights as error:
                yield str(error)
        elif (component / "config.json").is_file() and name.startswith(_WITH_WEIGHTS):
            yield f"{name}: its folder has no weights; copy the whole model"
        yield from _problems_of_packages(component, library, kind)
    if card.weights.variant is not None and variants and card.weights.variant not in variants:
        yield f"variant = {card.weights.variant!r}: no file of the folder is of this variant; remove the key"


def _held(card: ModelCard, index: ModelIndex) -> Collection[str]:
    """Return the components that a card's checkpoint in one file holds, or may hold.

    What is wrong with the file itself is told elsewhere.
    """
    if card.weights.file is None:
        return ()
    file = Path(card.weights.file)
    if file.name.endswith(PICKLES):
        return index.components
    try:
        return held_components(file, index.components)
    except (BadWeights, OSError):
        return index.components


def _problems_of_packages(component: Path, library: str, kind: str) -> Iterator[str]:
    """Yield which packages a component needs that are not installed."""
    reads_pictures = kind.endswith("Processor") and not kind.endswith("ImageProcessor") and kind not in TEXT_PROCESSORS
    if reads_pictures and (lack := lack_of("torchvision", "torchvision")) is not None:
        yield f"{component.name}: {kind} {lack}, in the version that fits torch"
    quantized = read_if_there(component / "config.json").get("quantization_config")
    method = quantized.get("quant_method") if isinstance(quantized, dict) else None
    if method in _QUANTIZERS:
        if (lack := lack_of(*_QUANTIZERS[method])) is not None:
            yield f"{component.name}: its weights are quantized by {method}, which {lack}"
    elif method is not None and library == "diffusers":
        yield f"{component.name}: its weights are quantized by {method!r}, which diffusers does not know; use other weights"


def _may_hold_weights(path: Path) -> bool:
    return path.name.endswith((".safetensors", ".index.json", *PICKLES))


def _is_vocabulary(path: Path) -> bool:
    return path.name in _VOCABULARIES or path.suffix in (".model", ".tiktoken")
