"""Fixtures of the unit tests."""

import pytest


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: a list of (data, metadata)."""
    found = []

    def display(data, *, raw, metadata):
        assert raw
        found.append((data, metadata))

    monkeypatch.setattr("IPython.display.display", display)
    return found
