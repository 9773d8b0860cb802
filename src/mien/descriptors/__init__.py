"""Descriptors: a clip as one vector, by a pure function each; parameters are the papers'."""

from mien.descriptors.base import Descriptor
from mien.descriptors.bi_woof import bi_woof, picture_bi_woof
from mien.descriptors.colour_space import lbp_tics, learn_colour_space
from mien.descriptors.fdm import fdm
from mien.descriptors.gradients import higo_top, hog_top
from mien.descriptors.hoof import hoof, picture_hoof
from mien.descriptors.integral_projection import hierarchical_stlbp_ip, stlbp_ip
from mien.descriptors.lbp import lbp_sip, lbp_top
from mien.descriptors.mdmo import mdmo, mdmo_of_clip
from mien.errors import unknown_name

__all__ = [
    "DESCRIPTORS",
    "Descriptor",
    "bi_woof",
    "descriptor",
    "fdm",
    "hierarchical_stlbp_ip",
    "higo_top",
    "hog_top",
    "hoof",
    "lbp_sip",
    "lbp_tics",
    "lbp_top",
    "learn_colour_space",
    "mdmo",
    "stlbp_ip",
]

DESCRIPTORS: dict[str, Descriptor] = {
    d.name: d
    for d in (
        Descriptor(
            "lbp-top", "texture in space and time, on three planes", "Zhao, Pietikainen, PAMI 2007", lbp_top, "grey"
        ),
        Descriptor(
            "lbp-sip", "texture at the six points where the planes meet", "Wang et al., ACCV 2014", lbp_sip, "grey"
        ),
        Descriptor(
            "stlbp-ip",
            "patterns of difference images summed over rows and columns",
            "Huang et al., ICCVW 2015",
            stlbp_ip,
            "grey",
        ),
        Descriptor(
            "hierarchical-stlbp-ip",
            "the same on several grids at once",
            "Zong et al., TMM 2018",
            hierarchical_stlbp_ip,
            "grey",
        ),
        Descriptor("higo-top", "counted gradient directions on three planes", "Li et al., TAC 2018", higo_top, "grey"),
        Descriptor(
            "hog-top", "gradient directions by strength on three planes", "Li et al., TAC 2018", hog_top, "grey"
        ),
        Descriptor(
            "hoof", "flow directions at the apex, by length", "Chaudhry et al., CVPR 2009", hoof, "flow", picture_hoof
        ),
        Descriptor(
            "bi-woof",
            "flow directions at the apex, by length and strain",
            "Liong et al., SPIC 2018",
            bi_woof,
            "flow",
            picture_bi_woof,
        ),
        Descriptor(
            "mdmo", "mean flow along the main direction of 36 regions", "Liu et al., TAC 2016", mdmo_of_clip, "clip"
        ),
        Descriptor("fdm", "principal flow direction of every cuboid", "Xu et al., TAC 2017", fdm, "flows"),
    )
}
"""Descriptors that need nothing but one clip, by the name `mien describe` takes."""


def descriptor(name: str) -> Descriptor:
    """The descriptor of that name.

    Raises:
        MienError: There is none; the nearest name is suggested.
    """
    if name not in DESCRIPTORS:
        raise unknown_name("descriptor", name, DESCRIPTORS, "mien descriptors")
    return DESCRIPTORS[name]
