"""The families of models that Backlot is tried with: a row each, of which docs/reference/models.md is made.

`python -m tests.support.model_matrix` writes that page. tests/integration/test_families.py proves the rows.
"""

from typing import Any, Literal

import msgspec

from tests.support.server import ROOT

PAGE = ROOT / "docs" / "reference" / "models.md"
#: `true`: a second denoiser call, with the negative prompt. `distilled`: an input of its one call. `none`: no guidance.
Guidance = Literal["true", "distilled", "none"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The promises about one family of models."""

    name: str
    #: Models of this family, as people ask for them.
    models: str
    pipeline: str
    #: The function of tests.support.tiny that makes a tiny model of this family with random weights.
    tiny: str
    #: The fields of its card beside the folder, in models.toml's words.
    card: dict[str, Any]
    #: Whether images enter and leave a batch at any step; if not, they run as whole batches.
    slots: bool
    guidance: Guidance
    #: Whether a spec's negative prompt is followed; if not, a spec that has one is refused.
    negative_prompt: bool
    #: The multiple of pixels that widths and heights of the tiny model must be, and of the real models.
    tiny_multiple: int
    multiple: int

    @property
    def id(self) -> str:
        return self.name.lower().replace(" ", "-")


_TRUE = {"guidance": 3.0}
_OFF = {"guidance": 0.0}

ROWS = [
    Row(
        name="Stable Diffusion 1.5",
        models="SD 1.5, 2.1 and their fine-tunes",
        pipeline="StableDiffusionPipeline",
        tiny="unet_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=64,
    ),
    Row(
        name="SDXL",
        models="SDXL, Pony, Illustrious, Playground",
        pipeline="StableDiffusionXLPipeline",
        tiny="sdxl_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=64,
    ),
    Row(
        name="SDXL Turbo",
        models="SDXL-Turbo",
        pipeline="StableDiffusionXLPipeline",
        tiny="sdxl_pipeline",
        card={
            **_OFF,
            "scheduler": "EulerAncestralDiscreteScheduler",
            "scheduler_options": {"timestep_spacing": "trailing"},
        },
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=16,
        multiple=64,
    ),
    Row(
        name="SDXL Lightning",
        models="SDXL-Lightning, Hyper-SDXL",
        pipeline="StableDiffusionXLPipeline",
        tiny="sdxl_pipeline",
        card={**_OFF, "scheduler": "EulerDiscreteScheduler", "scheduler_options": {"timestep_spacing": "trailing"}},
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=16,
        multiple=64,
    ),
    Row(
        name="SDXL LCM",
        models="LCM-SDXL",
        pipeline="StableDiffusionXLPipeline",
        tiny="sdxl_pipeline",
        card={**_OFF, "scheduler": "LCMScheduler"},
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=16,
        multiple=64,
    ),
    Row(
        name="Stable Diffusion 3.5",
        models="SD 3.5 Large, Large Turbo, Medium",
        pipeline="StableDiffusion3Pipeline",
        tiny="sd3_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=16,
    ),
    Row(
        name="FLUX.1",
        models="FLUX.1 [dev], [schnell], [krea]",
        pipeline="FluxPipeline",
        tiny="flux_pipeline",
        card=_TRUE,
        slots=True,
        guidance="distilled",
        negative_prompt=False,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="FLUX.1 with true guidance",
        models="de-distilled FLUX.1",
        pipeline="FluxPipeline",
        tiny="flux_pipeline",
        card={**_TRUE, "guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="FLUX.2",
        models="FLUX.2 [dev]",
        pipeline="Flux2Pipeline",
        tiny="flux2_pipeline",
        card=_TRUE,
        slots=True,
        guidance="distilled",
        negative_prompt=False,
        tiny_multiple=4,
        multiple=16,
    ),
    Row(
        name="FLUX.2 klein",
        models="FLUX.2 [klein] 4B, 9B",
        pipeline="Flux2KleinPipeline",
        tiny="flux2_klein_pipeline",
        card={"guidance": 1.0},
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=4,
        multiple=16,
    ),
    Row(
        name="Z-Image",
        models="Z-Image",
        pipeline="ZImagePipeline",
        tiny="z_image_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="Z-Image Turbo",
        models="Z-Image-Turbo",
        pipeline="ZImagePipeline",
        tiny="z_image_pipeline",
        card=_OFF,
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="Qwen-Image",
        models="Qwen-Image, Qwen-Image-2512",
        pipeline="QwenImagePipeline",
        tiny="qwen_image_pipeline",
        card={**_TRUE, "guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=8,
        multiple=16,
    ),
    Row(
        name="Qwen-Image 2.1",
        models="Qwen-Image-2.1",
        pipeline="QwenImage21Pipeline",
        tiny="qwen_image21_pipeline",
        card={"guidance": 1.0, "guidance_argument": "true_cfg_scale"},
        slots=True,
        guidance="none",
        negative_prompt=False,
        tiny_multiple=32,
        multiple=32,
    ),
    Row(
        name="Qwen-Image 2.1 with true guidance",
        models="Qwen-Image-2.1",
        pipeline="QwenImage21Pipeline",
        tiny="qwen_image21_pipeline",
        card={**_TRUE, "guidance_argument": "true_cfg_scale", "negative_prompt": " "},
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=32,
    ),
    Row(
        name="Sana",
        models="Sana 0.6B, 1.6B, 4.8B",
        pipeline="SanaPipeline",
        tiny="sana_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=32,
    ),
    Row(
        name="PixArt-Σ",
        models="PixArt-Σ XL",
        pipeline="PixArtSigmaPipeline",
        tiny="pixart_sigma_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=16,
    ),
    Row(
        name="Lumina 2",
        models="Lumina-Image-2.0, NetaLumina",
        pipeline="Lumina2Pipeline",
        tiny="lumina2_pipeline",
        card=_TRUE,
        slots=False,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=16,
    ),
    Row(
        name="HiDream",
        models="HiDream-I1 Full, Dev, Fast",
        pipeline="HiDreamImagePipeline",
        tiny="hidream_pipeline",
        card=_TRUE,
        slots=False,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=16,
    ),
    Row(
        name="Krea 2",
        models="Krea 2",
        pipeline="Krea2Pipeline",
        tiny="krea2_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=8,
        multiple=16,
    ),
    Row(
        name="Kandinsky 5",
        models="Kandinsky 5.0 T2I Lite",
        pipeline="Kandinsky5T2IPipeline",
        tiny="kandinsky5_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=16,
        multiple=16,
    ),
    Row(
        name="Chroma",
        models="Chroma1-HD, Chroma1-Base",
        pipeline="ChromaPipeline",
        tiny="chroma_pipeline",
        card=_TRUE,
        slots=True,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="LongCat-Image",
        models="LongCat-Image",
        pipeline="LongCatImagePipeline",
        tiny="longcat_image_pipeline",
        card=_TRUE,
        slots=False,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=16,
    ),
    Row(
        name="AuraFlow",
        models="AuraFlow 0.3",
        pipeline="AuraFlowPipeline",
        tiny="aura_flow_pipeline",
        card=_TRUE,
        slots=False,
        guidance="true",
        negative_prompt=True,
        tiny_multiple=32,
        multiple=16,
    ),
]

_GUIDED = {"true": "by a second call", "distilled": "distilled", "none": "off"}

_PAGE = """# Models

These are the models that Backlot is tried with: for each row a tiny genuine instance, of the classes of diffusers and transformers
with random weights, is loaded by its card and generates. In slots an image equals the image alone, bit by bit, whatever its
neighbours; its progress is told; it can be cancelled between two steps; its size is the one that was asked for.
`tests/integration/test_families.py` shows it, and this page is made of the same rows by `./scripts/fix`.

*Slots*: images enter and leave at any step. *Whole batches*: the images of a batch begin and end together, and those beside an
image may change its last bits, as may prompts of other lengths. Images with and without a negative prompt share no whole batch.
If neighbours would change what is seen, as in whole batches of Kandinsky 5, Qwen-Image 2.1 and GLM-Image, a card needs
`max_batch = 1`.

Every other text-to-image pipeline of diffusers that tells of its steps runs as whole batches too, also if its denoiser is one of
those above; AuraFlow stands for them here. How neighbours change their images is not tried, so for exact seeds give them
`max_batch = 1`. DreamLite tells of no steps, and is refused; so are models that bring code of their own. LongCat-Image and
ERNIE-Image read the prompt as it is: their own rewriting of prompts is off, since it would draw numbers that no seed decides.

Guidance *by a second call* doubles the cost of a step and follows negative prompts. *Distilled* guidance is an input of the
denoiser. If a model follows no negative prompt, a spec that has one is refused with a 422. A card of Stable Diffusion 1.5, SDXL,
Stable Diffusion 3.5, Sana or PixArt-Σ may say at which noise guidance acts, `guidance_interval`, which halves the rows of all other steps.

Images of all rows can be enlarged by a second pass, and steered to colours. A card or a spec that asks it of another pipeline is
refused.

| family | models | pipeline | runs in | guidance | negative prompt | `multiple_of` |
|---|---|---|---|---|---|---|
{rows}

The text encoders of FLUX.2, Qwen-Image 2.1, Kandinsky 5 and LongCat-Image can see too, so their folders have a processor of
texts and pictures. Only the part of these processors that reads texts is loaded, which needs no torchvision. Other processors
need it, and `backlot models check` says so.

Folders that somebody quantized, and GGUF files, need no option on the card: the files say how they are to be read. torchao
(int8, float8), SDNQ (int8, uint4), GGUF (Q8_0) and, on a GPU, bitsandbytes (nf4, int8; int8 needs `max_batch = 1` for exact seeds)
are tried. quanto, auto-round, ModelOpt and Nunchaku take the same way through diffusers, and are not tried. `backlot models
check` names the package that a folder needs.

HiDream's hub ids lack their fourth text encoder: put the folders `text_encoder_4` and `tokenizer_4` of Llama 3.1 8B Instruct into
a copy, and name them in its `model_index.json`.
"""


def page() -> str:
    """Return the text of docs/reference/models.md."""
    rows = [
        [
            row.name,
            row.models,
            f"`{row.pipeline}`",
            "slots" if row.slots else "whole batches",
            _GUIDED[row.guidance],
            "yes" if row.negative_prompt else "no",
            str(row.multiple),
        ]
        for row in ROWS
    ]
    return _PAGE.format(rows="\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    PAGE.write_text(page())
