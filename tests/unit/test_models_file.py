"""models.toml: good cards load, every fault of bad ones is told, and the shipped file is as it should be."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.aspect_ratios import RATIOS, TIERS, size_of
from pipelines.colors import color_name, parse_color
from pipelines.model_card import FlatCard
from server.jobs import JobType
from server.models_file import Brand, ModelsFileError, load_models
from server.workflows.prompts import of_scene
from tests.support.files import models_file
from tests.support.server import ROOT
from tests.support.weights import bare_folder

CARD = 'hub = "a/b"\nlicence = "l"\ntiers = ["1K"]\nsteps = 4\nguidance = 1.0\n'


def problems(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(ModelsFileError) as refused:
        load_models(path)
    return "\n".join(refused.value.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["default_model: Field required", "models: Field required"]),
        ("a = [", ["not TOML"]),
        ("default_model = 'x'\n[models.x]\n" + CARD + "stepz = 4", ["[models.x] stepz = 4: Unknown field", "did you mean 'steps'"]),
        ("default_model = 'x'\n[models.x]\n" + CARD.replace("4", "'4'"), ["[models.x] steps = '4'", "1–1000"]),
        ("default_model = 'x'\n[models.x]\n" + CARD.replace('"1K"', '"1K", "3K"'), ["tiers.1 = '3K'", "0.5K, 1K, 2K, 4K"]),
        ("default_model = 'x'\n[models.x]\npalette = 'guess'\n" + CARD, ["[models.x] palette = 'guess'", "prompt, steer or match"]),
        ("default_model = 'x'\n[models.x]\npreview = 'always'\n" + CARD, ["preview = 'always'", "every how many steps"]),
        ("default_model = 'x'\n[models.x]\npreview = 0\n" + CARD, ["[models.x] preview = 0", "auto, off"]),
        ("default_model = 'x'\n[models.x]\nquantization = 'int9'\n" + CARD, ["[models.x] quantization = 'int9'", "int8 or float8"]),
        ("default_model = 'x'\n[models.x]\nattention = 'falsh'\n" + CARD, ["[models.x] attention = 'falsh'", "flash, _flash_3"]),
        ("default_model = 'x'\n[models.x]\ncache = { kind = 'tea' }\n" + CARD, ["[models.x] cache", "first_block, taylorseer or magcache"]),
        (
            "default_model = 'x'\n[models.x]\ncache = { kind = 'first_block', threshold = 0 }\n" + CARD,
            ["[models.x] cache.threshold = ", "Expected `float` > 0.0"],
        ),
        ("default_model = 'x'\n[models.x]\noffload = 'disk'\n" + CARD, ["[models.x] offload = 'disk'", "model or group"]),
        (
            "default_model = 'x'\n[models.x]\nidle_unload_s = 60\npinned = true\n" + CARD,
            ["[models.x] idle_unload_s = 60: pinned keeps the model in memory; choose one of the two"],
        ),
        ("default_model = 'y'\n[models.x]\n" + CARD, ["default_model = 'y'", "choose one of x"]),
        ("default_model = 'x'\n[models.x]\nenabled = false\n" + CARD, ["set enabled = true"]),
        ("default_model = 'x y'\n[models.'x y']\n" + CARD, ["[models.'x y']", "letters, digits"]),
        ("default_model = 'x'\n[models.x]\nfolder = '/nowhere'\n" + CARD, ["either folder"]),
        ("default_model = 'x'\n[models.x]\n" + CARD.replace('hub = "a/b"', "folder = '/nowhere'"), ["[models.x] folder = '/nowhere': there is no such folder"]),
        *(
            (f"default_model = 'x'\n[models.x]\nprompt = '{prompt}'\n{CARD}", [f"prompt = '{prompt}'", "{colors}"])
            for prompt in ("{colour}", "{}", "{", "{scene!r}", "{scene:9999999999}", "{scene.upper}", "{mood[0]}")
        ),
        ("default_model = 'x'\n[models.x]\n" + CARD + "[operations.paint]", ["[operations.paint]", "background-generator"]),
        (
            "default_model = 'x'\n[models.x]\n" + CARD + "[operations.background-generator]\ncredits_cost = -1",
            ["[operations.background-generator] credits_cost = -1", "whole credits"],
        ),
        (
            "default_model = 'x'\n[models.x]\n" + CARD
            + "[operations.background-generator]\nmodel_factors = { xx = 2 }\ntier_factors = { '3K' = 2 }",
            ["[operations.background-generator] tier_factors", "'3K' is not one of 0.5K, 1K, 2K, 4K"],
        ),
        (
            "default_model = 'x'\n[models.x]\n" + CARD + "[operations.background-generator]\nmodel_factors = { xx = 2 }",
            ["[operations.background-generator] model_factors: Unknown model 'xx'; did you mean 'x'?"],
        ),
        (
            "default_model = 'x'\n[models.x]\n" + CARD + "[operations.background-generator]\nmodel_factors = { x = nan }",
            ["[operations.background-generator] model_factors.x = nan", "a number 0–1000"],
        ),
        ("default_model = 'x'\n[models.x]\nupscale = { tiers = ['1K'] }\n" + CARD, ["1K is among its tiers already"]),
        ("default_model = 'x'\n[models.x]\nupscale = { tiers = ['0.5K'] }\n" + CARD, ["0.5K is below 1K"]),
        (
            "default_model = 'x'\n[models.x]\nupscale = { tiers = ['4K'] }\n" + CARD.replace("1K", "0.5K"),
            ["4K is 8 times 0.5K"],
        ),
        (
            "default_model = 'x'\n[models.x]\nupscale = { tiers = ['2K'], tile = 64 }\nmultiple_of = 64\n" + CARD,
            ["upscale.tile = 64: it takes at least two times multiple_of, 128"],
        ),
        (
            "default_model = 'x'\n[models.x]\nupscale = { tiers = ['2K'], strength = 1.0 }\n" + CARD,
            ["[models.x] upscale.strength = 1.0: Expected `float` < 1.0", "a table such as"],
        ),
        (
            "default_model = 'x'\n[models.x]\nupscale = { tiers = ['2K', '2K'] }\n" + CARD,
            ["[models.x] upscale.tiers = ['2K', '2K']: name each tier once"],
        ),
        (
            "default_model = 'x'\n[models.x]\n" + CARD.replace('"1K"', '"1K", "1K"'),
            ["[models.x] tiers = ['1K', '1K']: name each tier once"],
        ),
        (
            "default_model = 'x'\n[models.x]\nloras = { oak = 5.0 }\n" + CARD,
            ["[models.x] loras.oak = 5.0: Expected `float` <= 2.0"],
        ),
        ("default_model = 'x'\nmodels.x = 5\n", ["the top level models.x = 5: Expected `object`, got `int`"]),
        (
            "default_model = 'x'\n[models.x]\nnaem = 'y'\n" + CARD,
            ["[models.x] naem = 'y': Unknown field 'naem'; the fields are licence, "],
        ),
        ("default_model = 'x'\n[models.x]\n" + CARD + "[brands.'']", ["[brands.'']: a spec names a brand by 1–200"]),
        ("default_model = 'x'\n[models.x]\n" + CARD + "[brands.' a']", ["[brands.' a']: a spec names a brand by 1–200"]),
        ("default_model = 'x'\n[models.x]\nupscale = { tiers = ['2K'], stength = 0.2 }\n" + CARD, ["stength"]),
        (
            "default_model = 'x'\n[models.x]\n" + CARD.replace("4", "0").replace("1.0", "'strong'"),
            ["[models.x] steps = 0", "[models.x] guidance = 'strong'"],
        ),
    ],
)  # fmt: skip
def test_every_problem_is_told_with_its_place_and_remedy(tmp_path: Path, text: str, told: list[str]) -> None:
    found = problems(tmp_path / "models.toml", text)
    for part in told:
        assert part in found


def test_the_shipped_file() -> None:
    models = load_models(ROOT / "models.toml")
    assert list(models.enabled) == ["studio-tiny"]
    assert {"sdxl", "sdxl-turbo", "sd35-large", "flux1-schnell", "flux2-klein", "z-image-turbo", "qwen-image"} < set(
        models.models
    )
    for card in models.models.values():
        sizes = [card.size(tier, ratio) for tier in card.tiers for ratio in RATIOS]
        multiple = card.limits.multiple_of
        assert all(size.width % multiple == size.height % multiple == 0 for size in sizes)


def test_a_disabled_operation_and_brands(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        "default_model = 'x'\n[models.x]\n" + CARD + "[operations.background-generator]\nenabled = false\n"
        "[brands.acme]\nprompt = 'birch'\nnegative_prompt = 'clutter'"
    )
    models = load_models(path)
    assert not models.operations[JobType.BACKGROUND_GENERATOR].enabled
    prompt = of_scene(models.default, models.brands["acme"], "marble", "warm", [(255, 0, 0)])
    assert (prompt.text, prompt.negative) == ("marble, warm, in red, birch", "clutter")
    assert of_scene(models.default, Brand(), "marble", "warm", []).text == "marble, warm"


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_sizes_are_near_the_tier_and_the_ratio(tier: str, ratio: str) -> None:
    found = next(known for known in TIERS if known == tier)
    width, height = size_of(found, ratio, 32)
    across, down = (int(part) for part in ratio.split(":"))
    area = (float(tier.removesuffix("K")) * 1024) ** 2
    assert abs(width * height / area - 1) < 0.07
    assert abs(width / height / (across / down) - 1) < 0.08


@pytest.mark.parametrize(
    ("text", "rgb"), [("red", (255, 0, 0)), ("RebeccaPurple", (102, 51, 153)), ("#0aF", (0, 170, 255)), (" #102030 ", (16, 32, 48))]
)  # fmt: skip
def test_colours(text: str, rgb: tuple[int, int, int]) -> None:
    assert parse_color(text) == rgb


@pytest.mark.parametrize("text", ["", "bluish", "#12", "#12345", "#gggggg", "rgb(1,2,3)", "#١٢٣"])
def test_what_is_no_colour(text: str) -> None:
    with pytest.raises(ValueError, match="is not a colour"):
        parse_color(text)


def test_colour_names() -> None:
    assert color_name((2, 1, 126)) == "navy"


def card_of(folder: str) -> str:
    return "default_model = 'x'\n[models.x]\n" + CARD.replace('hub = "a/b"', f'folder = "{folder}"')


def test_a_folder_that_cannot_be_examined_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "sd.safetensors").write_bytes(b"-")
    for folder, told in (
        ("a", "symbolic link"),
        ("n" * 300, "File name too long"),
        (r"a\u0000b", "null byte"),
        ("nowhere", "there is no such folder"),
        ("single", "a checkpoint in one file, such as sd.safetensors, is named itself, not by its folder"),
        ("single/sd.safetensors", "it is a file"),
    ):
        found = problems(path, card_of(folder))
        assert told in found
        assert "\n" not in found


def test_a_folder_of_another_user(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "open" / "m")
    path = tmp_path / "open" / "models.toml"
    path.write_text(card_of("m"))
    # Another user than this one reads the file: the folders above are open, the model's folder is not.
    for above in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in above.parents:
            above.chmod(0o755)
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(ModelsFileError, match="may not be read by this user; change its owner or mode"):
            load_models(path)
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
    assert load_models(path).models["x"].weights.stamp is not None


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ("default_model = 'x'\n[models.x]\n" + CARD).encode())
    assert list(load_models(path).models) == ["x"]


def test_a_card_changes_with_the_files_of_its_folder(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "m")
    path = tmp_path / "models.toml"
    path.write_text(card_of("m"))
    before = load_models(path)
    assert load_models(path) == before
    (folder / "unet" / "config.json").write_text("{ }")
    assert load_models(path).models["x"].weights != before.models["x"].weights
    for key in ("stamp", "own_scheduler", "takes_guidance"):
        assert f"{key}: the server works it out" in problems(path, card_of("m") + f'{key} = "x"')


def two_models(path: Path) -> Path:
    """Write a file with the models `a` and `b`, each with a folder beside it."""
    return models_file(path / "models.toml", {name: bare_folder(path / name) for name in ("a", "b")})


def test_a_model_with_damaged_files_takes_no_other_away(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    shutil.rmtree(tmp_path / "b" / "unet")
    models = load_models(path)
    assert list(models.enabled) == ["a", "b"]
    assert list(models.unusable) == ["b"]
    assert models.problems == [
        "[models.b] unet: model_index.json names it, and there is no folder unet; copy the whole model"
    ]
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ModelsFileError, match="there is no such folder") as refused:
        load_models(path)
    assert len(refused.value.problems) == 2


def test_a_model_that_becomes_unusable_stays_as_it_was(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    before = load_models(path)
    shutil.rmtree(tmp_path / "b" / "unet")
    path.write_text(
        path.read_text().replace("steps = 3", "steps = 5")
        + "[models.c]\nfolder = 'nowhere'\n"
        + CARD.partition("\n")[2]
    )
    after = load_models(path).keeping(before)
    assert {name: card.sampling.steps for name, card in after.models.items()} == {"a": 5, "b": 3, "c": 4}
    # There was no `c` before.
    assert list(after.unusable) == ["c"]


def test_a_model_whose_lora_is_gone_cannot_stay_as_it_was(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    file = path.read_text()
    path.write_text(f"{file}loras = {{ oak = 1.0 }}\n[loras.oak]\nfile = 'oak.safetensors'\nmodels = ['b']\n")
    before = load_models(path)
    shutil.rmtree(tmp_path / "b" / "unet")
    path.write_text(file)
    after = load_models(path).keeping(before)
    assert after.models["b"].sampling.loras == {}
    assert list(after.unusable) == ["b"]


@pytest.mark.parametrize("file", ["\\u0000", "loop"])
def test_a_lora_whose_path_leads_nowhere_takes_no_model_away(tmp_path: Path, file: str) -> None:
    path = two_models(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    path.write_text(f'{path.read_text()}[loras.oak]\nfile = "{file}"\nmodels = ["b"]\n')
    models = load_models(path)
    assert (list(models.enabled), list(models.unusable), list(models.unusable_loras)) == (["a", "b"], [], ["oak"])


def test_the_shipped_file_explains_every_option_of_a_card_once() -> None:
    text = (ROOT / "models.toml").read_text()
    comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
    options = FlatCard.__struct_encode_fields__
    assert [name for name in options if re.search(rf"\b{name}\b", comments) is None] == []


def test_a_lora_with_scales_that_would_be_left_out_is_refused(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k"
    weights = {f"{layer}.lora_down.weight": np.zeros((2, 8), np.float16)}
    for name, extra in (("lora", {}), ("dora", {f"{layer}.dora_scale": np.zeros((1, 8), np.float16)})):
        save_file({**weights, **extra}, tmp_path / f"{name}.safetensors")
        path.write_text(f'{path.read_text()}[loras.{name}]\nfile = "{name}.safetensors"\nmodels = ["b"]\n')
    ((name, problems),) = load_models(path).unusable_loras.items()
    assert name == "dora"
    assert "is a DoRA" in "".join(problems)


def test_a_lora_of_a_model_that_takes_none_is_refused(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    index = tmp_path / "b" / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "PixArtSigmaPipeline"))
    save_file({"transformer.x.lora_A.weight": np.zeros((2, 8), np.float16)}, tmp_path / "oak.safetensors")
    path.write_text(f"{path.read_text()}[loras.oak]\nfile = 'oak.safetensors'\nmodels = ['a', 'b']\n")
    told = load_models(path).unusable_loras
    assert told == {"oak": "models: b is run by PixArtSigmaPipeline, which takes no LoRA; remove it from the list"}
