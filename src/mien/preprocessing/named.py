"""Recipes by name: what `mien prepare --recipe` offers, and what systems read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from mien.errors import unknown_name
from mien.parameters import Parameters
from mien.preprocessing import regions, steps
from mien.preprocessing.base import Recipe, Step
from mien.preprocessing.parameters import (
    AlignedClip,
    EyesMouth,
    FlowOfClip,
    FramesOfClip,
    MagnifiedClip,
    SmallFlowOfClip,
    StillMagnifiedClip,
    WholeFace,
)

FACE_SIZE = (300, 245)
"""Height and width of an aligned face in pixels (STRCN, section IV-A)."""

CENTRE = Step("centre_and_scale", steps.centre_and_scale)

FLOW_PICTURE = Recipe((Step("flow_picture", steps.flow_picture),), "CHW", (3, 28, 28), (0.0, 255.0))
"""Ready 28x28 flow pictures as they are."""

FLOW_PICTURES = Recipe((Step("flow_pictures", steps.flow_pictures),), "CHW", (None, 28, 28), (0.0, 255.0))
"""Every ready 28x28 flow picture of a clip, one after another, as they are."""

CENTRED_FLOW_PICTURE = Recipe((*FLOW_PICTURE.steps, CENTRE), "CHW", (3, 28, 28), (-28.0, 28.0))
"""Ready flow pictures about zero motion."""


FEATURES = Recipe((Step("ready_features", steps.ready_features),), "D", (None,), (float("-inf"), float("inf")))
"""Ready features as they are; their number is that of the file."""


def flow_from_frames(method: str, longest: int = 320, size: int = 28, centred: bool = False) -> Recipe:
    """Return the recipe of the ready flow pictures: flow from onset to apex, strain, 28x28, channels scaled to 0..255.

    Frames are taken as they are: give cropped faces.

    Args:
        method: Flow method (`mien.motion.flow.METHODS`).
        longest: Frames are first shrunk until their longer side has this many pixels.
        size: Side of the result in pixels.
        centred: Then taken about zero motion, as `CENTRED_FLOW_PICTURE`.

    Returns:
        The recipe; its result has the axes CHW: u, v and strain.

    Example:
        >>> recipe = flow_from_frames("tvl1")
        >>> recipe.shape, recipe.range, [step.name for step in recipe.steps][:2]
        ((3, 28, 28), (0.0, 255.0), ['onset_apex_pair', 'shrink'])
    """
    return Recipe(
        (
            Step("onset_apex_pair", steps.onset_apex_pair),
            Step("shrink", steps.shrink, {"longest": longest}),
            Step("flow_of_pair", steps.flow_of_pair, {"method": method}),
            Step("flow_and_strain", steps.flow_and_strain, {"size": size}),
            Step("scale_each_channel", steps.scale_each_channel),
            *([CENTRE] if centred else []),
        ),
        "CHW",
        (3, size, size),
        # A channel of n values and unit root mean square holds no value beyond the square root of n.
        (-float(size), float(size)) if centred else (0.0, 255.0),
    )


def aligned_face_step(transform: str = "lwm", per_frame: bool = False, landmarker: str = "mesh") -> Step:
    """The step that most recipes begin with: the face, 300x245; see `mien.preprocessing.steps.aligned_face`."""
    given = {"size": list(FACE_SIZE), "transform": transform, "per_frame": per_frame, "landmarker": landmarker}
    return Step("aligned_face", steps.aligned_face, given, version=2)


def _face(p: AlignedClip) -> Step:
    return aligned_face_step(p.transform, p.per_frame, p.landmarker)


def _magnify(p: MagnifiedClip) -> tuple[Step, ...]:
    if p.alpha == 0:
        return ()
    settings = {"alpha": p.alpha, "r1": p.r1, "r2": p.r2, "wavelength": p.wavelength}
    own = {"exaggeration": p.exaggeration, "hertz": p.hertz}
    return (Step("magnify", steps.magnify, {**settings, **own}),)


def _aligned(p: AlignedClip) -> Recipe:
    return Recipe((_face(p),), "THWC", (None, *FACE_SIZE, 3), (0, 255), "uint8")


def _magnified(p: MagnifiedClip) -> Recipe:
    return Recipe((_face(p), *_magnify(p)), "THWC", (None, *FACE_SIZE, 3), (0, 255), "uint8")


def _strcn_g(p: FlowOfClip) -> Recipe:
    parts = (
        _face(p),
        *_magnify(p),
        Step("apex_and_onset", steps.apex_and_onset, {"apex": p.apex}),
        Step("flow_of_pair", steps.flow_of_pair, {"method": p.flow}),
        Step("channels_first", steps.channels_first),
    )
    return Recipe(parts, "CHW", (2, *FACE_SIZE), (-float(max(FACE_SIZE)), float(max(FACE_SIZE))))


def _strcn_a(p: FramesOfClip) -> Recipe:
    parts = (
        _face(p),
        *_magnify(p),
        Step("resize", steps.resize, {"size": [64, 48]}),
        Step("to_length", steps.to_length, {"n": p.frames, "method": p.time}),
    )
    return Recipe(parts, "THWC", (p.frames, 64, 48, 3), (0, 255))


def _flow_28(p: FlowOfClip) -> Recipe:
    parts = (
        _face(p),
        *_magnify(p),
        Step("apex_and_onset", steps.apex_and_onset, {"apex": p.apex}),
        Step("flow_of_pair", steps.flow_of_pair, {"method": p.flow}),
        Step("flow_and_strain", steps.flow_and_strain, {"size": 28}),
    )
    # Strain has no bound of its own; flow cannot leave the picture.
    return Recipe(parts, "CHW", (3, 28, 28), (-float(max(FACE_SIZE)), float(max(FACE_SIZE))))


def _dynamic_image(p: MagnifiedClip) -> Recipe:
    parts = (_face(p), *_magnify(p), Step("pool_by_rank", steps.pool_by_rank))
    return Recipe(parts, "HWC", (*FACE_SIZE, 3), (float("-inf"), float("inf")))


P = TypeVar("P", bound=Parameters, default=Any)


@dataclass(frozen=True, slots=True)
class NamedRecipe(Generic[P]):
    """A recipe that `mien prepare` offers.

    Attributes:
        name: Name on the command line.
        summary: What comes out, in one sentence.
        source: The paper it follows.
        make: Makes the recipe from all parameters.
        parameters: The model of its parameters.

    Example:
        >>> RECIPES["aligned"].recipe({"transform": "crop"}).shape
        (None, 300, 245, 3)
    """

    name: str
    summary: str
    source: str
    make: Callable[[P], Recipe]
    parameters: type[P]

    def recipe(self, given: Mapping[str, Any] | None = None) -> Recipe:
        """Return the recipe; parameters left out keep their defaults.

        Raises:
            MienError: An unknown parameter, a value of the wrong kind or out of range, or one without effect.
        """
        owner = f"The recipe {self.name}"
        p = self.parameters.read(given or {}, owner)
        p.require_effect(given or {}, owner)
        return self.make(p)


_STRCN = "Xia et al., IEEE TMM 2020"

RECIPES: Mapping[str, NamedRecipe] = {
    r.name: r
    for r in (
        NamedRecipe(
            "aligned", "the face from onset to offset, cropped and aligned", f"{_STRCN}, III-B.1", _aligned, AlignedClip
        ),
        NamedRecipe("magnified", "the same with its motion magnified", f"{_STRCN}, III-B", _magnified, MagnifiedClip),
        NamedRecipe(
            "strcn-g",
            "optical flow from onset to apex of the magnified clip, 300x245x2",
            f"{_STRCN}, III-C.2",
            _strcn_g,
            FlowOfClip,
        ),
        NamedRecipe(
            "strcn-a",
            "30 magnified frames of 64x48, from which the classifier's mask takes its pixels",
            f"{_STRCN}, III-C.1",
            _strcn_a,
            FramesOfClip,
        ),
        NamedRecipe(
            "flow-28",
            "horizontal and vertical flow from onset to apex, and strain, 28x28",
            "Liong et al., FG 2019 (STSTNet); not stretched to 0..255, so the amplitude stays",
            _flow_28,
            SmallFlowOfClip,
        ),
        NamedRecipe(
            "dynamic-image",
            "the clip as one picture, by approximate rank pooling",
            "Bilen et al., CVPR 2016",
            _dynamic_image,
            StillMagnifiedClip,
        ),
        NamedRecipe(
            "microexp-stcnn",
            "18 grey frames of the whole face, 64x64",
            "Reddy et al., IJCNN 2019, Table I",
            regions.whole_face,
            WholeFace,
        ),
        NamedRecipe(
            "microexp-fusenet",
            "18 grey frames of both eyes, and of nose and mouth, 32x32 each",
            "Reddy et al., IJCNN 2019, Tables II and III",
            regions.eyes_mouth,
            EyesMouth,
        ),
    )
}


def named_recipe(name: str, **parameters: Any) -> Recipe:
    """Return a recipe by name; parameters left out keep their defaults.

    Args:
        name: Its name, from `mien recipes`.
        parameters: Parameters that differ from the defaults; `mien recipes NAME` lists them.

    Returns:
        The recipe, ready for `Recipe.apply`.

    Raises:
        MienError: An unknown name or parameter, or a value of the wrong kind.

    Example:
        >>> named_recipe("strcn-g", alpha=12).shape
        (2, 300, 245)
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES, "mien recipes")
    return RECIPES[name].recipe(parameters)
