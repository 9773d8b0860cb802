"""Descriptors: a clip as one vector, by a pure function each; parameters are the papers'."""

from mien.descriptors.colour_space import lbp_tics, learn_colour_space
from mien.descriptors.gradients import higo_top, hog_top
from mien.descriptors.integral_projection import hierarchical_stlbp_ip, stlbp_ip
from mien.descriptors.lbp import lbp_sip, lbp_top

__all__ = [
    "hierarchical_stlbp_ip",
    "higo_top",
    "hog_top",
    "lbp_sip",
    "lbp_tics",
    "lbp_top",
    "learn_colour_space",
    "stlbp_ip",
]
