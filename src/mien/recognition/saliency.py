"""Show where a trained network looked: gradient saliency for any deep system, attention for SMA-STN, over the face.

A saliency map shows where a change of the input would change the score. It does not explain why a face moved, and a
plausible map does not prove that the network is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, install_extra, unknown_name
from mien.motion.pictures import Picture, scalar_colours
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.inputs import ArrayInputs
from mien.types import Clip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from mien.classifiers.base import Classifier
    from mien.classifiers.checkpoint import ModelCard
    from mien.classifiers.net import NetClassifier

Method = Literal["integrated", "gradient", "smooth"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
STEPS: Final = 24
"""Number of points for integrated gradients, and of noisy copies for the smoothed gradient."""

Maps = NDArray[np.float32]


@runtime_checkable
class SoftScores(Protocol):
    """A network whose output has no gradient (votes), with scores that have one."""

    def soft_scores(self, x: Tensor) -> Tensor:
        """Return scores (B, n_classes) for an input of the network."""
        ...


@runtime_checkable
class Attends(Protocol):
    """A network that can report its attention (`mien.models.sma_stn.SMASTN`)."""

    def look(self, x: Tensor) -> Any:
        """Return attention and segment weights (`Seen`) for an input of the network."""
        ...


@dataclass(frozen=True)
class Explanation:
    """The explanation of a prediction for one clip.

    Attributes:
        key: Key of the clip.
        classes: Class names.
        probabilities: (C,) probabilities of the whole classifier.
        explained: Index of the class whose score is explained.
        method: Name of the method.
        heat: (H, W) >= 0, summing to 1: share of the saliency at each pixel of the input. All 0 if nothing matters.
        over_time: (T,) >= 0, summing to 1: share of each frame or segment; None if the input has no time axis.
        face: (H', W', 3) first frame, aligned by the recipe; None for flow pictures.
        images: (S, h, w) dynamic images in grey levels; None for systems without them.
        segments: (S,) weights of the segments, summing to 1; None for systems without them.
        attention: (S, h', w') attention maps, each summing to 1; None for systems without them.
        names: (S) titles of the images.
        notes: Remarks for the reader.
    """

    key: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    explained: int
    method: str
    heat: Maps
    over_time: Maps | None = None
    face: Picture | None = None
    images: Maps | None = None
    segments: Maps | None = None
    attention: Maps | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def attribution(
    classifier: NetClassifier, x: NDArray[np.floating], target: int, method: str = "integrated", base: float = 0.0
) -> Maps:
    """Compute how much each element of an input contributes to the score of a class.

    Args:
        classifier: A trained network or committee. Members and mirror images are averaged, as in prediction.
        x: One input, as the recipe of the system makes it.
        target: Index of the class.
        method: "integrated": integrated gradients, from an input that is `base` everywhere; they sum to the difference
            between the two scores. "gradient": the gradient. "smooth": the gradient, averaged over copies with noise
            of a tenth of the input's range.
        base: Value of the input that means "no signal".

    Returns:
        Array of the shape of x; positive where the element speaks for the class.

    Raises:
        MienError: Captum is not installed, the method is unknown, or the classifier is not trained.

    Source: Sundararajan, Taly, Yan, ICML 2017; Simonyan, Vedaldi, Zisserman, 2013; Smilkov et al., 2017; by Captum.
    """
    import torch

    if method not in METHODS:
        raise unknown_name("saliency", method, METHODS, "mien explain --help")
    if not classifier.models:
        raise MienError("The network is not trained.", "a trained network.", "`mien train`.")
    captum = _captum()
    views = [_score_of(model, mirror) for model in classifier.models for mirror in _mirrors(classifier)]
    for model in classifier.models:
        _at_rest(model)

    def score(batch: Tensor) -> Tensor:
        total = views[0](batch)
        for view in views[1:]:
            total = total + view(batch)
        return total / len(views)

    # Apply the scaling of the classifier to both, so that `base` is in units of the recipe.
    seen = classifier._finish(np.stack([x, np.full_like(x, base)]).astype(np.float32))
    start, nothing = seen[:1], seen[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if method == "integrated":
            made = captum.IntegratedGradients(score).attribute(
                start, nothing, target=target, n_steps=STEPS, internal_batch_size=8
            )
        elif method == "gradient":
            made = captum.Saliency(score).attribute(start.requires_grad_(), target=target, abs=False)
        else:
            noise = 0.1 * float(start.max() - start.min()) or 1e-6
            made = captum.NoiseTunnel(captum.Saliency(score)).attribute(
                start.requires_grad_(),
                target=target,
                nt_samples=STEPS,
                nt_samples_batch_size=8,
                stdevs=noise,
                abs=False,
            )
    return np.asarray(made[0].detach().cpu().numpy(), np.float32)


def _captum() -> Any:
    try:
        import captum.attr  # type: ignore[import-untyped]
    except ImportError:
        raise MienError(
            "Saliency needs the package captum, which is not installed.",
            "captum 0.7 or later.",
            f"{install_extra('explain')}.",
        ) from None
    return captum.attr


def _mirrors(classifier: NetClassifier) -> list[Callable[[Tensor], Tensor] | None]:
    return [None] if classifier.mirror is None else [None, classifier.mirror]


def _score_of(model: nn.Module, mirror: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    scores: Callable[[Tensor], Tensor] = model
    if isinstance(model, SoftScores):
        scores = model.soft_scores
    return scores if mirror is None else lambda x: scores(mirror(x))


def _at_rest(model: nn.Module) -> None:
    """Switch to evaluation mode, and stop networks that update weights in their backward pass from doing so."""
    from mien.classifiers.training import StepsItself

    model.eval()
    if isinstance(model, StepsItself):
        model.step_at(None)


def spread_out(values: Maps, axes: str) -> tuple[Maps, Maps | None]:
    """Sum an attribution to shares over the picture and over time.

    Args:
        values: Attribution of one input, signed; absolute values are summed.
        axes: Axes of the input, one letter each, as its recipe declares them; K is ignored.

    Returns:
        (H, W) and (T,), each >= 0 and summing to 1, or all 0; None instead of the second if there is no time axis.

    Raises:
        MienError: The input has no axes H and W.

    Example:
        >>> place, time = spread_out(np.array([[[1.0, -1.0]], [[2.0, 0.0]]], np.float32), "THW")
        >>> place.tolist(), time.tolist()
        ([[0.75, 0.25]], [0.5, 0.5])
    """
    axes = axes.removeprefix("K")
    if "H" not in axes or "W" not in axes:
        raise MienError(f"An input with the axes {axes} is not a picture.", "the axes H and W.", "another system.")
    size = np.abs(values)
    total = float(size.sum()) or 1.0

    def share(letters: str) -> Maps:
        others = tuple(n for n, letter in enumerate(axes) if letter not in letters)
        summed = size.sum(others) / total
        return np.asarray(summed.T if axes.index(letters[0]) > axes.index(letters[-1]) else summed, np.float32)

    return share("HW"), share("T") if "T" in axes else None


def explain(
    classifier: Classifier,
    card: ModelCard,
    clip: Clip,
    *,
    of: str | None = None,
    method: str = "integrated",
) -> Explanation:
    """Explain the prediction of a trained network for one clip.

    Args:
        classifier: The classifier from `mien.systems.trained.load_checkpoint`.
        card: Its card, from the same function.
        clip: The clip.
        of: Class to explain; None takes the predicted class.
        method: See `attribution`.

    Returns:
        The probabilities, and the share of each pixel of the input in the score of the class.

    Raises:
        MienError: The clip cannot be prepared, the class is unknown, the classifier is no network, or the input of the
            system is not a picture.

    Example:
        >>> import mien
        >>> classifier, card = mien.load_checkpoint("shipped")
        >>> clip = mien.open_dataset("flow_images", "pictures").clips()[0]
        >>> explain(classifier, card, clip, method="gradient").classes
        ('negative', 'positive', 'surprise')
    """
    import torch

    from mien.classifiers.net import NetClassifier
    from mien.systems import system

    if not isinstance(classifier, NetClassifier):
        raise MienError(
            f"{card.system} has no network to look into.",
            "a checkpoint of a deep system.",
            "`mien systems`, e.g. strcn-g.",
        )
    known = system(card.system)
    if clip.medium not in known.recipes:
        raise MienError(
            f"{card.system} cannot read {clip.medium}.", f"{' or '.join(known.recipes)}.", "a clip of that kind."
        )
    if of is not None and of not in card.classes:
        raise unknown_name("class", of, card.classes, "mien card FILE")
    recipe = known.recipe(clip.medium, card.parameters)
    x, face, notes = _prepared(recipe, clip)
    if x.shape != tuple(card.shape):
        raise MienError(f"{clip.key} gives an input of {x.shape}.", f"{tuple(card.shape)}.", "a clip of that size.")
    p = classifier.predict_proba(ArrayInputs(x[None]))[0]
    target = int(p.argmax()) if of is None else card.classes.index(of)
    low, high = recipe.range
    # No signal is no motion where the range has two sides, and mid-grey where it has one.
    base = 0.0 if low < 0 or not np.isfinite(high) else (low + high) / 2
    heat, over_time = spread_out(attribution(classifier, x, target, method, base), recipe.axes)
    found: dict[str, Any] = {}
    if all(isinstance(model, Attends) for model in classifier.models):
        with torch.inference_mode():
            seen = [model.look(classifier._finish(x[None])) for model in classifier.models]  # type: ignore[operator]
        found["images"] = x.mean(-1).astype(np.float32)
        kind = "sequence" if card.parameters["sampling"] == "interleaved" else "segment"
        names = [f"{kind} {k + 1}" for k in range(len(x))]
        found["names"] = (*names[:-1], "whole clip") if card.parameters["whole"] else tuple(names)
        found["segments"] = torch.stack([s.segments[0] for s in seen]).mean(0).cpu().numpy()
        maps = [s.attention[0] for s in seen if s.attention is not None]
        if maps:
            found["attention"] = torch.stack(maps).mean(0).cpu().numpy()
    return Explanation(
        clip.key, card.classes, tuple(float(v) for v in p), target, method, heat, over_time, face, notes=notes, **found
    )


def _prepared(recipe: Recipe, clip: Clip) -> tuple[NDArray[Any], Picture | None, tuple[str, ...]]:
    """Return the input as used in prediction, the face picture it was made from, and the notes of the recipe."""
    pictures: list[Picture] = []

    def watch(step: Step, array: Array, context: Context) -> None:
        if clip.medium == "frames" and not pictures and array.dtype == np.uint8 and array.ndim >= 3:
            first = array[0]
            pictures.append(np.array(first if first.ndim == 3 else np.repeat(first[..., None], 3, -1)))

    made = recipe.apply(clip, watch)
    x = made.array[0] if recipe.axes.startswith("K") else made.array
    return np.asarray(x, np.float32), pictures[0] if pictures else None, made.notes


# Pictures


def heat_over(face: Picture | None, heat: NDArray[np.floating], strength: float = 0.75) -> Picture:
    """Draw a saliency map over a face; the higher the value, the stronger the colour.

    Args:
        face: (H, W, 3) RGB; None draws on plain grey.
        heat: (h, w) >= 0, any size. It is slightly blurred; its 99.5th percentile gets the last colour.
        strength: Opacity of the colour where the map is highest, 0 to 1.

    Returns:
        (H, W, 3) RGB; the grey face where the map is 0.

    Example:
        >>> heat_over(np.full((4, 4, 3), 100, np.uint8), np.zeros((2, 2)))[0, 0].tolist()
        [100, 100, 100]
    """
    if face is None:
        factor = max(1, 240 // heat.shape[0])
        face = np.full((factor * heat.shape[0], factor * heat.shape[1], 3), 205, np.uint8)
    height, width = face.shape[:2]
    large = cv2.resize(np.asarray(heat, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    # Strided convolutions leave a pattern of dots, which the blur removes.
    large = cv2.GaussianBlur(large, (0, 0), 0.018 * width)
    high = float(np.percentile(large, 99.5))
    share = np.clip(large / high, 0, 1) if high > 0 else np.zeros((height, width))
    # The face is shown in grey so that the colour of the skin does not mix with the colours of the map.
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32) * np.ones(3, np.float32)
    colour = scalar_colours(share, 0, 1, "inferno").astype(np.float32)
    alpha = strength * np.clip(1.6 * share, 0, 1)[..., None]
    return np.asarray(np.round((1 - alpha) * grey + alpha * colour), np.uint8)


def figure(explanation: Explanation, title: str = "") -> Figure:
    """Draw the face, the saliency over it and the probabilities; below, images, weights and attention of segments.

    Args:
        explanation: The explanation.
        title: Title of the figure; "" takes the key of the clip.
    """
    from matplotlib.figure import Figure as NewFigure

    e = explanation
    face = e.face
    height, width = e.heat.shape if face is None else face.shape[:2]
    columns = 3 if e.images is None else max(3, len(e.images))
    rows = 1 if e.images is None else (2 if e.attention is None else 3)
    cell, tall = 1.75, 1.75 * height / width
    drawn = NewFigure(figsize=(cell * columns, (tall + 0.12) * rows + 0.3), dpi=144, layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    plain = np.full((height, width, 3), 205, np.uint8) if face is None else face
    _show(grid[0, 0], plain, "first frame" if face is not None else "flow pictures show no face")
    _show(grid[0, 1], heat_over(face, e.heat), f"saliency for {e.classes[e.explained]}")
    _probabilities(grid[0, 2], e)
    if e.images is not None:
        assert e.segments is not None
        high = float(np.abs(e.images).max()) or 1.0
        for k, (image, weight) in enumerate(zip(e.images, e.segments, strict=True)):
            axes = grid[1, k]
            axes.imshow(image, cmap="RdBu_r", vmin=-high, vmax=high, aspect="auto")
            axes.set_box_aspect(height / width)
            axes.set_title(f"{e.names[k]}: {weight:.2f}", fontsize=8)
            if e.attention is not None:
                _show(grid[2, k], heat_over(face, e.attention[k]), "attention" if k == 0 else "")
    elif e.over_time is not None and len(e.over_time) > 1:
        axes = grid[0, 2].inset_axes((0.12, 0.0, 0.85, 0.3))
        axes.bar(np.arange(len(e.over_time)), e.over_time, color="#2563eb", width=0.8)
        axes.set_title("share of each frame", fontsize=7)
        axes.set_yticks([])
        axes.tick_params(labelsize=6)
        _bare(axes, ("left", "right", "top"))
    drawn.suptitle(title or e.key, fontsize=9, x=0.01, ha="left")
    return drawn


def _show(axes: Axes, picture: Picture, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=8)


def _probabilities(axes: Axes, e: Explanation) -> None:
    """Draw the class probabilities as bars, the explained class in a dark colour."""
    timed = e.images is None and e.over_time is not None and len(e.over_time) > 1
    inner = axes.inset_axes((0.45, 0.5, 0.5, 0.45) if timed else (0.45, 0.2, 0.5, 0.6))
    places = np.arange(len(e.classes))
    colours = ["#2563eb" if c == e.explained else "#bfcdea" for c in places]
    inner.barh(places, e.probabilities, color=colours, height=0.7)
    for place, p in enumerate(e.probabilities):
        inner.text(p + 0.03, place, f"{p:.2f}", va="center", fontsize=7, color="#6b7280")
    inner.set_yticks(places, e.classes, fontsize=7)
    inner.set_xlim(0, 1.15)
    inner.set_xticks([])
    inner.invert_yaxis()
    inner.tick_params(length=0)
    _bare(inner, ("left", "right", "top", "bottom"))


def _bare(axes: Axes, sides: Sequence[str]) -> None:
    for side in sides:
        axes.spines[side].set_visible(False)


def as_json(explanation: Explanation, picture: Path | None = None) -> dict[str, Any]:
    """Convert an explanation to values that JSON can represent; maps become nested, rounded lists.

    Args:
        explanation: The explanation.
        picture: File of the figure, if one was written.
    """
    e = explanation

    def numbers(values: Maps | None, digits: int) -> Any:
        return None if values is None else np.round(values.astype(float), digits).tolist()

    return {
        "clip": e.key,
        "predicted": e.classes[int(np.argmax(e.probabilities))],
        "probabilities": dict(zip(e.classes, e.probabilities, strict=True)),
        "explained": e.classes[e.explained],
        "method": e.method,
        "over_time": numbers(e.over_time, 5),
        "segments": None if e.segments is None else dict(zip(e.names, numbers(e.segments, 5), strict=True)),
        "heat": numbers(e.heat, 6),
        "attention": numbers(e.attention, 6),
        "picture": None if picture is None else str(picture),
        "notes": list(e.notes),
    }
