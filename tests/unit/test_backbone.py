"""The shipped backbone: small, deterministic, better than chance at what it never saw; the contrastive loss by hand."""

import numpy as np
import pytest
import torch

from casebook import backbone
from casebook.backbone.train import train
from casebook.worlds.visual_search import VisualSearch


def test_the_weights_are_small_and_fit():
    assert backbone.WEIGHTS.stat().st_size < 1_000_000
    network = backbone.load()
    assert sum(p.numel() for p in network.parameters()) < 200_000
    assert not network.training


def test_vectors_are_of_length_one_and_do_not_depend_on_the_batch():
    images = VisualSearch((40, 40, 40), seed=1).pictures()
    network = backbone.load()
    together = backbone.embed(network, images)
    assert together.shape == (120, backbone.DIMENSIONS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    assert np.abs(backbone.embed(network, images[:1]) - together[:1]).max() < 1e-5


def test_it_finds_products_it_never_saw_better_than_untrained():
    world = VisualSearch((40, 150, 150), seed=2)
    photos = world.photos(world.wanted(200, split="new"))
    catalogue = world.pictures()

    def recall(network):
        near = np.argsort(-(backbone.embed(network, photos.images) @ backbone.embed(network, catalogue).T), axis=1)[
            :, :10
        ]
        return (near == photos.product[:, None]).any(axis=1).mean()

    torch.manual_seed(0)
    assert recall(backbone.load()) > 2 * recall(backbone.Backbone())


def test_training_is_the_same_each_time(monkeypatch):
    monkeypatch.setattr("casebook.backbone.train.POOL", 300)
    first, second = (train(steps=3)[0].state_dict() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_the_contrastive_loss_by_hand():
    a = torch.eye(2)
    assert float(backbone.info_nce(a, a, 1.0)) == pytest.approx(np.log(1 + np.exp(-1)))
    assert float(backbone.info_nce(a, a.flip(0), 1.0)) == pytest.approx(np.log(1 + np.exp(1)))
    with_more = float(backbone.info_nce(a, torch.cat([a, a]), 1.0))
    forwards = np.log((2 * np.e + 2) / np.e)
    assert with_more == pytest.approx((forwards + np.log(1 + np.exp(-1))) / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: backbone.info_nce(torch.eye(3), torch.eye(3)[:2]), "b has 2 rows"),
        (lambda: backbone.info_nce(torch.eye(3), torch.eye(3), 0.0), "temperature"),
        (lambda: backbone.to_input(np.zeros((2, 4, 4, 3))), "of uint8"),
        (lambda: backbone.to_input(np.zeros((4, 4, 3), np.uint8)), "4 dimensions"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
