"""Parameters of the steps from a clip to a system's input, and the groups that recipes, descriptors and systems share.

A type here holds a parameter's range, unit and meaning; whoever has the parameter adds its own default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mien.motion.flow import FLOWS, METHODS
from mien.parameters import Not, OnlyIf, Parameters, unit

FRAMES = OnlyIf(medium="frames")

PresetName = Annotated[
    str,
    Field(description="Named set of values; parameters that are given explicitly take precedence.", max_length=64),
]

Side = Annotated[int, Field(ge=4, le=4096)]
Size = Annotated[
    tuple[Side, Side],
    Field(description="Height and width of the face.", json_schema_extra=unit("pixels")),
    FRAMES,
]
Face = Annotated[
    Literal["lwm", "crop", "none"],
    Field(
        description=(
            "Alignment of the face: landmarks warped to a template (lwm), a crop, or the frame as it is (none)."
        )
    ),
    FRAMES,
]
PerFrame = Annotated[
    bool,
    Field(description="Locate the face in each frame; otherwise one position is used for the whole clip."),
    FRAMES,
]
Landmarker = Annotated[
    Literal["mesh", "mediapipe", "dlib"],
    Field(description="Method that locates the landmarks; mediapipe and dlib must be installed."),
    FRAMES,
]
Alpha = Annotated[
    float, Field(ge=0, le=1000, description="Magnification factor of the motion; 0 turns magnification off."), FRAMES
]
_MAGNIFIED = OnlyIf(medium="frames", alpha=Not(0.0))
FastLowPass = Annotated[
    float,
    Field(gt=0, lt=1, description="Faster low-pass of the magnified band: its share of the way to each new frame."),
    _MAGNIFIED,
]
SlowLowPass = Annotated[
    float,
    Field(gt=0, lt=1, description="Slower low-pass of the magnified band; below r1."),
    _MAGNIFIED,
]
Wavelength = Annotated[
    float,
    Field(
        gt=0,
        le=4096,
        description="Spatial wavelength below which detail is magnified less.",
        json_schema_extra=unit("pixels"),
    ),
    _MAGNIFIED,
]
Exaggeration = Annotated[
    float,
    Field(
        gt=0,
        le=100,
        description=(
            "Factor on the limit that prevents artefacts in fine detail: 2 in the released code of the magnification "
            "method, 1 in STRCN's formula."
        ),
    ),
    _MAGNIFIED,
]
Hertz = Annotated[
    bool,
    Field(description="Read the cut-offs of the magnified band as hertz, not as filter coefficients."),
    _MAGNIFIED,
]
Apex = Annotated[
    Literal["given", "found"],
    Field(description=("Annotated apex if there is one (given), or always the frame with the largest change (found).")),
    FRAMES,
]


def _known_flow(name: str) -> str:
    FLOWS.get(name)
    return name


Flow = Annotated[
    str,
    Field(
        description="Optical flow method.",
        max_length=256,
        json_schema_extra={"expects": f"one of {', '.join(METHODS)}"},
    ),
    AfterValidator(_known_flow),
    FRAMES,
]
Against = Annotated[
    Literal["first", "previous"],
    Field(description="The frame that motion is measured from: the first of the clip or the one before."),
    FRAMES,
]
Interpolation = Annotated[
    Literal["tim", "linear", "nearest", "cubic"],
    Field(description="Resampling of a clip to a number of frames: temporal interpolation model, or by frame."),
    OnlyIf(medium="frames", frames=Not(0)),
]
LeaveLength = Annotated[
    int,
    Field(
        ge=0,
        le=10_000,
        description="Number of frames to which a clip is resampled; 0 keeps all frames.",
        json_schema_extra=unit("frames"),
    ),
    FRAMES,
]
Length = Annotated[
    int,
    Field(
        ge=1,
        le=10_000,
        description="Number of frames to which a clip is resampled.",
        json_schema_extra=unit("frames"),
    ),
    FRAMES,
]
Alphas = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1000)], ...],
    Field(
        min_length=1,
        max_length=100,
        description="Magnification of each training copy; the first one is used for testing.",
    ),
    FRAMES,
]
Shares = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    Field(
        min_length=1,
        max_length=100,
        description="Fraction of the frames that each training copy keeps; the first one is used for testing.",
    ),
    FRAMES,
]
Colour = Annotated[bool, Field(description="Keep three colours; otherwise frames are converted to grey."), FRAMES]
Tap = Annotated[int, Field(ge=1, le=512)]
Kernel = Annotated[
    tuple[Tap, Tap, Tap],
    Field(
        description="Height, width and frames of the convolution's kernel.",
        json_schema_extra=unit("pixels, pixels, frames"),
    ),
]
Stretch = Annotated[
    bool, Field(description="Interpolate clips that are shorter than the kernel; otherwise they are refused."), FRAMES
]
FrameTime = Annotated[
    Literal["linear", "cubic", "nearest", "tim", "first"],
    Field(description="Method by which a clip gets its length: interpolation, or its first frames."),
    FRAMES,
]


class FaceParameters(Parameters):
    """How the face is cut out and its motion magnified."""

    face: Face = "lwm"
    size: Size = (300, 245)
    alpha: Alpha = 0.0


class GreyFaces(FaceParameters):
    """A clip as grey faces (T, H, W)."""

    frames: LeaveLength = 0
    time: Interpolation = "tim"


class ColourFaces(FaceParameters):
    """A clip as faces in colour (T, H, W, 3)."""

    frames: LeaveLength = 0
    time: Interpolation = "linear"


class ApexFlow(FaceParameters):
    """A clip as one flow field (H, W, 2), from onset to apex."""

    apex: Apex = "given"
    flow: Flow = "tvl1"


class ClipFlows(FaceParameters):
    """A clip as the flow of every frame (T - 1, H, W, 2)."""

    size: Size = (150, 122)
    flow: Flow = "dis"
    against: Against = "previous"


class GreyClip(Parameters):
    """A number of grey frames for a network whose kernel spans some of them."""

    frames: Length = 18
    time: FrameTime = "linear"
    kernel: Kernel = (3, 3, 15)
    stretch: Stretch = False
    size: Size = (64, 64)


class WholeFace(GreyClip):
    """Grey frames of the whole face, or of the whole picture."""

    face: Face = "none"


class EyesMouth(GreyClip):
    """Grey frames of both eyes, and of nose and mouth."""

    size: Size = (32, 32)
    per_frame: PerFrame = False


class AlignedClip(Parameters):
    """The face, 300x245, through the clip."""

    transform: Face = "lwm"
    per_frame: PerFrame = False
    landmarker: Landmarker = "mesh"


class MagnifiedClip(AlignedClip):
    """The same with its motion magnified."""

    alpha: Alpha = 8.0
    r1: FastLowPass = 0.4
    r2: SlowLowPass = 0.05
    wavelength: Wavelength = 16.0
    exaggeration: Exaggeration = 2.0
    hertz: Hertz = False


class StillMagnifiedClip(MagnifiedClip):
    """The same, not magnified unless it is asked for."""

    alpha: Alpha = 0.0


class FlowOfClip(MagnifiedClip):
    """Flow from onset to apex of the magnified clip, as STRCN has it."""

    exaggeration: Exaggeration = 1.0
    apex: Apex = "given"
    flow: Flow = "classic_nl_published"


class SmallFlowOfClip(FlowOfClip):
    """The same of the clip as it is, by TV-L1."""

    alpha: Alpha = 0.0
    exaggeration: Exaggeration = 2.0
    flow: Flow = "tvl1"


class FramesOfClip(MagnifiedClip):
    """A number of frames of the magnified clip, as STRCN has it."""

    exaggeration: Exaggeration = 1.0
    frames: Length = 30
    time: Annotated[
        Literal["linear", "tim", "nearest", "cubic"],
        Field(description="Method by which a clip is resampled."),
        FRAMES,
    ] = "linear"
