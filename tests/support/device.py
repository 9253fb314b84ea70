"""The device that the tests of pipelines run on: the CPU, or the one that BACKLOT_TEST_DEVICE names, such as `cuda:0`."""

import os

import pytest
import torch

from pipelines.worker.determinism import be_deterministic

DEVICE = torch.device(os.environ.get("BACKLOT_TEST_DEVICE", "cpu"))
be_deterministic()

#: For what only a CPU does, or does to the last bit.
on_cpu_only = pytest.mark.skipif(DEVICE.type != "cpu", reason="it is about CPUs")
