"""Published methods, whole: each file reads top to bottom beside its paper and lists its departures from it."""

from __future__ import annotations

from typing import Any, TypeVar

from mien.errors import MienError
from mien.registry import Registry
from mien.systems.base import System
from mien.systems.of_estimator import estimator_system

_Given = TypeVar("_Given")


def _as_system(given: Any) -> System:
    """A system as it is, or what a function without arguments returns."""
    made = given if isinstance(given, System) or not callable(given) or isinstance(given, type) else given()
    if not isinstance(made, System):
        raise MienError(
            f"{made!r} is not a system but a {type(made).__name__}.",
            "a `mien.systems.System`, or a function without arguments that returns one.",
            "`mien.systems.estimator_system(NAME, ESTIMATOR, recipe=RECIPE)` for a scikit-learn estimator.",
        )
    return made


SYSTEMS: Registry[System] = Registry(
    "system",
    "mien.systems",
    "mien systems",
    builtins={
        "strcn-g": "mien.systems.strcn_g:STRCN_G",
        "strcn-a": "mien.systems.strcn_a:STRCN_A",
        "strcn-2018": "mien.systems.strcn_2018:STRCN_2018",
        "ststnet": "mien.systems.ststnet:STSTNET",
        "sssnet": "mien.systems.sssnet:SSSNET",
        "off-apexnet": "mien.systems.off_apexnet:OFF_APEXNET",
        "rcn": "mien.systems.rcn:RCN",
        "dual-inception": "mien.systems.dual_inception:DUAL_INCEPTION",
        "off-tanet": "mien.systems.off_tanet:OFF_TANET",
        "htnet": "mien.systems.htnet:HTNET",
        "causalnet": "mien.systems.causalnet:CAUSALNET",
        "flow-svm": "mien.systems.flow_svm:FLOW_SVM",
        "features-svm": "mien.systems.features_svm:FEATURES_SVM",
        "flow-kernels": "mien.systems.flow_kernels:FLOW_KERNELS",
        "flow-ensemble": "mien.systems.flow_ensemble:FLOW_ENSEMBLE",
        "bi-woof": "mien.systems.bi_woof:BI_WOOF",
        "mdmo": "mien.systems.mdmo:MDMO",
        "fdm": "mien.systems.fdm:FDM",
        "sma-stn": "mien.systems.sma_stn:SMA_STN",
        "image-cnn": "mien.systems.image_cnn:IMAGE_CNN",
        "microexp-stcnn": "mien.systems.microexp_stcnn:MICROEXP_STCNN",
        "microexp-fusenet-intermediate": "mien.systems.microexp_fusenet:INTERMEDIATE",
        "microexp-fusenet-late": "mien.systems.microexp_fusenet:LATE",
        "lbp-top": "mien.systems.lbp_top:LBP_TOP",
        "lbp-sip": "mien.systems.lbp_sip:LBP_SIP",
        "lbp-tics": "mien.systems.lbp_tics:LBP_TICS",
        "stlbp-ip": "mien.systems.stlbp_ip:STLBP_IP",
        "hierarchical-stlbp-ip": "mien.systems.hierarchical_stlbp_ip:HIERARCHICAL_STLBP_IP",
    },
    accept=_as_system,
    aliases={
        "strcn": "strcn-g",
        "strcn2020": "strcn-g",
        "svm": "flow-svm",
        "flow": "flow-svm",
        "lbptopsvm": "lbp-top",
        "biwoofsvm": "bi-woof",
        "fusenet": "microexp-fusenet-intermediate",
        "stcnn": "microexp-stcnn",
        "resnet": "image-cnn",
        "vggface": "image-cnn",
        "cnn": "image-cnn",
        "smastn": "sma-stn",
        "rcna": "rcn",
        "offapexnet": "off-apexnet",
        "ipstlbp": "stlbp-ip",
    },
)
"""Every system, by name; each is imported when it is asked for."""


def system(name: str) -> System:
    """Return the system of a name; `SYSTEMS.get` takes an import path too.

    Args:
        name: Name, as `mien systems` lists them.

    Returns:
        The system.

    Raises:
        MienError: There is none (the nearest name is suggested), or its plug-in fails.

    Example:
        >>> system("flow-svm").title
        'Flow picture + RBF SVM'
    """
    return SYSTEMS[name]


def register_system(given: _Given) -> _Given:
    """Register a system: called with it, or as the decorator of a function without arguments that returns it.

    Args:
        given: A `System`, or a function without arguments that returns one.

    Returns:
        What was given, unchanged.

    Raises:
        MienError: It is no system, or its name is taken.

    Example:
        >>> from dataclasses import replace
        >>> mine = register_system(replace(system("flow-svm"), name="my-svm"))
        >>> system("my-svm").summary == system("flow-svm").summary
        True
        >>> SYSTEMS.unregister("my-svm")
    """
    return SYSTEMS.register(given)


__all__ = ["SYSTEMS", "System", "estimator_system", "register_system", "system"]
