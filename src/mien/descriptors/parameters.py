"""Parameters of the descriptors, as those of the functions of the same names.

A descriptor's own options come first; the classes at the end add how a clip is made into what it reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mien.errors import MienError
from mien.parameters import OnlyIf, Parameters, unit
from mien.preprocessing.parameters import ApexFlow, ClipFlows, Flow, GreyFaces, Landmarker, Size

Count = Annotated[int, Field(ge=1, le=64)]
Grid = Annotated[
    tuple[Count, Count],
    Field(description="Blocks down and across the face.", json_schema_extra=unit("blocks")),
]
Grid3 = Annotated[
    tuple[Count, Count, Count],
    Field(description="Blocks down, across and over time.", json_schema_extra=unit("blocks")),
]
Bins = Annotated[int, Field(ge=2, le=254, description="Number of directions in a histogram.")]
Overlap = Annotated[float, Field(ge=0, lt=1, description="Share of a block that it has in common with the next.")]
Normalise = Annotated[bool, Field(description="Divide each histogram by its sum.")]
Still = Annotated[
    float,
    Field(
        ge=0,
        le=1000,
        description="Shorter vectors are treated as no motion.",
        json_schema_extra=unit("pixels"),
    ),
]
Align = Annotated[bool, Field(description="Subtract the motion of the whole head from the flow.")]


Radius = Annotated[
    float, Field(gt=0, le=64, description="Radius of the motion patterns.", json_schema_extra=unit("pixels, frames"))
]
# Whole numbers stay whole: a fingerprint tells 3 from 3.0.
_Any = Annotated[int, Field(gt=0, le=64)] | Annotated[float, Field(gt=0, le=64)]
_Whole = Annotated[int, Field(ge=1, le=64)]
FreeRadius = Annotated[
    _Any, Field(description="Radius of the motion patterns.", json_schema_extra=unit("pixels, frames"))
]
Radii = Annotated[
    _Any | tuple[_Any, _Any, _Any],
    Field(description="Radius, or radii along x, y and time.", json_schema_extra=unit("pixels, pixels, frames")),
]
WholeRadii = Annotated[
    _Whole | tuple[_Whole, _Whole, _Whole],
    Field(description="Radius, or radii along x, y and time.", json_schema_extra=unit("pixels, pixels, frames")),
]
Neighbours = Annotated[int, Field(ge=2, le=20, description="Points on the circle of a pattern.")]
Mapping = Annotated[
    Literal["uniform", "full"],
    Field(description="Count the uniform patterns one by one and all others together, or every pattern."),
]
Ring = Annotated[
    Literal["bilinear", "nearest"],
    Field(description="Interpolation of grey levels between pixels: bilinear or nearest."),
]


def _require_odd(mask: int) -> int:
    if mask % 2 == 0:
        raise MienError(f"mask is {mask}.", "an odd whole number from 3 to 17.", "`--set mask=9`.")
    return mask


class TopOptions(Parameters):
    """Options of LBP-TOP, without `normalise`."""

    radius: Radii = (3, 3, 3)
    neighbours: Neighbours = 8
    blocks: Grid3 = (5, 5, 1)
    overlap: Overlap = 0.0
    mapping: Mapping = "uniform"
    interpolation: Ring = "bilinear"


class SipOptions(Parameters):
    """Options of LBP-SIP, without `normalise`."""

    radius: WholeRadii = (3, 3, 3)
    blocks: Grid3 = (5, 5, 1)
    overlap: Overlap = 0.0
    joint: Annotated[bool, Field(description="Count all six points as one pattern of 64 values.")] = False


class ProjectionOptions(Parameters):
    """Options that STLBP-IP and its hierarchical form share."""

    mask: Annotated[
        int,
        Field(
            ge=3, le=17, description="Width of the patterns along projections; odd.", json_schema_extra=unit("pixels")
        ),
        AfterValidator(_require_odd),
    ] = 9
    radius: Radius = 1.0
    neighbours: Neighbours = 8
    mapping: Mapping = "uniform"
    interpolation: Ring = "bilinear"
    absolute: Annotated[bool, Field(description="Project absolute differences, without their sign.")] = False


class StlbpIpOptions(ProjectionOptions):
    """Options of STLBP-IP, without `normalise`."""

    blocks: Grid = (5, 5)


class HierarchicalOptions(ProjectionOptions):
    """Options of hierarchical STLBP-IP, without `normalise`."""

    grids: Annotated[
        tuple[tuple[Count, Count], ...],
        Field(min_length=1, max_length=16, description="Grids of blocks, each down and across."),
    ] = ((1, 1), (2, 2), (4, 4), (8, 8))


class GradientOptions(Parameters):
    """Options of HOG-TOP and HIGO-TOP."""

    bins: Bins = 8
    blocks: Grid3 = (5, 5, 1)
    overlap: Overlap = 0.0
    normalise: Normalise = True


class HoofOptions(Parameters):
    """Options of HOOF."""

    bins: Bins = 8
    blocks: Grid = (1, 1)
    symmetric: Annotated[bool, Field(description="Count left and right alike.")] = False
    weighted: Annotated[bool, Field(description="Weight each vector by its length; otherwise all count the same.")] = (
        True
    )


class BiWoofOptions(Parameters):
    """Options of Bi-WOOF."""

    blocks: Grid = (8, 8)
    bins: Bins = 8
    local: Annotated[bool, Field(description="Weight each vector by its length; otherwise all count the same.")] = True
    whole: Annotated[bool, Field(description="Weight each block by its optical strain.")] = True


class FdmOptions(Parameters):
    """Options of the facial dynamics map."""

    cuboids: Annotated[
        tuple[Count, Count, Count], Field(description="Parts of the clip along time, rows and columns.")
    ] = (4, 8, 8)
    align: Align = True
    tolerance: Annotated[
        float,
        Field(
            gt=0,
            le=1000,
            description="Motion that counts as rest when the motion of the head is subtracted.",
            json_schema_extra=unit("pixels"),
        ),
        OnlyIf(align=True),
    ] = 0.05
    amplitude: Annotated[bool, Field(description="Keep how far each part moves; otherwise only its direction.")] = False
    still: Still = 1e-3


class MdmoOptions(Parameters):
    """Options of MDMO, which reads the clip itself."""

    size: Annotated[Size, Field(description="Height and width of the crop of the face.")] = (288, 248)
    landmarker: Landmarker = "mesh"
    flow: Flow = "dis"
    bins: Bins = 8
    align: Align = True
    still: Still = 1e-3


class LbpTop(TopOptions, GreyFaces):
    """Parameters of the descriptor lbp-top."""

    radius: Radii = 3
    normalise: Normalise = True


class LbpSip(SipOptions, GreyFaces):
    """Parameters of the descriptor lbp-sip."""

    radius: WholeRadii = 3
    normalise: Normalise = True


class StlbpIp(StlbpIpOptions, GreyFaces):
    """Parameters of the descriptor stlbp-ip."""

    radius: FreeRadius = 1
    normalise: Normalise = True


class HierarchicalStlbpIp(HierarchicalOptions, GreyFaces):
    """Parameters of the descriptor hierarchical-stlbp-ip."""

    radius: FreeRadius = 1
    normalise: Normalise = True


class Gradients(GradientOptions, GreyFaces):
    """Parameters of the descriptors hog-top and higo-top."""


class Hoof(HoofOptions, ApexFlow):
    """Parameters of the descriptor hoof."""


class BiWoof(BiWoofOptions, ApexFlow):
    """Parameters of the descriptor bi-woof."""


class Fdm(FdmOptions, ClipFlows):
    """Parameters of the descriptor fdm."""
