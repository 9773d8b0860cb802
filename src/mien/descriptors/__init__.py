"""Descriptors: a clip as one vector, by a pure function each; parameters are the papers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from mien.descriptors.base import Descriptor, Reads
from mien.descriptors.bi_woof import bi_woof
from mien.descriptors.colour_space import lbp_tics, learn_colour_space
from mien.descriptors.fdm import fdm
from mien.descriptors.gradients import higo_top, hog_top
from mien.descriptors.hoof import hoof
from mien.descriptors.integral_projection import hierarchical_stlbp_ip, stlbp_ip
from mien.descriptors.lbp import lbp_sip, lbp_top
from mien.descriptors.mdmo import mdmo
from mien.errors import MienError
from mien.preprocessing.base import Array
from mien.registry import Registry

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
    "register_descriptor",
    "stlbp_ip",
]

_Function = TypeVar("_Function", bound=Callable[..., Array])


def _as_descriptor(given: Any) -> Descriptor:
    if not isinstance(given, Descriptor):
        raise MienError(
            f"{given!r} is not a descriptor but a {type(given).__name__}.",
            "a `mien.descriptors.Descriptor`.",
            '`@register_descriptor("my-descriptor", summary=..., source=..., reads="grey")` above its function.',
        )
    return given


DESCRIPTORS: Registry[Descriptor] = Registry(
    "descriptor",
    "mien.descriptors",
    "mien descriptors",
    builtins={
        "lbp-top": "mien.descriptors.named:LBP_TOP",
        "lbp-sip": "mien.descriptors.named:LBP_SIP",
        "stlbp-ip": "mien.descriptors.named:STLBP_IP",
        "hierarchical-stlbp-ip": "mien.descriptors.named:HIERARCHICAL_STLBP_IP",
        "higo-top": "mien.descriptors.named:HIGO_TOP",
        "hog-top": "mien.descriptors.named:HOG_TOP",
        "hoof": "mien.descriptors.named:HOOF",
        "bi-woof": "mien.descriptors.named:BI_WOOF",
        "mdmo": "mien.descriptors.named:MDMO",
        "fdm": "mien.descriptors.named:FDM",
    },
    accept=_as_descriptor,
    aliases={"lbp": "lbp-top", "higo": "higo-top", "hog": "hog-top", "flow": "hoof", "texture": "lbp-top"},
)
"""Descriptors that need nothing but one clip, by the name `mien describe` takes."""


def descriptor(name: str) -> Descriptor:
    """Return the descriptor of a name, or of an import path `package.module:attribute`.

    Args:
        name: Name, or import path.

    Returns:
        The descriptor.

    Raises:
        MienError: There is none (the nearest name is suggested), or its plug-in fails.

    Example:
        >>> descriptor("hoof").reads
        'flow'
    """
    return DESCRIPTORS.get(name)


@overload
def register_descriptor(given: Descriptor) -> Descriptor: ...
@overload
def register_descriptor(
    given: str, *, summary: str, source: str, reads: Reads = ..., from_picture: Callable[..., Array] | None = ...
) -> Callable[[_Function], _Function]: ...
def register_descriptor(
    given: Descriptor | str,
    *,
    summary: str = "",
    source: str = "",
    reads: Reads = "grey",
    from_picture: Callable[..., Array] | None = None,
) -> Any:
    """Register a descriptor: called with it, or as the decorator of its function.

    Args:
        given: The descriptor; or its name, and what is given beside it is as in `Descriptor`.

    Returns:
        The descriptor; or a decorator that returns the function unchanged.

    Raises:
        MienError: It is no descriptor, or its name is taken.

    Example:
        >>> @register_descriptor("mean-grey", summary="mean grey level", source="this example")
        ... def mean_grey(clip):
        ...     return clip.mean(keepdims=True).ravel()
        >>> "mean-grey" in DESCRIPTORS
        True
        >>> DESCRIPTORS.unregister("mean-grey")
    """
    if not isinstance(given, str):
        return DESCRIPTORS.register(given)

    def decorate(function: _Function) -> _Function:
        DESCRIPTORS.register(Descriptor(given, summary, source, function, reads, from_picture))
        return function

    return decorate
