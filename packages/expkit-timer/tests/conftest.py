import pytest


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now_ns = 1_000

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()
