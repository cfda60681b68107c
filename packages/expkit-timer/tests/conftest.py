import os

import pytest


class Clock:
    """A clock that advances when a test says so."""

    def __init__(self):
        self.now_ns = 1_000

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def torch():
    """PyTorch if it is installed; if not, a failure where `EXPKIT_REQUIRE` names it."""
    if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
        import torch
    else:
        torch = pytest.importorskip("torch")
    return torch
