"""Published methods, whole: each file reads top to bottom beside its paper and lists its departures from it."""

from __future__ import annotations

from mien.errors import unknown_name
from mien.systems import (
    bi_woof,
    fdm,
    flow_svm,
    hierarchical_stlbp_ip,
    image_cnn,
    lbp_sip,
    lbp_tics,
    lbp_top,
    mdmo,
    microexp_fusenet,
    microexp_stcnn,
    sma_stn,
    stlbp_ip,
    strcn_2018,
    strcn_a,
    strcn_g,
    ststnet,
)
from mien.systems.base import System

SYSTEMS: dict[str, System] = {
    s.name: s
    for s in (
        strcn_g.STRCN_G,
        strcn_a.STRCN_A,
        strcn_2018.STRCN_2018,
        ststnet.STSTNET,
        flow_svm.FLOW_SVM,
        bi_woof.BI_WOOF,
        mdmo.MDMO,
        fdm.FDM,
        sma_stn.SMA_STN,
        image_cnn.IMAGE_CNN,
        microexp_stcnn.MICROEXP_STCNN,
        microexp_fusenet.INTERMEDIATE,
        microexp_fusenet.LATE,
        lbp_top.LBP_TOP,
        lbp_sip.LBP_SIP,
        lbp_tics.LBP_TICS,
        stlbp_ip.STLBP_IP,
        hierarchical_stlbp_ip.HIERARCHICAL_STLBP_IP,
    )
}


def system(name: str) -> System:
    """The system of that name.

    Raises:
        MienError: There is none; the nearest name is suggested.
    """
    if name not in SYSTEMS:
        raise unknown_name("system", name, SYSTEMS, "mien systems")
    return SYSTEMS[name]


__all__ = ["SYSTEMS", "System", "system"]
