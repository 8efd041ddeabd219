"""A small image encoder, shipped with its weights and with the script that trained it.

It plays the part of a backbone that a team would download: it has learnt to tell the styles of *another* catalogue
apart, and has seen no product and no style of the catalogue on which the builds evaluate.
``python -m casebook.backbone.train`` makes the weights again.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from casebook import validate

__all__ = ["DIMENSIONS", "WEIGHTS", "Backbone", "embed", "info_nce", "load", "to_input"]

DIMENSIONS = 64
WEIGHTS = Path(__file__).with_name("weights.npz")
CHUNK = 64


class Backbone(nn.Module):
    """Three strided convolutions and a linear layer: pictures (n, 3, 48, 48) in [0, 1] to vectors (n, 64).

    Group normalisation, so that a vector does not depend on what else is in the batch.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 96)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(96 * 9, DIMENSIONS)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Vectors, not yet of length one."""
        return self.head(self.features(pictures))


def to_input(images: NDArray[np.uint8]) -> torch.Tensor:
    """Images (n, height, width, 3) of bytes as the encoder's input.

    Raises:
        ValueError: another shape or type.
    """
    images = validate.array("images", images, ndim=4)
    if images.dtype != np.uint8 or images.shape[3] != 3:
        raise ValueError(
            f"images has shape {images.shape}, dtype {images.dtype}: expected (n, height, width, 3) of uint8"
        )
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def embed(network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Vectors of length one for images (n, height, width, 3), shape (n, dimensions)."""
    parts: Iterable[NDArray[np.uint8]] = (images[i : i + CHUNK] for i in range(0, len(images), CHUNK))
    was = network.training
    network.eval()
    vectors = torch.cat([nn.functional.normalize(network(to_input(part)), dim=1) for part in parts])
    network.train(was)
    return vectors.numpy()


def info_nce(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """The contrastive loss: row i of ``a`` belongs to row i of ``b``, and every other row is a negative.

    InfoNCE (van den Oord, Li and Vinyals 2018), averaged over both directions.

    Args:
        a: vectors of photos, shape (n, dimensions); normalised here.
        b: vectors of catalogue pictures, at least n of them; rows beyond n are further negatives for ``a``.
        temperature: what similarities are divided by.

    Raises:
        ValueError: fewer rows in ``b`` than in ``a``, or a temperature that is not positive.
    """
    validate.number("temperature", temperature, above=0)
    if len(b) < len(a):
        raise ValueError(f"b has {len(b)} rows: expected at least those of a, {len(a)}")
    a, b = nn.functional.normalize(a, dim=1), nn.functional.normalize(b, dim=1)
    similarity = a @ b.T / temperature
    answer = torch.arange(len(a), device=a.device)
    backwards = nn.functional.cross_entropy(similarity[:, : len(a)].T, answer)
    return (nn.functional.cross_entropy(similarity, answer) + backwards) / 2


def load(path: Path = WEIGHTS) -> Backbone:
    """The backbone with its shipped weights."""
    network = Backbone()
    with np.load(path) as stored:
        network.load_state_dict({name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files})
    return network.eval()
