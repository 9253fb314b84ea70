"""The things that boxes must have in common with the server, and which boxes there are."""

from pathlib import Path

import pytest

from pipelines.model_card import Weights
from pipelines.weight_digests import COMMIT, digests, first_difference
from server.cluster.agreement import why_not
from server.cluster.boxes import Box, boxes_of

OURS = {"backlot": "0.3.1", "torch": "2.13.0+cpu", "diffusers": "0.42.1"}


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({}, None),
        ({"torch": "2.13.4+cu130"}, None),
        ({"diffusers": "0.42.0"}, None),
        ({"torch": "2.12.0"}, "studio-2 has torch 2.12.0, and the server has 2.13.0+cpu"),
        ({"torch": "3.13.0"}, "studio-2 has torch 3.13.0"),
        ({"diffusers": "0.4.21"}, "studio-2 has diffusers 0.4.21"),
        ({"diffusers": ""}, "studio-2 has no diffusers"),
        ({"backlot": "0.3.2"}, "studio-2 has backlot 0.3.2, and the server has 0.3.1"),
    ],
)
def test_a_box_with_other_versions_is_refused(theirs: dict[str, str], told: str | None) -> None:
    found = why_not("studio-2", {**OURS, **theirs}, OURS)
    assert (found is None) if told is None else (found or "").startswith(told)


def folder(path: Path, **files: bytes) -> Weights:
    for name, content in files.items():
        file = path / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Weights(folder=str(path))


def test_the_file_that_differs_is_named(tmp_path: Path) -> None:
    same = {"unet__weights": b"x" * 100, "vae__weights": b"y" * 100}
    servers = digests(folder(tmp_path / "server", **same))
    others = {
        "equal": (same, None),
        "other bytes": ({**same, "vae__weights": b"y" * 99 + b"z"}, "vae/weights"),
        "one less": ({"unet__weights": same["unet__weights"]}, "vae/weights"),
        "one more": ({**same, "unet__adapter": b""}, "unet/adapter"),
    }
    for name, (files, different) in others.items():
        assert first_difference(servers, digests(folder(tmp_path / name, **files))) == different


def test_checkpoints_and_loras_are_compared_as_folders_are(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", vae__weights=b"y")
    file, lora = tmp_path / "denoiser.gguf", tmp_path / "grain.safetensors"
    file.write_bytes(b"x")
    lora.write_bytes(b"l")
    both = Weights(folder=base.folder, file=str(file))
    servers = digests(both, [str(lora)])
    assert first_difference(servers, digests(both, [str(lora)])) is None
    assert first_difference(servers, digests(both)) == str(lora)
    lora.write_bytes(b"m")
    assert first_difference(servers, digests(both, [str(lora)])) == str(lora)
    lora.write_bytes(b"l")
    file.write_bytes(b"z")
    assert first_difference(servers, digests(both, [str(lora)])) == str(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"denoiser\.gguf"):
        digests(both)


def test_a_change_anywhere_in_a_large_file_s_ends_is_seen(tmp_path: Path) -> None:
    sizes = [65 * 2**20] * 2
    found = []
    for index, size in enumerate(sizes):
        path = tmp_path / str(index) / "weights"
        path.parent.mkdir()
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(-1, 2)
            file.write(bytes([index]))
        found.append(digests(Weights(folder=str(path.parent))))
    assert first_difference(*found) == "weights"


def test_a_box_without_the_weights_differs_and_a_server_without_them_compares_nothing() -> None:
    assert digests(Weights(hub="nobody/nothing-that-is-in-a-cache")) == {}
    assert first_difference({}, {"x": "1"}) is None
    assert first_difference({"x": "1"}, {}) == "x"
    assert first_difference({"x": "1"}, {"x": "1", COMMIT: "only the box has fetched the hub id"}) is None


def test_boxes_are_the_nodes_that_are_alive_and_lend_something() -> None:
    def node(name: str, alive: bool = True, **resources: float) -> dict[str, object]:
        return {"NodeID": f"id-{name}", "NodeName": name, "Alive": alive, "Resources": resources}

    unnamed = {**node(""), "NodeManagerAddress": "10.0.0.7", "Resources": {"CPU": 4.0}}
    nodes = [node("head"), node("two", GPU=2.0, CPU=8.0), node("gone", alive=False, GPU=1.0), unnamed]
    assert boxes_of(nodes, "id-head") == [Box("id-two", "two", 2, 8), Box("id-", "10.0.0.7", 0, 4)]
    # Without its own node the server can order nothing from the others.
    assert boxes_of(nodes, "id-gone") is None
