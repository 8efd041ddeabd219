"""The two settings of a run."""

import pytest

from casebook import settings


def test_defaults(monkeypatch):
    monkeypatch.delenv("CASEBOOK_SEED", raising=False)
    monkeypatch.delenv("CASEBOOK_SIZE", raising=False)
    assert settings.seed() == 0
    assert settings.size() == "book"


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("CASEBOOK_SEED", "12")
    monkeypatch.setenv("CASEBOOK_SIZE", "big")
    assert settings.seed() == 12
    assert settings.size() == "big"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "one", " 1"])
def test_a_bad_seed_is_refused(monkeypatch, text):
    monkeypatch.setenv("CASEBOOK_SEED", text)
    with pytest.raises(ValueError, match=r"CASEBOOK_SEED is '.*': expected a whole number of at least 0"):
        settings.seed()


def test_an_unknown_size_is_refused(monkeypatch):
    monkeypatch.setenv("CASEBOOK_SIZE", "huge")
    with pytest.raises(ValueError, match="CASEBOOK_SIZE is 'huge': expected one of book, big"):
        settings.size()
