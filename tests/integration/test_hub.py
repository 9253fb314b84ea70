"""What a GPU process says of a model that a hub does not give it."""

from pathlib import Path

from pipelines.model_card import ModelCard
from pipelines.protocol import MOST_TOLD, Load, LoadFailed, Started
from tests.support.gpu_process import GpuProcess
from tests.support.hub import refusing_hub


def why_not(process: GpuProcess, hub: str) -> str:
    """Return what the process says of a model of the hub."""
    card = ModelCard.from_flat(name="m", hub=hub, licence="-", tiers=("0.5K",), steps=3, guidance=2.0)
    process.send(Load(card))
    message = process.wait(LoadFailed).message
    assert message.startswith("m could not be fetched: ")
    assert len(message) <= MOST_TOLD
    return message


def test_the_ways_in_which_a_hub_refuses_are_told_apart(tmp_path: Path) -> None:
    with refusing_hub() as address, GpuProcess(tmp_path, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf")) as process:
        process.wait(Started)
        assert "gated/model is gated: accept its licence" in why_not(process, "gated/model")
        assert "the hub has no absent/model, or it is private" in why_not(process, "absent/model")
        assert "moved/model has no revision" in why_not(process, "moved/model")
        assert "limits how often this box may ask (429)" in why_not(process, "limited/model")
        assert "the hub is out of order (status 502)" in why_not(process, "broken/model")
        assert "the hub refuses closed/model (403)" in why_not(process, "closed/model")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    with refusing_hub() as address:
        pass
    with GpuProcess(tmp_path, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf")) as process:
        process.wait(Started)
        assert "the hub cannot be reached" in why_not(process, "org/model")


def test_a_box_that_was_told_to_stay_offline(tmp_path: Path) -> None:
    with GpuProcess(tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf")) as process:
        process.wait(Started)
        assert "HF_HUB_OFFLINE is set" in why_not(process, "org/model")
