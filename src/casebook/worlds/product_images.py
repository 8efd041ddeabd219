"""Pictures of products: shapes from a few Fourier coefficients, a pattern, two colours, and what a phone does to them.

A product's *look* is a vector; everything about its picture follows from it. A :class:`Scene` says how one picture is
taken: the pose, the light, what lies behind and what hides a part. A catalogue picture is a look in a neutral scene.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casebook import validate

__all__ = ["LOOK", "PATTERNS", "SIDE", "Scene", "draw_looks", "draw_scene", "paint", "rgb"]

SIDE = 48
PATTERNS = ("plain", "stripes", "checks", "dots")
HARMONICS = 4
CHUNK = 32  # pictures painted at a time: their temporaries stay in the processor's cache

# Where each part of a look stands: shape, two colours (hue as a point on the circle, saturation, value), pattern.
SHAPE = slice(0, 2 * HARMONICS)
COLOURS = (slice(8, 12), slice(12, 16))
FREQUENCY, TURN, PATTERN = 16, slice(17, 19), slice(19, 23)
LOOK = 23

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """How pictures are taken, one entry each. In a neutral scene the product stands upright before a white wall.

    Attributes:
        angle: rotation (radians).
        scale: size, 1 in the catalogue.
        shear: shear.
        shift: of the product's middle, as a share of half the picture, shape (n, 2).
        brightness: gain of all channels.
        gains: gain of each channel, shape (n, 3).
        slope: how much the light falls off from one side to the other, shape (n, 2).
        clutter: how much of the wall is replaced by what lies around, in [0, 1].
        wall: coarse colours of that, shape (n, 6, 6, 3).
        hidden: offset of the edge of what hides a part: 3 hides nothing, 0 half.
        side: the direction from which it comes (radians).
        cover: its colour, shape (n, 3).
        noise: deviation of the sensor's noise, on a scale of 0 to 1.
        grain: the noise itself, standard normal, shape (n, SIDE, SIDE, 3); None where there is none.
    """

    angle: Floats
    scale: Floats
    shear: Floats
    shift: Floats
    brightness: Floats
    gains: Floats
    slope: Floats
    clutter: Floats
    wall: Floats
    hidden: Floats
    side: Floats
    cover: Floats
    noise: Floats
    grain: Floats | None = None

    def __len__(self) -> int:
        return len(self.angle)

    def take(self, rows: NDArray[np.integer] | slice) -> "Scene":
        """The scenes of these pictures."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return Scene(**chosen)

    @classmethod
    def neutral(cls, n: int) -> "Scene":
        """The catalogue's scene, n times."""
        zero, one = np.zeros(n, np.float32), np.ones(n, np.float32)
        pair = np.zeros((n, 2), np.float32)
        return cls(
            zero, one, zero, pair, one, np.ones((n, 3), np.float32), pair, zero, np.zeros((n, 6, 6, 3), np.float32),
            np.full(n, 3.0, np.float32), zero, np.zeros((n, 3), np.float32), zero,
        )  # fmt: skip


def rgb(hue: NDArray[Any], saturation: NDArray[Any], value: NDArray[Any]) -> Floats:
    """Colours from hue (turns), saturation and value in [0, 1]; shape (..., 3)."""
    offset = np.array([5, 3, 1], np.float32)
    k = (offset + hue[..., None] * 6) % 6
    fall = np.clip(np.minimum(k, 4 - k), 0, 1)
    return (value[..., None] * (1 - saturation[..., None] * fall)).astype(np.float32)


def draw_looks(style: NDArray[np.integer], styles: int, rng: np.random.Generator, *, spread: float = 0.45) -> Floats:
    """Looks of products around their styles, shape (products, LOOK).

    Args:
        style: the style of each product, from 0.
        styles: how many styles there are.
        rng: source of the draws.
        spread: deviation of a product from its style, as a share of that between styles.

    Raises:
        ValueError: a style outside the range, or a negative spread.
    """
    style = validate.array("style", style)
    validate.positive_int("styles", styles)
    if style.dtype.kind not in "iu" or style.min() < 0 or style.max() >= styles:
        raise ValueError(
            f"style has values {style.min()} to {style.max()}: expected whole numbers from 0 to {styles - 1}"
        )
    validate.number("spread", spread, least=0)
    validate.generator("rng", rng)
    centre = rng.standard_normal((styles, LOOK)).astype(np.float32)
    own = rng.standard_normal((len(style), LOOK)).astype(np.float32)
    centre[:, PATTERN] = 0
    centre[np.arange(styles), PATTERN.start + rng.integers(0, len(PATTERNS), styles)] = 2.0
    look = centre[style] + np.float32(spread) * own
    look[:, PATTERN] = centre[style][:, PATTERN]  # a style has one pattern; its frequency and turn differ
    return look


def draw_scene(n: int, rng: np.random.Generator, **strength: float) -> Scene:
    """Scenes of users' photos.

    Args:
        n: how many.
        rng: source of the draws; each strength multiplies draws of its own, so that 0 turns off it alone.
        strength: of pose, light, tint (of the phones' white balance), clutter, occlusion, noise (1 each by default),
            and of camera, a constant shift of the white balance towards blue (0 by default).

    Raises:
        ValueError: no picture, an unknown name or a negative strength.
    """
    validate.positive_int("n", n)
    validate.generator("rng", rng)
    usual = {"pose": 1.0, "light": 1.0, "tint": 1.0, "clutter": 1.0, "occlusion": 1.0, "noise": 1.0, "camera": 0.0}
    validate.known("strength", strength, usual)
    s = usual | {name: validate.number(name, value, least=0) for name, value in strength.items()}

    def normal(*shape: int) -> Floats:
        drawn = np.empty((n, *shape), np.float32)
        for start in range(0, n, CHUNK):  # the same numbers as at once, without twice their memory
            part = drawn[start : start + CHUNK]
            part[:] = rng.standard_normal(part.shape)
        return drawn

    angle, scale, shear, shift = s["pose"] * normal() * 0.35, normal(), normal(), normal(2)
    brightness, slope, gains = normal(), normal(2), normal(3)
    amount = rng.random(n).astype(np.float32)
    wall = rng.random((n, 6, 6, 3)).astype(np.float32)
    is_hidden, offset = rng.random(n), rng.random(n).astype(np.float32)
    side, cover = rng.uniform(0, 2 * np.pi, n).astype(np.float32), rng.random((n, 3)).astype(np.float32)
    hides = (is_hidden < 0.5 * min(s["occlusion"], 2.0)) & (s["occlusion"] > 0)
    camera = np.exp(s["camera"] * np.array([-0.35, 0.0, 0.35], np.float32))
    return Scene(
        angle=angle.astype(np.float32),
        scale=np.exp(0.12 * s["pose"] * scale).astype(np.float32),
        shear=(0.12 * s["pose"] * shear).astype(np.float32),
        shift=(0.08 * s["pose"] * shift).astype(np.float32),
        brightness=np.exp(0.25 * s["light"] * brightness).astype(np.float32),
        gains=(np.exp(0.13 * s["tint"] * gains) * camera).astype(np.float32),
        slope=(0.25 * s["light"] * slope).astype(np.float32),
        clutter=np.clip(s["clutter"] * (0.3 + 0.7 * amount), 0, 1).astype(np.float32),
        wall=wall,
        hidden=np.where(hides, 0.15 + 0.6 * offset, 3.0).astype(np.float32),
        side=side,
        cover=cover,
        noise=np.full(n, 0.04 * s["noise"], np.float32),
        grain=normal(SIDE, SIDE, 3),
    )


def _soft(x: NDArray[Any]) -> Floats:
    return (1 / (1 + np.exp(-np.clip(x, -30, 30)))).astype(np.float32)


def _pattern(look: Floats, x: Floats, y: Floats) -> Floats:
    """How much of the second colour a point has, in [0, 1], shape of ``x``."""
    kind = look[:, PATTERN].argmax(axis=1)
    turn = np.arctan2(look[:, TURN.start + 1], look[:, TURN.start]) / 2
    frequency = 2 * np.pi * (1.6 + 0.9 * np.tanh(look[:, FREQUENCY]))
    out = np.empty_like(x)
    for number in range(len(PATTERNS)):
        rows = np.flatnonzero(kind == number)
        if PATTERNS[number] == "plain":
            out[rows] = 0.25 + 0.1 * y[rows]
            continue
        c, s = np.cos(turn[rows])[:, None, None], np.sin(turn[rows])[:, None, None]
        along = np.sin(frequency[rows, None, None] * (x[rows] * c + y[rows] * s))
        if PATTERNS[number] == "stripes":
            out[rows] = _soft(6 * along)
            continue
        across = np.sin(frequency[rows, None, None] * (y[rows] * c - x[rows] * s))
        out[rows] = _soft(8 * along * across if PATTERNS[number] == "checks" else 9 * ((along * across) ** 2 - 0.35))
    return out


def _colour(look: Floats) -> Floats:
    """The colour of each look's four numbers, shape (n, 3)."""
    hue = np.arctan2(look[:, 1], look[:, 0]) / (2 * np.pi) % 1
    return rgb(hue, 0.35 + 0.6 * _soft(1.5 * look[:, 2]), 0.4 + 0.55 * _soft(1.5 * look[:, 3]))


def _grow(coarse: Floats) -> Floats:
    """Coarse colours (n, 6, 6, 3) drawn out to planes (n, 3, SIDE, SIDE), linearly."""
    at = np.linspace(0, 5, SIDE, dtype=np.float32)
    low = np.minimum(at.astype(int), 4)
    part = (at - low).astype(np.float32)
    planes = np.ascontiguousarray(coarse.transpose(0, 3, 1, 2))
    rows = planes.take(low, axis=2) * (1 - part)[:, None] + planes.take(low + 1, axis=2) * part[:, None]
    return rows.take(low, axis=3) * (1 - part) + rows.take(low + 1, axis=3) * part


def _paint(look: Floats, scene: Scene) -> tuple[NDArray[np.uint8], Floats]:
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    u = axis[None, None, :] - scene.shift[:, 0, None, None]
    v = axis[None, :, None] - scene.shift[:, 1, None, None]
    c, s = np.cos(scene.angle)[:, None, None], np.sin(scene.angle)[:, None, None]
    zoom = scene.scale[:, None, None]
    x = (c * u + s * v) / zoom
    y = (c * v - s * u) / zoom
    x = x + scene.shear[:, None, None] * y
    radius = np.sqrt(x * x + y * y) + 1e-6
    unit_c, unit_s = x / radius, y / radius
    outline, cos_k, sin_k = np.ones_like(x), unit_c, unit_s
    for k in range(HARMONICS):  # cos and sin of k times the angle, by the addition theorem
        weight = 0.16 / (1 + k)
        outline = outline + weight * (look[:, 2 * k, None, None] * cos_k + look[:, 2 * k + 1, None, None] * sin_k)
        cos_k, sin_k = cos_k * unit_c - sin_k * unit_s, sin_k * unit_c + cos_k * unit_s
    outline = 0.68 * np.clip(outline, 0.25, 1.6)
    mask = _soft((outline - radius) * 28)
    # Colours are planes, (n, 3, SIDE, SIDE): numpy is several times slower where the last axis has three entries.
    second = _pattern(look, x, y)[:, None]
    image = _colour(look[:, COLOURS[0]])[..., None, None] * (1 - second)
    image += _colour(look[:, COLOURS[1]])[..., None, None] * second
    ratio = np.minimum(radius / outline, 1.2)
    image *= (1.08 - 0.42 * ratio**3 - 0.12 * y)[:, None]  # a round body, lit from above
    image *= mask[:, None]
    shadow = _soft((outline - np.sqrt((x - 0.08) ** 2 + (y - 0.14) ** 2)) * 7)[:, None]
    amount = scene.clutter[:, None, None, None]
    wall = 0.97 * (1 - amount)
    if amount.any():
        wall = wall + amount * (0.15 + 0.75 * _grow(scene.wall))
    image += wall * (1 - 0.35 * shadow) * (1 - mask[:, None])
    edge = u * np.cos(scene.side)[:, None, None] + v * np.sin(scene.side)[:, None, None]
    cover = _soft((edge - scene.hidden[:, None, None]) * 24)
    rows = np.flatnonzero(cover.max(axis=(1, 2)) > 1e-9)  # elsewhere it changes no byte
    hides = cover[rows, None]
    image[rows] = image[rows] * (1 - hides) + scene.cover[rows][..., None, None] * hides
    light = 1 + scene.slope[:, 0, None, None] * axis + scene.slope[:, 1, None, None] * axis[:, None]
    light = scene.brightness[:, None, None] * np.clip(light, 0.2, 2.0)
    image *= light[:, None] * scene.gains[..., None, None]
    if scene.grain is not None:
        image += scene.noise[:, None, None, None] * scene.grain.transpose(0, 3, 1, 2)
    area = mask.sum(axis=(1, 2))
    occluded = ((mask * cover).sum(axis=(1, 2)) / np.maximum(area, 1e-6)).astype(np.float32)
    np.clip(image, 0, 1, out=image)
    image *= 255
    image += 0.5
    return np.ascontiguousarray(image.astype(np.uint8).transpose(0, 2, 3, 1)), occluded


def paint(look: Floats, scene: Scene | None = None) -> tuple[NDArray[np.uint8], Floats]:
    """Pictures of looks, and the share of each product that something hides.

    Args:
        look: one row a picture, shape (n, LOOK).
        scene: how each is taken; neutral by default.

    Returns:
        Pictures of shape (n, SIDE, SIDE, 3), and shares of shape (n,).

    Raises:
        ValueError: looks of another width, or as many scenes as there are not looks.
    """
    look = validate.finite("look", look, ndim=2).astype(np.float32)
    if look.shape[1] != LOOK:
        raise ValueError(f"look has shape {look.shape}: expected {LOOK} columns")
    scene = Scene.neutral(len(look)) if scene is None else scene
    validate.same_length(look=look, scene=scene.angle)
    parts = [slice(i, i + CHUNK) for i in range(0, len(look), CHUNK)]
    painted = [_paint(look[part], scene.take(part)) for part in parts]
    return np.concatenate([p for p, _ in painted]), np.concatenate([o for _, o in painted])
