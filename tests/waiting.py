"""To wait for what another thread or process does."""

import time

DEADLINE = 120.0  # seconds until a test that waits for something fails


def until(is_so):
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < DEADLINE, "it never came to that"
        time.sleep(0.02)
