"""Visual search: users photograph a product, a search returns ten, and somebody may buy.

A catalogue of procedural products (:mod:`casebook.worlds.product_images`), photos of them as phones take them, and what
users do with a list of results. The truth is the *look* of each product: who photographs a product buys it if it is
shown, and a look-alike with a probability that falls with the distance between the looks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook import settings, validate
from casebook.worlds.core import World
from casebook.worlds.latents import zipf_weights
from casebook.worlds.mechanisms import examination, sigmoid
from casebook.worlds.product_images import LOOK, SIDE, Scene, draw_looks, draw_scene, paint

__all__ = ["SIDE", "SLATE", "Outcome", "Photos", "Search", "SearchLog", "Truth", "VisualSearch"]

SLATE = 10
STYLES, TRAINED = 40, 30
SPLITS = ("train", "new product", "new style")
SCENE_KNOBS = ("pose", "light", "tint", "clutter", "occlusion", "noise", "camera")

Ids = NDArray[np.int64]
Images = NDArray[np.uint8]
Search = Callable[[Images], Ids]


@dataclass(frozen=True)
class Photos:
    """Photos by users.

    Attributes:
        images: shape (n, SIDE, SIDE, 3).
        product: what each shows; a tester knows it, the service does not.
        conditions: how each was taken: ``angle`` (radians), ``scale``, ``brightness``, ``warmth`` (log ratio of red to
            blue gain), ``clutter``, and ``occluded``, the share of the product that is hidden.
        scene: the truth of how each was taken.
    """

    images: Images
    product: Ids
    conditions: pd.DataFrame
    scene: Scene = field(repr=False)

    def __len__(self) -> int:
        return len(self.product)


@dataclass(frozen=True)
class SearchLog:
    """What a search service logged.

    Attributes:
        frame: one row a result: ``search``, ``user``, ``place`` from 0, ``product``, ``propensity`` (1 unless the place
            was filled by chance), ``click``, ``bought``.
        photos: the images that were searched with, one a search.
        truth: of each search what was ``wanted``; of each row ``p_click`` and ``p_buy``. Not observable.
    """

    frame: pd.DataFrame
    photos: Photos
    truth: Mapping[str, NDArray[Any]] = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What arms of an experiment brought.

    Attributes:
        users: one row a user: ``user``, ``arm``, ``searches``, ``clicks``, ``bought``.
        truth: per arm the expected purchases a search, had all searches gone through it.
    """

    users: pd.DataFrame
    truth: Mapping[str, float]


class Truth:
    """What the world knows and no log shows."""

    def __init__(self, look: NDArray[np.float32], reach: float) -> None:
        self._look, self._reach = look, reach

    def look(self, ids: Ids) -> NDArray[np.float32]:
        """The looks of products, shape (n, dimensions)."""
        return self._look[ids]

    def distance(self, wanted: Ids, shown: Ids) -> NDArray[np.float32]:
        """Distance in looks between what was wanted, shape (n,), and what is shown, shape (n, k)."""
        return np.linalg.norm(self._look[shown] - self._look[wanted][:, None], axis=2) / np.float32(np.sqrt(LOOK))

    def p_buy(self, wanted: Ids, shown: Ids) -> NDArray[np.float64]:
        """Chance that a result, once looked at, is bought; shape (n, k)."""
        return 0.4 * np.exp(-((self.distance(wanted, shown) / self._reach) ** 2).astype(np.float64))

    def oracle(self, wanted: Ids, k: int = SLATE) -> Ids:
        """The k products nearest in look to what was wanted, itself first; shape (n, k)."""
        square = (self._look**2).sum(axis=1)
        found = []
        for part in np.array_split(np.asarray(wanted), max(1, len(wanted) // 512)):
            gap = square - 2 * self._look[part] @ self._look.T
            near = np.argpartition(gap, k, axis=1)[:, :k]
            found.append(np.take_along_axis(near, np.take_along_axis(gap, near, axis=1).argsort(axis=1), axis=1))
        return np.concatenate(found)

    def attainable(self, photos: Photos, k: tuple[int, ...] = (1, 10), among: int = 20) -> dict[int, float]:
        """Recall at k of somebody who knows pose, light and cover of each photo, by rendering and comparing.

        A reference: nobody knows these. Each candidate is painted into the photo's own scene, without the sensor's
        noise, and compared pixel by pixel; candidates are the ``among`` nearest in look, since others look different.
        """
        near = self.oracle(photos.product, among)
        quiet = Scene(**{**photos.scene.__dict__, "grain": None})
        rank = np.empty(len(photos), int)
        for part in np.array_split(np.arange(len(photos)), max(1, len(photos) // 12)):
            rows = np.repeat(part, among)
            drawn = paint(self._look[near[part].ravel()], quiet.take(rows))[0].reshape(len(part), among, -1)
            gap = (drawn.astype(np.float32) - photos.images[part].reshape(len(part), 1, -1)) ** 2
            score = gap.sum(axis=2)
            rank[part] = (score < score[:, :1]).sum(axis=1)
        return {at: float((rank < at).mean()) for at in k}


class VisualSearch(World):
    """A catalogue, its photographers and its buyers.

    Knobs, each 0 for none: ``pose``, ``light``, ``tint``, ``clutter``, ``occlusion``, ``noise``, ``camera`` of photos
    (see :func:`casebook.worlds.product_images.draw_scene`); ``position``, how much less lower places are looked at;
    ``attraction``, how much pictures rich in contrast draw clicks and not purchases; ``mislabel``, the share of styles
    that the catalogue team entered wrong.

    Args:
        products: how many of each split: training, new products of known styles, products of new styles.
        seed: the run's seed by default.
        size: ``big`` has four times the products.
        knobs: other values than the defaults.

    Raises:
        ValueError: an unknown knob, a negative value, or fewer products than styles.
    """

    name: ClassVar[str] = "visual_search"
    defaults: ClassVar[Mapping[str, float]] = {
        "pose": 1.0, "light": 1.0, "tint": 1.0, "clutter": 1.0, "occlusion": 1.0, "noise": 1.0, "camera": 0.0,
        "position": 1.0, "attraction": 1.0, "mislabel": 0.0,
    }  # fmt: skip

    def __init__(
        self,
        products: tuple[int, int, int] = (1_200, 1_000, 1_000),
        *,
        seed: int | None = None,
        size: settings.Size | None = None,
        **knobs: float,
    ) -> None:
        self._specify(seed, size, knobs)
        if len(products) != len(SPLITS):
            raise ValueError(f"products has {len(products)} numbers: expected one for each of {', '.join(SPLITS)}")
        factor = 4 if self.spec.size == "big" else 1
        counts = [factor * validate.positive_int("products", n, least=STYLES) for n in products]
        split = np.repeat(SPLITS, counts)
        draws = self.stream("products")
        style = np.where(
            split == "new style", draws.integers(TRAINED, STYLES, len(split)), draws.integers(0, TRAINED, len(split))
        )
        look = draw_looks(style, STYLES, self.stream("looks"))
        wrong = draws.random(len(split)) < self.spec.knobs["mislabel"]
        entered = np.where(wrong, draws.integers(0, STYLES, len(split)), style)
        self.products = pd.DataFrame(
            {
                "style": entered,
                "split": split,
                "category": style % 4,
                "price": np.exp(draws.normal(3.5, 0.6, len(split))).round(2),
            }
        )
        self._popularity = zipf_weights(len(split), 0.7, draws)
        self.truth = Truth(look, reach=0.35)
        self._pictures: Images | None = None
        self._contrasts: NDArray[np.float32] | None = None

    def pictures(self, ids: Ids | None = None) -> Images:
        """The catalogue's pictures of these products, of all by default."""
        if self._pictures is None:
            self._pictures = paint(self.truth.look(np.arange(len(self.products))))[0]
        return self._pictures.copy() if ids is None else self._pictures[self._checked(ids)]

    def wanted(self, n: int, stream: str = "wanted", split: str | None = None) -> Ids:
        """What n users photograph, popular products more often.

        Args:
            n: how many.
            stream: name of the draws.
            split: only products of this split; ``"new"`` is both that no training saw.

        Raises:
            ValueError: an unknown split or no user.
        """
        validate.positive_int("n", n)
        weight = self._popularity
        if split is not None:
            validate.choice("split", split, (*SPLITS, "new"))
            of = self.products["split"].to_numpy()
            weight = weight * ((of != "train") if split == "new" else (of == split))
        return self.stream(f"wanted:{stream}").choice(len(weight), n, p=weight / weight.sum())

    def photos(self, ids: Ids, stream: str = "photos", **knobs: float) -> Photos:
        """Photos of these products, one each; scene knobs may differ from the world's.

        Raises:
            ValueError: ids outside the catalogue, an unknown knob, a negative value.
        """
        ids = self._checked(ids)
        strength = {name: self.spec.knobs[name] for name in SCENE_KNOBS}
        validate.known("knobs", knobs, strength)
        scene = draw_scene(len(ids), self.stream(f"scene:{stream}"), **(strength | knobs))
        images, occluded = paint(self.truth.look(ids), scene)
        conditions = pd.DataFrame(
            {
                "angle": scene.angle,
                "scale": scene.scale,
                "brightness": scene.brightness,
                "warmth": np.log(scene.gains[:, 0] / scene.gains[:, 2]),
                "clutter": scene.clutter,
                "occluded": occluded,
            }
        )
        return Photos(images, ids, conditions, scene)

    def log(self, search: Search, n: int, stream: str = "log", *, explore: float = 0.0) -> SearchLog:
        """n searches with a search service, and what users did.

        Args:
            search: from photos (n, SIDE, SIDE, 3) to product ids (n, SLATE), best first.
            n: how many searches.
            stream: name of the draws. The same name is the same users, photos and luck.
            explore: share of places that are filled by a random product.

        Raises:
            ValueError: results of another shape, ids outside the catalogue, a share outside [0, 1].
        """
        validate.probability("explore", explore)
        wanted = self.wanted(n, f"log:{stream}")
        photos = self.photos(wanted, f"log:{stream}")
        shown = self._searched(search, photos.images)
        random = self.uniform(f"explore:{stream}", np.arange(n)[:, None], np.arange(SLATE)) < explore
        instead = self.stream(f"instead:{stream}").integers(0, len(self.products), shown.shape)
        shown = np.where(random, instead, shown)
        p_click, p_buy = self._chances(wanted, shown)
        click, bought = self._luck(stream, wanted, shown, p_click, p_buy)
        user = self.stream(f"users:{stream}").integers(0, max(1, n // 3), n)
        frame = pd.DataFrame(
            {
                "search": np.repeat(np.arange(n), SLATE),
                "user": np.repeat(user, SLATE),
                "place": np.tile(np.arange(SLATE), n),
                "product": shown.ravel(),
                "propensity": np.where(random, explore / len(self.products), 1 - explore).ravel(),
                "click": click.ravel().astype(np.int8),
                "bought": bought.ravel().astype(np.int8),
            }
        )
        return SearchLog(frame, photos, {"wanted": wanted, "p_click": p_click.ravel(), "p_buy": p_buy.ravel()})

    def rollout(self, arms: Mapping[str, Search], n: int, stream: str = "online", *, split: float = 0.5) -> Outcome:
        """An experiment by user: each user's searches go through one arm.

        Args:
            arms: the searches by name; the first is the control.
            n: how many searches in all.
            stream: name of the draws.
            split: share of users in the first arm; the others share the rest evenly.

        Raises:
            ValueError: no arm, a share outside [0, 1], results of a wrong shape.
        """
        if not arms:
            raise ValueError("arms is empty: expected at least one search")
        validate.probability("split", split)
        wanted = self.wanted(n, f"log:{stream}")
        photos = self.photos(wanted, f"log:{stream}")
        user = self.stream(f"users:{stream}").integers(0, max(1, n // 3), n)
        names = list(arms)
        draw = self.uniform(f"arm:{stream}", np.arange(user.max() + 1))
        rest = np.minimum(((draw - split) / max(1 - split, 1e-12) * (len(names) - 1)).astype(int), len(names) - 2)
        arm = np.where((draw < split) | (len(names) == 1), 0, 1 + rest)
        clicks, purchases, truth = np.zeros(n), np.zeros(n), {}
        for number, name in enumerate(names):
            shown = self._searched(arms[name], photos.images)
            p_click, p_buy = self._chances(wanted, shown)
            truth[name] = float((1 - np.prod(1 - p_click * p_buy, axis=1)).mean())
            click, bought = self._luck(stream, wanted, shown, p_click, p_buy)
            mine = arm[user] == number
            clicks[mine], purchases[mine] = click[mine].sum(axis=1), bought[mine].sum(axis=1)
        totals = pd.DataFrame({"user": user, "searches": 1, "clicks": clicks, "bought": purchases})
        users = totals.groupby("user", as_index=False).sum()
        users.insert(1, "arm", np.asarray(names, dtype=object)[arm[users["user"]]])
        return Outcome(users, truth)

    def _checked(self, ids: Ids) -> Ids:
        ids = validate.array("ids", ids)
        if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= len(self.products):
            raise ValueError(
                f"ids has values {ids.min()} to {ids.max()}: expected whole numbers from 0 to {len(self.products) - 1}"
            )
        return ids.astype(np.int64)

    def _searched(self, search: Search, images: Images) -> Ids:
        shown = np.asarray(search(images))
        if shown.shape != (len(images), SLATE):
            raise ValueError(f"search returned shape {shown.shape}: expected {(len(images), SLATE)}")
        return self._checked(shown.ravel()).reshape(shown.shape)

    def _chances(self, wanted: Ids, shown: Ids) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probability of a click by place, and of a purchase after the click; shape (n, SLATE) each."""
        rich = self._contrast()[shown]
        appeal = 1.0 - 3.0 * self.truth.distance(wanted, shown) + 0.7 * self.spec.knobs["attraction"] * rich
        look = examination(np.arange(SLATE), 0.7 * self.spec.knobs["position"])
        return look * sigmoid(appeal), self.truth.p_buy(wanted, shown)

    def _contrast(self) -> NDArray[np.float32]:
        """How rich in contrast each picture is, in deviations from the mean of all."""
        if self._contrasts is None:
            parts = np.array_split(self.pictures(), max(1, len(self.products) // 64))
            contrast = np.concatenate([part.std(axis=(1, 2, 3), dtype=np.float32) for part in parts])
            self._contrasts = (contrast - contrast.mean()) / contrast.std()
        return self._contrasts

    def _luck(
        self, stream: str, wanted: Ids, shown: Ids, p_click: NDArray[np.float64], p_buy: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Clicks, and at most one purchase a search: the first."""
        search = np.arange(len(wanted))[:, None]
        click = self.uniform(f"click:{stream}", search, shown) < p_click
        buys = click & (self.uniform(f"buy:{stream}", search, shown) < p_buy)
        return click, buys & (np.cumsum(buys, axis=1) == 1)
