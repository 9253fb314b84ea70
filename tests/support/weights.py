"""A folder of a diffusers model that can be read but not loaded: real file formats, tiny contents, no torch."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def bare_folder(
    folder: Path, pipeline: str = "StableDiffusionPipeline", scheduler: str = "DDIMScheduler", parameters: int = 1000
) -> Path:
    """Write model_index.json and the files that it names; the UNet has this many parameters."""
    components: dict[str, list[str | None]] = {
        "scheduler": ["diffusers", scheduler],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "safety_checker": [None, None],
    }
    for name, (library, _) in components.items():
        if library is not None:
            (folder / name).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **components}))
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    for name, stem, size in (("text_encoder", "model", 1000), ("unet", "diffusion_pytorch_model", parameters)):
        (folder / name / "config.json").write_text("{}")
        save_file({"weight": np.zeros(size, np.float32)}, folder / name / f"{stem}.safetensors")
    return folder
