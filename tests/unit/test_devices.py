"""The devices that the settings name, and their names."""

from server.scheduler.devices import local_devices
from server.settings import Settings


def names(devices: str = "auto", device: str = "") -> list[str]:
    return [found.name for found in local_devices(Settings(devices=devices, device=device))]


def test_devices_have_names_of_their_own() -> None:
    assert names(devices="cpu") == ["cpu"]
    assert names(devices="cpu,cpu") == ["cpu:0", "cpu:1"]
    assert names(devices="cuda,cuda:1,cpu") == ["cuda:0", "cuda:1", "cpu"]
    assert names(devices="cpu,cuda:3,cpu") == ["cpu:0", "cuda:3", "cpu:1"]
    assert names(device="cuda") == ["cuda:0"]


def test_each_process_has_a_log_of_its_own() -> None:
    logs = [device.log for device in local_devices(Settings(devices="cuda:0,cuda:1"))]
    assert logs == ["data/logs/gpu-process.log", "data/logs/gpu-process-cuda-1.log"]


def test_auto_takes_every_gpu_and_one_alone_if_the_single_setting_says_so() -> None:
    (every,) = local_devices(Settings())
    assert [device.name for device in every.others(3)] == ["cuda:1", "cuda:2"]
    assert not every.others(0)
    (one,) = local_devices(Settings(device="auto"))
    assert not one.others(3)
