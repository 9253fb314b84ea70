"""The tables of models.toml, each checked against its struct. A problem is told with its key, its value and the way out."""

from typing import Any, TypeVar, get_args

import msgspec

from pipelines.aspect_ratios import TIERS
from pipelines.model_card import Attention
from server.validation import Problem, check

T = TypeVar("T", bound=msgspec.Struct)


def read_tables(kind: str, tables: dict[str, dict[str, Any]], into: type[T], problems: list[str]) -> dict[str, T]:
    """Return the good ones of the tables `[kind.NAME]`, and add what is wrong with the others to `problems`."""
    read = {}
    for name, raw in tables.items():
        values, found = check(raw, into)
        problems += [told(f"[{kind}.{name}]", problem) for problem in found]
        if not found:
            read[name] = into(**values)
    return read


def told(table: str, problem: Problem) -> str:
    """Return a problem of a table in words, with the way out."""
    key = ".".join(str(part) for part in problem.loc)
    value = "" if problem.value is None else f" = {shortened(problem.value)}"
    remedy = _REMEDIES.get(str(problem.loc[0]) if problem.loc else "", "")
    return f"{table} {key}{value}: {problem.message}" + (f" ({remedy})" if remedy else "")


def shortened(value: object) -> str:
    """Return a value as text of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


_SWITCHES = ("layerwise_casting", "vae_tiling", "channels_last", "compile", "reproducible", "slots", "enabled")
_REMEDIES = {
    **dict.fromkeys(_SWITCHES, "true or false"),
    "tiers": f"a list of {', '.join(TIERS)}",
    "default_tier": f"one of {', '.join(TIERS)}",
    "dtype": "float32, float16 or bfloat16",
    "quantization": "int8 or float8",
    "offload": "model or group",
    "attention": f"one of {', '.join(get_args(Attention))}",
    "cache": 'a table such as { kind = "taylorseer", cache_interval = 3 }; kind is first_block, taylorseer or magcache',
    "licence": "write the model's licence, so that users can see it",
    "steps": "a whole number of denoising steps, 1–1000",
    "guidance": "a number 0–100; 0 switches guidance off",
    "preview": "auto, off, or every how many steps, 1–1000",
    "credits_cost": "whole credits, 0–1000000",
    "model_factors": "a table of a model's name = a number 0–1000",
    "tier_factors": f"a table of a tier, {', '.join(TIERS)} in quotes, = a number 0–1000",
    "on_technical_failure": "fail, retry or deliver",
    "default_model": "the name of an enabled model",
    "vocabulary": "studio-tiny, or leave the key out",
    "palette": "prompt, steer or match",
    "upscale": 'a table such as { tiers = ["2K"], strength = 0.25 }',
    "multiple_of": "a whole number 1–256",
    "max_batch": "a whole number of slots, 1–64",
    "pinned": 'true, false, or a list of devices such as ["cuda:1"]',
    "idle_unload_s": "seconds without an image, above 0",
    "models": "a table [models.NAME] for each model",
}
