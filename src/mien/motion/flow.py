"""Dense optical flow between two grey pictures, by the name of the method."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.motion.levels import as_levels
from mien.registry import Registry, failed_plug_in

_Pictures = NDArray[Any]
_Flow = NDArray[np.float32]
_Method = TypeVar("_Method", bound="FlowMethod")

SMALLEST = 16
"""Smallest height and width of a picture, in pixels, for which flow is computed."""

_FARNEBACK_MARGIN = 40


def _as_bytes(picture: _Pictures) -> NDArray[np.uint8]:
    """Convert a picture on the scale 0..255 to 8 bits, the only type that OpenCV's methods take."""
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _tvl1(first: _Pictures, second: _Pictures) -> _Flow:
    return np.asarray(cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None), dtype=np.float32)


def _dis(first: _Pictures, second: _Pictures) -> _Flow:
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
    return np.asarray(flow, dtype=np.float32)


def _dis_fine(first: _Pictures, second: _Pictures) -> _Flow:
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setPatchStride(1)
    search.setVariationalRefinementIterations(10)
    return np.asarray(search.calc(first, second, None), dtype=np.float32)


def _farneback(first: _Pictures, second: _Pictures) -> _Flow:
    # Near the border OpenCV fits its polynomials to too few pixels and reports motion even in still pictures. With a
    # mirrored margin that happens outside the picture.
    m = _FARNEBACK_MARGIN
    padded = [cv2.copyMakeBorder(p, m, m, m, m, cv2.BORDER_REFLECT_101) for p in (first, second)]
    flow = cv2.calcOpticalFlowFarneback(*padded, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(flow[m:-m, m:-m], dtype=np.float32)


def _deepflow(first: _Pictures, second: _Pictures) -> _Flow:
    return np.asarray(cv2.optflow.createOptFlow_DeepFlow().calc(first, second, None), dtype=np.float32)


_BY_PAIR: dict[str, Callable[[_Pictures, _Pictures], _Flow]] = {
    "tvl1": _tvl1,
    "dis": _dis,
    "dis_fine": _dis_fine,
    "farneback": _farneback,
    "deepflow": _deepflow,
}

CLASSIC: dict[str, dict[str, Any]] = {
    "classic_nl": {},
    "classic_nl_published": {"published": True},
    "classic_l": {"published": True, "penalty": "lorentzian"},
}
"""Settings of `mien.motion.classic_nl.classic_nl` by name: ours, that of STRCN's code, and that of STRCN's text."""

REVISIONS: dict[str, int] = {"classic_nl": 4, "classic_nl_published": 1, "classic_l": 1}
"""How often the result of a method has changed; prepared inputs of an earlier revision are not used again."""

METHODS: tuple[str, ...] = (*CLASSIC, *_BY_PAIR)
"""Names of the built-in methods of `optical_flow`; `FLOWS` also holds those of plug-ins."""

FlowMethod = Callable[[_Pictures, _Pictures], _Flow]
"""Flow (H, W, 2) in pixels, x then y, between two grey pictures (H, W) on the scale 0..255."""


def _as_flow(given: Any) -> FlowMethod:
    if not callable(given):
        raise MienError(
            f"{given!r} is not a flow method but a {type(given).__name__}.",
            "a function of two grey pictures (H, W) that returns their flow (H, W, 2).",
            '`@register_flow("my-flow")` above it.',
        )
    return given  # type: ignore[no-any-return]


def _of_pair(method: str) -> FlowMethod:
    return lambda first, second: optical_flow(first, second, method)


FLOWS: Registry[FlowMethod] = Registry(
    "flow method",
    "mien.flows",
    "mien flow --help",
    builtins={name: _of_pair(name) for name in METHODS},
    accept=_as_flow,
    name_of=lambda _: None,
    aliases={
        "classicnl": "classic_nl",
        "tvl": "tvl1",
        "tv": "tvl1",
        "dualtvl1": "tvl1",
        "gunnarfarneback": "farneback",
    },
)
"""All flow methods by name, each a function of two grey pictures."""


def register_flow(name: str) -> Callable[[_Method], _Method]:
    """Return a decorator that registers a function as a flow method.

    Args:
        name: Name of the method, for `--set flow=NAME`.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        MienError: The name is taken.

    Example:
        >>> @register_flow("still")
        ... def no_motion(first, second):
        ...     return np.zeros((*first.shape, 2), np.float32)
        >>> optical_flow(np.zeros((16, 16)), np.zeros((16, 16)), "still").max()
        np.float32(0.0)
        >>> FLOWS.unregister("still")
    """
    return FLOWS.register(name)


def optical_flow(first: _Pictures, second: _Pictures, method: str = "tvl1") -> NDArray[np.float32]:
    """Compute the displacement of every pixel from one grey picture to another.

    Args:
        first: (H, W) grey levels, at least 16 pixels a side; uint8, uint16, or floating point in 0..1 or 0..255 (see
            `mien.motion.levels.as_levels`).
        second: (H, W), the later picture.
        method: One of `METHODS`, or a method that another package registered. All but the first three are OpenCV's
            implementations with default settings, which work on 8 bits.

            - "classic_nl": after Sun, Roth and Black 2010, for noise and changing light; a third of a second.
            - "classic_nl_published": the same as published, and as STRCN's code uses it.
            - "classic_l": the same with the Lorentzian penalty, as STRCN's text has it.
            - "tvl1": Zach, Pock and Bischof 2007, as STSTNet uses it.
            - "dis": Kroeger et al. 2016; a few milliseconds.
            - "dis_fine": "dis" at full size, with stride 1 and ten variational iterations.
            - "farneback": Farnebäck 2003.
            - "deepflow": Weinzaepfel et al. 2013.

    Returns:
        (H, W, 2) in pixels, x then y: the point at (x, y) in `first` is at (x + dx, y + dy) in `second`.

    Raises:
        MienError: An unknown method; pictures of different sizes, not grey, too small, or with NaN or values that are
            on neither scale.

    Example:
        >>> import numpy as np
        >>> from mien.motion.flow import optical_flow
        >>> y, x = np.mgrid[0:48, 0:48]
        >>> first = 128 + 60 * np.sin(x / 4) + 60 * np.cos(y / 5)
        >>> second = 128 + 60 * np.sin((x - 1) / 4) + 60 * np.cos(y / 5)  # one pixel to the right
        >>> flow = optical_flow(first, second, "dis")
        >>> flow.shape
        (48, 48, 2)
        >>> abs(float(np.median(flow[..., 0])) - 1) < 0.1
        True
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 2:
        raise _wrong_shape(first, second, "two grey pictures (H, W)")
    return np.asarray(optical_flows(first[None], second[None], method)[0])


def optical_flows(firsts: _Pictures, seconds: _Pictures, method: str = "tvl1") -> NDArray[np.float32]:
    """Compute the displacement of every pixel for many pairs of grey pictures.

    Args:
        firsts: (B, H, W) grey levels, at least 16 pixels a side; scales as in `optical_flow`, one for the whole batch.
        seconds: (B, H, W), the later pictures.
        method: See `optical_flow`. The first three methods are faster on a batch than pair by pair.

    Returns:
        (B, H, W, 2) in pixels, x then y.

    Raises:
        MienError: As `optical_flow`.

    Example:
        >>> import numpy as np
        >>> from mien.motion.flow import optical_flows
        >>> pictures = np.random.default_rng(0).integers(0, 256, (3, 20, 24), np.uint8)
        >>> optical_flows(pictures[:-1], pictures[1:], "dis").shape
        (2, 20, 24, 2)
    """
    if method not in METHODS:  # an unknown name is refused before the pictures are looked at
        try:
            FLOWS.get(method)
        except MienError as error:
            near = re.match(r"`[\w-]+`", error.fix)
            fix = f"`method={near[0].strip('`')!r}`." if near else "one of them, e.g. `method='tvl1'`."
            raise MienError(error.found, error.expected, fix) from None
    firsts, seconds = np.asarray(firsts), np.asarray(seconds)
    if firsts.ndim != 3 or firsts.shape != seconds.shape:
        raise _wrong_shape(firsts, seconds, "two stacks of grey pictures (B, H, W) or two grey pictures (H, W)")
    if min(firsts.shape[1:]) < SMALLEST:
        raise MienError(
            f"Pictures of {firsts.shape[1]}x{firsts.shape[2]} pixels.",
            f"at least {SMALLEST} pixels a side.",
            "a larger crop.",
        )
    if method in CLASSIC:
        from mien.motion.classic_nl import classic_nl  # torch takes a second to load

        return classic_nl(firsts, seconds, **CLASSIC[method])
    firsts, seconds = as_levels(firsts, seconds)
    if method not in METHODS:
        return _of_plug_in(firsts, seconds, method)
    flows = [_BY_PAIR[method](_as_bytes(a), _as_bytes(b)) for a, b in zip(firsts, seconds, strict=True)]
    return np.stack(flows) if flows else np.empty((*firsts.shape, 2), np.float32)


def _of_plug_in(firsts: _Pictures, seconds: _Pictures, method: str) -> NDArray[np.float32]:
    """Flow by a method of another package, which may fail or return anything."""
    flows = np.empty((*firsts.shape, 2), np.float32)
    for place, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        try:
            flow = np.asarray(FLOWS[method](first, second))
        except MienError:
            raise
        except Exception as error:
            raise failed_plug_in(f"The flow method {method!r}", FLOWS.origin(method), error) from error
        if flow.shape != (*first.shape, 2) or not np.isfinite(flow).all():
            raise MienError(
                f"The flow method {method!r} of {FLOWS.origin(method)} returned "
                f"{'numbers that are not finite' if flow.shape == (*first.shape, 2) else f'the shape {flow.shape}'} "
                f"for pictures of shape {first.shape}.",
                f"finite numbers of shape {(*first.shape, 2)}, x then y.",
                "`--set flow=tvl1`.",
            )
        flows[place] = flow
    return flows


def _wrong_shape(first: _Pictures, second: _Pictures, expected: str) -> MienError:
    return MienError(
        f"Pictures of shape {first.shape} and {second.shape}.",
        f"{expected} of one size.",
        "`frame.mean(-1)` for colour, and `cv2.resize` for another size.",
    )
