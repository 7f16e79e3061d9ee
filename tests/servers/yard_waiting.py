"""Waiting for what has only to come about: machines under tests are slow."""

import time


def wait_until(true, limit_s=120):
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)
