"""The device that the tests of pipelines run on: the CPU, or the one that TEST_DEVICE names, such as `cuda:0`.

Its name does not begin with BACKLOT_: the tests' servers inherit it, and a server refuses a setting that it does not know.
"""

import os

import pytest
import torch

from pipelines.worker.determinism import be_deterministic

DEVICE = torch.device(os.environ.get("TEST_DEVICE", "cpu"))
be_deterministic()
# Two ways to compute one picture are compared to the last bits. cuDNN would round each input of a convolution to 10 bits,
# which hides a difference in the last bit or makes it one in the 10th.
torch.backends.cudnn.allow_tf32 = False

#: Marks a test of something that only a CPU does, or does to the last bit.
on_cpu_only = pytest.mark.skipif(DEVICE.type != "cpu", reason="it is about CPUs")
