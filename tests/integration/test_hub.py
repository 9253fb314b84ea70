"""`backlot models fetch` with a hub on loopback: what arrives, how a download goes on, and what a refusal says."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.hub.messages import Refused, decode
from pipelines.protocol import MOST_TOLD
from tests.support.hub import COMMIT, LICENCE, Hub, serving
from tests.support.server import ROOT, wait_for
from tests.support.weights import bare_folder

UNET = "unet/diffusion_pytorch_model.safetensors"


class Box:
    """A box with an empty cache and a models.toml whose one model is only at the hub."""

    def __init__(self, folder: Path, hub: Hub, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "hf"),
            "BACKLOT_DATA": str(folder / "data"),
            "BACKLOT_MODELS": str(folder / "models.toml"),
            **environment,
        }
        self.write("org/model")

    def write(self, hub: str, extra: str = "") -> None:
        """Write models.toml with the model `m` of this hub id."""
        card = f'hub = "{hub}"\nlicence = "-"\ntiers = ["0.5K"]\nsteps = 3\nguidance = 2.0\n{extra}'
        (self.folder / "models.toml").write_text(f'default_model = "m"\n[models.m]\n{card}')

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "server.operator.command", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def fetch(self) -> "subprocess.CompletedProcess[str]":
        process = self.start("models", "fetch", "m", "--json")
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def refusal(self) -> str:
        """Return the message of a fetch that fails."""
        done = self.fetch()
        assert done.returncode == 1, done.stdout
        told = done.stderr.strip().splitlines()[-1]
        assert told.startswith("backlot: ")
        assert len(told) <= MOST_TOLD
        return told

    def unfinished(self) -> int:
        """Return the bytes of the largest file that has not arrived completely."""
        sizes = [0]
        for path in self.folder.rglob("*.incomplete"):
            # The file may be complete, and renamed, by now.
            with suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return max(sizes)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Yield a hub that serves `org/model`, whose UNet is large enough to be cut off."""
    folder = bare_folder(tmp_path / "served", parameters=100_000)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(bytes(20_000))
    (folder / "all-in-one.safetensors").write_bytes(bytes(20_000))
    (folder / "README.md").write_text("not needed")
    with serving({"org/model": folder}) as hub:
        yield hub


@pytest.fixture
def box(tmp_path: Path, hub: Hub) -> Box:
    return Box(tmp_path, hub)


def test_what_the_loader_needs_arrives_and_nothing_else(box: Box, hub: Hub) -> None:
    assert "backlot models fetch m" not in json.dumps(hub.sent)
    done = box.fetch()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    folder = Path(answer["folder"])
    assert folder.name == COMMIT
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert UNET in names
    assert names.isdisjoint({"all-in-one.safetensors", "README.md", "unet/diffusion_pytorch_model.bin"})
    assert answer["bytes"] == sum((folder / name).stat().st_size for name in names)
    sent = len(hub.sent)
    assert box.fetch().returncode == 0
    assert len(hub.sent) == sent


def test_weights_that_the_card_s_file_holds_are_not_downloaded(box: Box, hub: Hub) -> None:
    layer = "transformer_blocks.0.attn2.to_k.weight"
    save_file({layer: np.zeros((2, 768), np.float16)}, box.folder / "toon.safetensors")
    box.write("org/model", 'file = "toon.safetensors"')
    done = box.fetch()
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout)["folder"])
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"unet/config.json", "text_encoder/model.safetensors"} <= names
    assert UNET not in names
    listed = box.start("models", "check", "--json").communicate(timeout=60)[0]
    assert json.loads(listed)["ok"], listed
    # The same files are not enough for the model without the file.
    box.write("org/model")
    assert box.fetch().returncode == 0
    assert (folder / UNET).is_file()


def test_a_model_is_added_by_its_hub_id_with_its_commit_and_licence(box: Box, hub: Hub) -> None:
    hub.models = {"org/other-model": hub.models["org/model"]}
    # Then the download takes about a second.
    hub.bytes_per_s = 400_000
    seen, terminal = os.openpty()
    command = [sys.executable, "-m", "server.operator.command", "models", "add", "org/other-model", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=box.environment, text=True, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        out, _ = process.communicate(timeout=60)
    told = os.read(seen, 10_000).decode()
    os.close(terminal)
    os.close(seen)
    assert "100%" in told, told
    card = json.loads(out)["card"]
    assert (card["hub"], card["revision"], card["licence"]) == ("org/other-model", COMMIT, LICENCE)
    listed = json.loads(box.start("models", "check", "--json").communicate(timeout=60)[0])
    assert listed["ok"], listed


def test_a_checkpoint_is_added_with_the_configuration_that_its_keys_stand_for(box: Box, hub: Hub) -> None:
    hub.models = {"stable-diffusion-v1-5/stable-diffusion-v1-5": hub.models["org/model"]}
    clip = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
    keys = (clip, "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    save_file({key: np.zeros((2, 768), np.float16) for key in keys}, box.folder / "toon.safetensors")
    out, err = box.start("models", "add", str(box.folder / "toon.safetensors"), "--json").communicate(timeout=60)
    assert out, err
    assumed = json.loads(out)["assumed"]
    assert assumed[0] == "hub: the file's keys are those of stable-diffusion-v1-5/stable-diffusion-v1-5"
    # The file holds all of the weights.
    assert hub.sent == []


def test_a_download_that_was_killed_goes_on_where_it_was(box: Box, hub: Hub) -> None:
    # The whole download would take minutes.
    hub.bytes_per_s = 2_000
    process = box.start("models", "fetch", "m")
    wait_for(lambda: box.unfinished() > 4_000)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    hub.bytes_per_s = 0
    hub.sent.clear()
    assert box.fetch().returncode == 0
    starts = [start for name, start in hub.sent if name == UNET]
    assert starts
    assert min(starts) > 4_000


def test_a_connection_that_is_cut_is_taken_up_again_at_once(box: Box, hub: Hub) -> None:
    hub.cut_after, hub.cuts = 50_000, 2
    assert box.fetch().returncode == 0
    assert len([start for name, start in hub.sent if name == UNET]) >= 2


def test_bytes_that_are_not_the_promised_ones_are_thrown_away(box: Box, hub: Hub) -> None:
    assert box.fetch().returncode == 0
    blob = next(path for path in box.folder.rglob("blobs/*") if path.stat().st_size > 100_000)
    cut = bytearray(blob.read_bytes()[:100_000])
    cut[50_000] ^= 1
    blob.with_name(f"{blob.name}.incomplete").write_bytes(cut)
    blob.unlink()
    assert "other bytes than the hub promised" in box.refusal()
    assert box.fetch().returncode == 0


def test_a_hub_that_falls_silent_is_given_up(tmp_path: Path, hub: Hub) -> None:
    hub.is_silent = True
    # The fetch gives up a connection on which nothing arrives for a second, and tries six times.
    assert "the hub cannot be reached, or falls silent" in Box(tmp_path, hub, HF_HUB_DOWNLOAD_TIMEOUT="1").refusal()


@pytest.mark.parametrize(
    ("id_", "told"),
    [
        ("gated/model", "gated/model is gated: accept its licence"),
        ("absent/model", "the hub has no absent/model, or it is private"),
        ("moved/model", "moved/model has no revision"),
        ("limited/model", "limits how often this box may ask (429)"),
        ("broken/model", "the hub is out of order (status 502)"),
        ("closed/model", "the hub refuses closed/model (403)"),
    ],
)
def test_the_ways_in_which_a_hub_refuses_are_told_apart(box: Box, id_: str, told: str) -> None:
    box.write(id_)
    assert told in box.refusal()


@pytest.mark.parametrize("id_", ["absent/model", "moved/model", "broken/model"])
def test_a_refusal_is_one_line_of_the_server_s_log(box: Box, id_: str) -> None:
    command = [sys.executable, "-m", "pipelines.hub", id_, "", "", ""]
    done = subprocess.run(command, cwd=ROOT, env=box.environment, check=False, stdout=subprocess.PIPE)
    (only,) = (decode(line) for line in done.stdout.splitlines())
    assert isinstance(only, Refused)
    assert id_ in only.message


def test_a_cache_that_takes_nothing(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "full").write_text("a file")
    assert "org/model cannot be kept on this box" in Box(tmp_path, hub, HF_HOME=str(tmp_path / "full")).refusal()


def test_two_downloads_of_one_model_do_not_disturb_each_other(box: Box, hub: Hub) -> None:
    hub.bytes_per_s = 200_000
    processes = [box.start("models", "fetch", "m") for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    # Only one of them began this file at its first byte.
    assert [start for name, start in hub.sent if name == UNET].count(0) == 1


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    with serving() as hub:
        pass
    assert "the hub cannot be reached" in Box(tmp_path, hub).refusal()


def test_a_box_that_was_told_to_stay_offline(tmp_path: Path, hub: Hub) -> None:
    assert "HF_HUB_OFFLINE is set" in Box(tmp_path, hub, HF_HUB_OFFLINE="1").refusal()


def test_what_cannot_be_used_is_not_downloaded(box: Box, hub: Hub) -> None:
    unet = hub.models["org/model"] / UNET
    unet.rename(unet.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert "set variant = 'fp16'" in box.refusal()
    box.write("org/model", 'variant = "fp16"')
    assert box.fetch().returncode == 0
    (hub.models["org/model"] / "model_index.json").unlink()
    box.environment["HF_HOME"] += "-other"
    assert "it is no diffusers model" in box.refusal()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"_class_name": ["own", "OwnPipeline"]},
            "its pipeline brings code of its own, which is not run here; use a model of",
        ),
        (
            {"unet": ["own", "OwnUNet"]},
            "unet: its OwnUNet brings code of its own, which is not run here; use a model of",
        ),
        ({"_class_name": "WanPipeline"}, "WanPipeline makes films"),
    ],
    ids=["code", "code-of-a-part", "films"],
)
def test_a_model_that_would_be_refused_is_not_downloaded(
    box: Box, hub: Hub, changed: dict[str, Any], told: str
) -> None:
    index = hub.models["org/model"] / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **changed}))
    assert told in box.refusal()
    assert hub.sent == []


def test_a_folder_needs_no_download(box: Box, tmp_path: Path) -> None:
    bare_folder(tmp_path / "m")
    toml = tmp_path / "models.toml"
    toml.write_text(toml.read_text().replace('hub = "org/model"', 'folder = "m"'))
    assert "there is nothing to download" in box.refusal()
