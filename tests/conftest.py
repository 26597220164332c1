"""Every test starts from the same process-wide settings, whatever the one before did."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _settings():
    # One thread, so that parallel test processes don't fight for cores; denormal numbers as hypothesis must find them.
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
