"""Waiting for a processor that others have."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelwright.training.waiting import waited_seconds

BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile True: pass"


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").is_file(), reason="the system doesn't tell how long a thread waited")
def test_a_thread_waits_while_another_process_has_its_processor():
    own = os.sched_getaffinity(0)
    here = min(own)
    os.sched_setaffinity(0, {here})
    try:
        with subprocess.Popen([sys.executable, "-c", BUSY, str(here)], stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            before, until = waited_seconds(), time.monotonic() + 0.5
            assert before is not None
            while time.monotonic() < until:
                pass
            assert (waited_seconds() or 0.0) - before > 0.05
            other.kill()
    finally:
        os.sched_setaffinity(0, own)
