"""The descriptors of this package, each with the paper it is from and what it reads."""

from __future__ import annotations

from mien.descriptors import parameters
from mien.descriptors.base import Descriptor
from mien.descriptors.bi_woof import bi_woof, picture_bi_woof
from mien.descriptors.fdm import fdm
from mien.descriptors.gradients import higo_top, hog_top
from mien.descriptors.hoof import hoof, picture_hoof
from mien.descriptors.integral_projection import hierarchical_stlbp_ip, stlbp_ip
from mien.descriptors.lbp import lbp_sip, lbp_top
from mien.descriptors.mdmo import mdmo_of_clip

LBP_TOP = Descriptor(
    "lbp-top",
    "texture in space and time, on three planes",
    "Zhao, Pietikainen, PAMI 2007",
    lbp_top,
    "grey",
    model=parameters.LbpTop,
)
LBP_SIP = Descriptor(
    "lbp-sip",
    "texture at the six points where the planes meet",
    "Wang et al., ACCV 2014",
    lbp_sip,
    "grey",
    model=parameters.LbpSip,
)
STLBP_IP = Descriptor(
    "stlbp-ip",
    "patterns of difference images summed over rows and columns",
    "Huang et al., ICCVW 2015",
    stlbp_ip,
    "grey",
    model=parameters.StlbpIp,
)
HIERARCHICAL_STLBP_IP = Descriptor(
    "hierarchical-stlbp-ip",
    "the same on several grids at once",
    "Zong et al., TMM 2018",
    hierarchical_stlbp_ip,
    "grey",
    model=parameters.HierarchicalStlbpIp,
)
HIGO_TOP = Descriptor(
    "higo-top",
    "counted gradient directions on three planes",
    "Li et al., TAC 2018",
    higo_top,
    "grey",
    model=parameters.Gradients,
)
HOG_TOP = Descriptor(
    "hog-top",
    "gradient directions by strength on three planes",
    "Li et al., TAC 2018",
    hog_top,
    "grey",
    model=parameters.Gradients,
)
HOOF = Descriptor(
    "hoof",
    "flow directions at the apex, by length",
    "Chaudhry et al., CVPR 2009",
    hoof,
    "flow",
    picture_hoof,
    parameters.Hoof,
)
BI_WOOF = Descriptor(
    "bi-woof",
    "flow directions at the apex, by length and strain",
    "Liong et al., SPIC 2018",
    bi_woof,
    "flow",
    picture_bi_woof,
    parameters.BiWoof,
)
MDMO = Descriptor(
    "mdmo",
    "mean flow along the main direction of 36 regions",
    "Liu et al., TAC 2016",
    mdmo_of_clip,
    "clip",
    model=parameters.MdmoOptions,
)
FDM = Descriptor(
    "fdm", "principal flow direction of every cuboid", "Xu et al., TAC 2017", fdm, "flows", model=parameters.Fdm
)
