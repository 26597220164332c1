"""Every test starts from the same process-wide settings, whatever the one before did."""

import pytest
import torch


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    """A cache folder of this session, so that no test reads or writes the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _settings(monkeypatch, session_cache):
    # One thread, so that parallel test processes don't fight for cores; denormal numbers as hypothesis must find them.
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    monkeypatch.setenv("MODELWRIGHT_CACHE", str(session_cache))
