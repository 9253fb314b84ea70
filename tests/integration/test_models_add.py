"""`backlot models add` and `backlot models check --run`: from files to a card that generates."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines.recipe import read_recipe
from pipelines.worker.loader import load
from server.jobs import JobType
from server.models_file import load_models
from server.operator.adding import add_model
from server.operator.errors import CommandError
from tests.support.files import models_file
from tests.support.ldm import save_as_one_file
from tests.support.server import ROOT
from tests.support.tiny import ideogram4_pipeline, save, save_lora, unet_pipeline

CROSS_ATTENTION = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture
def toml(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """Return a models file with one model, and comments."""
    path = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]})
    path.write_text(f"# ours\n{path.read_text()}# the end\n")
    return path


def test_a_folder_becomes_a_card_that_keeps_the_rest_of_the_file(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    before = toml.read_text()
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "My Model (v2)")
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n")
    added = add_model(toml, str(folder), None, None)
    assert added.name == "my-model-v2"
    assert toml.read_text().startswith(before.rstrip())
    card = load_models(toml).models["my-model-v2"]
    assert (card.licence, card.weights.dtype, card.limits.multiple_of) == ("openrail++", "float32", 32)
    # These are diffusers' defaults for Stable Diffusion.
    assert (card.sampling.steps, card.sampling.guidance) == (50, 7.5)
    assert any(text.startswith("steps, guidance: ") for text in added.assumed)
    with pytest.raises(CommandError, match="already, as 'my-model-v2'"):
        add_model(toml, str(folder), None, None)
    assert add_model(toml, str(folder), "twin", None).name == "twin"


@pytest.mark.parametrize(
    ("dtype", "told"),
    [
        (torch.float16, "many CPUs compute float16 slowly, so write float32 if it is to run on one"),
        (torch.float32, "on a GPU bfloat16 or float16 takes half the memory"),
    ],
)
def test_what_may_not_suit_the_box_is_told(toml: Path, tmp_path: Path, dtype: torch.dtype, told: str) -> None:
    save(unet_pipeline().to(dtype), tmp_path / "model")
    assumed = add_model(toml, str(tmp_path / "model"), None, None).assumed
    assert any(told in text for text in assumed)
    assert any("on a CPU each step takes long, so try fewer" in text for text in assumed)


def test_a_unet_that_takes_guidance_as_an_input_becomes_a_card_of_few_steps(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "lcm")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "time_cond_proj_dim": 32}))
    add_model(toml, str(folder), None, None)
    card = load_models(toml).models["lcm"]
    assert (card.sampling.steps, card.sampling.guidance, card.weights.scheduler) == (4, 8.0, "LCMScheduler")
    assert card.wording.negative_prompt == ""


def test_a_call_that_names_no_guidance_gets_a_card_with_one(toml: Path, tmp_path: Path) -> None:
    """Check Ideogram 4, which has a number for each step instead; without guidance it would not read the prompt."""
    save(ideogram4_pipeline(), tmp_path / "ideogram")
    added = add_model(toml, str(tmp_path / "ideogram"), None, None)
    card = load_models(toml).models[added.name]
    assert (card.weights.pipeline, card.sampling.steps, card.sampling.guidance) == ("Ideogram4Pipeline", 48, 7.0)
    # Nobody has tried how its images change beside others.
    assert card.limits.max_batch == 1


def test_a_checkpoint_in_one_file_becomes_a_card(toml: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "toon.safetensors"
    save_as_one_file(unet_pipeline(), file)
    add_model(toml, str(file), "toon", str(tiny_folders["good"]))
    card = load_models(toml).models["toon"]
    assert card.weights.file == str(file)
    assert card.weights.dtype == "float32"
    assert card.weights.folder == str(tiny_folders["good"])


def test_a_pickled_checkpoint_is_added_if_its_maker_is_trusted(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    save_as_one_file(unet_pipeline(), tmp_path / "toon.safetensors")
    torch.save({"state_dict": load_file(tmp_path / "toon.safetensors")}, tmp_path / "toon.ckpt")
    with pytest.raises(CommandError, match="takes --pickle"):
        add_model(toml, str(tmp_path / "toon.ckpt"), None, str(tiny_folders["good"]))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "server.operator.command", "models", "add", "--pickle"),
            *(str(tmp_path / "toon.ckpt"), "--config", str(tiny_folders["good"])),
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "  pickle = True\n" in done.stdout
    card = load_models(toml).enabled["toon"]
    assert load(card, traced=False).revision


def test_a_folder_of_pickles_is_added_if_their_maker_is_trusted(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "old")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_name("diffusion_pytorch_model.fp16.bin"))
    file.unlink()
    with pytest.raises(CommandError, match="takes --pickle"):
        add_model(toml, str(folder), None, None)
    added = add_model(toml, str(folder), None, None, pickle=True)
    assert (added.card["pickle"], added.card["variant"]) == (True, "fp16")
    assert any(text.startswith("dtype: ") for text in added.assumed)
    assert "old" in load_models(toml).enabled


@pytest.mark.parametrize(("stored", "dtype"), [(torch.float16, "float16"), (torch.float8_e4m3fn, "bfloat16")])
def test_a_checkpoint_s_dtype_is_its_own_and_not_its_configuration_s(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path, stored: torch.dtype, dtype: str
) -> None:
    file = tmp_path / "toon.safetensors"
    width = json.loads((tiny_folders["good"] / "unet" / "config.json").read_text())["cross_attention_dim"]
    save_file({f"model.diffusion_model.{CROSS_ATTENTION}": torch.zeros(8, width).to(stored)}, file)
    add_model(toml, str(file), "toon", str(tiny_folders["good"]))
    assert load_models(toml).models["toon"].weights.dtype == dtype


def test_a_checkpoint_of_another_family_than_its_configuration_is_not_added(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    before = toml.read_text()
    save_file({f"model.diffusion_model.{CROSS_ATTENTION}": torch.zeros(8, 2048)}, tmp_path / "xl.safetensors")
    with pytest.raises(CommandError, match=r"and the one in it reads 2048; name a model of the file's kind.*--config"):
        add_model(toml, str(tmp_path / "xl.safetensors"), None, str(tiny_folders["good"]))
    assert toml.read_text() == before


@pytest.mark.parametrize("keys", [["down.0.lora_A.weight"], ["controlnet_cond_embedding.conv_in.weight"]])
def test_a_file_that_is_no_model_is_not_added_beside_the_folder_of_one(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path, keys: list[str]
) -> None:
    before = toml.read_text()
    save_file({key: torch.zeros(2, 2) for key in keys}, tmp_path / "part.safetensors")
    with pytest.raises(CommandError, match=r"part\.safetensors is "):
        add_model(toml, str(tmp_path / "part.safetensors"), None, str(tiny_folders["good"]))
    assert toml.read_text() == before


@pytest.mark.parametrize("part", ["unet", "."])
def test_a_folder_that_is_part_of_a_model_or_around_one_says_where_that_is(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path, part: str
) -> None:
    model = shutil.copytree(tiny_folders["good"], tmp_path / "outer" / "snapshots" / "abc")
    with pytest.raises(CommandError, match=re.escape(str(model))):
        add_model(toml, str(model / "unet" if part == "unet" else tmp_path / "outer"), None, None)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("/nowhere", "there is no /nowhere"),
        ("nowhere", "there is no nowhere; name a folder, a file or a hub id such as org/name"),
        ("text.txt", "a checkpoint ends in"),
        ("toon.safetensors", "with --config"),
        ("toon.ckpt", r"pickles can run code.*backlot models add takes --pickle"),
        ("cut.gguf", "has a damaged header"),
        ("flux1-dev.sft", r"\.sft is another name for \.safetensors, so rename it"),
    ],
)
def test_what_is_no_model_changes_nothing(toml: Path, tmp_path: Path, source: str, told: str) -> None:
    before = toml.read_text()
    for name in ("text.txt", "toon.ckpt", "cut.gguf", "flux1-dev.sft"):
        (tmp_path / name).write_text("GGUF")
    save_file({"model.diffusion_model.weight": torch.zeros(2, 2)}, tmp_path / "toon.safetensors")
    with pytest.raises(CommandError, match=told):
        add_model(toml, source if source.endswith("nowhere") else str(tmp_path / source), None, None)
    assert toml.read_text() == before
    assert list(toml.parent.glob("*.trial")) == []


def test_a_checkpoint_whose_configuration_cannot_be_fetched_says_that_a_folder_would_do(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    keys = ("conditioner.embedders.1.model.positional_embedding", f"model.diffusion_model.{CROSS_ATTENTION}")
    save_file({key: torch.zeros(8, 2048) for key in keys}, tmp_path / "toon.safetensors")
    with pytest.raises(
        CommandError, match=r"stable-diffusion-xl-base-1\.0 is not whole.*name its folder with --config"
    ):
        add_model(toml, str(tmp_path / "toon.safetensors"), None, None)


def test_a_folder_with_faults_changes_nothing(toml: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    before = toml.read_text()
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "damaged")
    shutil.rmtree(folder / "vae")
    with pytest.raises(CommandError, match="there is no folder vae"):
        add_model(toml, str(folder), None, None)
    assert toml.read_text() == before


def test_a_trial_makes_an_image_and_says_what_it_takes(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    save_lora(unet_pipeline, tmp_path / "oak.safetensors")
    lora = '[loras.oak]\nfile = "oak.safetensors"\nmodels = ["good"]\nprompt = "oakgrain"'
    toml = models_file(
        tmp_path / "models.toml", {"good": tiny_folders["good"]}, lora, max_batch=2, loras="{ oak = 0.5 }"
    )
    done = subprocess.run(
        [sys.executable, "-m", "server.operator.command", "models", "check", "--run", "good", "--json"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trial = json.loads(done.stdout)["run"]
    with Image.open(trial["image"]) as image:
        assert image.size == (trial["width"], trial["height"])
    recipe = read_recipe(Path(trial["image"]))
    assert [(lora.name, lora.weight) for lora in recipe.loras] == [("oak", 0.5)]
    assert recipe.prompt.endswith("oakgrain")
    assert [size["batch_size"] for size in trial["sizes"]] == [1, 2]
    assert all(size["seconds_per_step"] > 0 and size["peak_bytes"] > 0 for size in trial["sizes"])


def test_a_trial_tells_what_it_knows_while_it_goes_on(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    toml = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, max_batch=2)
    with subprocess.Popen(
        [sys.executable, "-m", "server.operator.command", "models", "check", "--run", "good"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert not list((tmp_path / "data").rglob("*.png"))
        assert first == f"{toml} is good: good enabled, default good\n"
        rest = process.stdout.read().splitlines()
    assert process.returncode == 0
    memory, loaded, image, *sizes = rest
    assert memory.startswith("good: about ")
    assert loaded.startswith("good loads in ")
    assert image.startswith("an image of 512 × 512 in ")
    assert [line.partition(" at once: ")[0] for line in sizes] == ["1 image", "2 images"]


def test_a_trial_says_if_it_cannot_tell_the_time_of_a_step(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    # One step of eight is guided.
    toml = models_file(
        tmp_path / "models.toml", {"good": tiny_folders["good"]}, max_batch=1, steps=8, guidance_interval=[0.7, 0.8]
    )
    done = subprocess.run(
        [sys.executable, "-m", "server.operator.command", "models", "check", "--run", "good"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == "1 image at once: the time of a step is not known, since too few of the steps were alike"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no safetensors file, or is cut off"),
        (b"\x05\0\0\0\0\0\0\0{not}", "has a damaged header"),
        (b"\x05\0\0\0\0\0\0\0\xff\xff\xff\xff\xff", "has a damaged header"),
        (b"\x02\0\0\0\0\0\0\0[]", "has a damaged header"),
    ],
)
@pytest.mark.parametrize("configured", [True, False])
def test_a_damaged_checkpoint_changes_nothing(
    toml: Path, tiny_folders: dict[str, Path], tmp_path: Path, content: bytes, told: str, configured: bool
) -> None:
    before = toml.read_text()
    file = tmp_path / "toon.safetensors"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=told):
        add_model(toml, str(file), None, str(tiny_folders["good"]) if configured else None)
    assert toml.read_text() == before


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "no model is named"),
        ("two words/toon", "a hub id looks like org/name"),
        ("https://huggingface.co/", "a hub id looks like org/name"),
        ("https://huggingface.co/two words/toon/tree/main", "hub = 'two words/toon': a hub id looks like org/name"),
        ("x" * 5000, "cannot be used"),
        ("folder", "it has no model_index.json"),
    ],
)
def test_what_can_be_no_model_is_not_looked_for(toml: Path, tmp_path: Path, source: str, told: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandError, match=told):
        add_model(toml, str(tmp_path / source) if source == "folder" else source, None, None)


@pytest.mark.parametrize("text", ["{ not toml", "models = 5", "models = { a = { steps = 3 } }", "\udcff"])
def test_a_file_that_takes_no_card_is_told_in_one_line(
    tiny_folders: dict[str, Path], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(CommandError, match="nothing can be added to"):
        add_model(path, str(tiny_folders["good"]), None, None)


def test_the_file_keeps_its_mode_and_stays_a_link(toml: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "ours.toml"
    file.parent.mkdir()
    toml.rename(file)
    file.chmod(0o640)
    toml.symlink_to(file)
    add_model(toml, str(tiny_folders["good"]), "again", None)
    assert (toml.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o640)
    assert list(load_models(toml).enabled) == ["good", "again"]
    assert sorted(path.name for path in (*tmp_path.iterdir(), *file.parent.iterdir())) == [
        "elsewhere",
        "models.toml",
        "ours.toml",
    ]


def test_other_tables_may_stand_between_the_models(toml: Path, tiny_folders: dict[str, Path]) -> None:
    card = toml.read_text().partition("[models.good]")[2].replace("# the end", "")
    toml.write_text(f"{toml.read_text()}[operations.image-generation]\ncredits_cost = 7\n[models.other]{card}")
    add_model(toml, str(tiny_folders["good"]), "v1.5", None)
    models = load_models(toml)
    assert set(models.enabled) == {"good", "other", "v1.5"}
    assert models.operations[JobType.IMAGE_GENERATION].credits_cost == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"BACKLOT_DATA": "/dev/null"}, "cannot be used: a file is there instead of a folder"),
        ({"BACKLOT_DEVICE": "cuda:99"}, "the device cuda:99 is a GPU, and torch"),
    ],
)
def test_a_trial_that_cannot_begin_says_why(
    tiny_folders: dict[str, Path], tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    toml = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]})
    environment = {"PATH": "/usr/bin:/bin", "BACKLOT_MODELS": str(toml), "BACKLOT_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "server.operator.command", "models", "check", "--run", "good"],
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert told in line
