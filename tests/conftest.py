"""Every test runs on one thread, so that parallel test processes don't fight for cores."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
