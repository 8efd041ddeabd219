"""Trains the shipped backbone: ``python -m casebook.backbone.train [weights.npz]``; some minutes on one core.

Its task is to name the style of a product, over styles drawn for this purpose alone and seen under the same kind of
photography. The number of steps is fixed, so the result does not depend on how fast the machine is.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from casebook import rng
from casebook.backbone import DIMENSIONS, WEIGHTS, Backbone, to_input
from casebook.worlds.product_images import draw_looks, draw_scene, paint

STYLES, PRODUCTS, STEPS, BATCH, POOL = 120, 6_000, 400, 192, 12_000
SEED = 20_261_125  # not the run's: the backbone is the same for every reader


def train(steps: int = STEPS) -> tuple[Backbone, float]:
    """The trained backbone, and the share of the last batches' photos whose style it named."""
    draws = rng.stream("backbone", "batches", seed=SEED)
    style = np.arange(PRODUCTS) % STYLES
    look = draw_looks(style, STYLES, rng.stream("backbone", "looks", seed=SEED), spread=0.35)
    shown = draws.integers(0, PRODUCTS, POOL)
    photos, _ = paint(look[shown], draw_scene(POOL, rng.stream("backbone", "scenes", seed=SEED)))
    torch.manual_seed(SEED)
    network, guess = Backbone(), nn.Linear(DIMENSIONS, STYLES)
    optimiser = torch.optim.AdamW([*network.parameters(), *guess.parameters()], lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    right = []
    for _ in range(steps):
        rows = draws.integers(0, POOL, BATCH)
        answer = torch.from_numpy(style[shown[rows]])
        logits = guess(network(to_input(photos[rows])))
        loss = nn.functional.cross_entropy(logits, answer)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        right.append(float((logits.argmax(1) == answer).float().mean()))
    return network.eval(), float(np.mean(right[-10:]))


def main() -> None:
    """Trains and writes the weights, in half precision."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS
    network, right = train()
    np.savez_compressed(path, **{k: v.numpy().astype(np.float16) for k, v in network.state_dict().items()})
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB; names the style of {right:.0%} of the photos")


if __name__ == "__main__":
    main()
