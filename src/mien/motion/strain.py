"""Optical strain: how much the skin stretches, computed from optical flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name

_Floats = NDArray[np.float64]


def _gradient(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Return the derivatives u_x, u_y, v_x, v_y: central differences, one-sided at the border."""
    if flow.ndim < 3 or flow.shape[-1] != 2 or min(flow.shape[-3:-1]) < 2:
        raise MienError(
            f"A flow field of shape {flow.shape}.",
            "(..., H, W, 2), displacement in x then y, at least 2 pixels a side.",
            "the result of `optical_flow`.",
        )
    field = flow.astype(np.float64)
    # np.gradient returns the derivative along rows (y) first.
    u_y, u_x = np.gradient(field[..., 0], axis=(-2, -1))
    v_y, v_x = np.gradient(field[..., 1], axis=(-2, -1))
    return np.asarray(u_x), np.asarray(u_y), np.asarray(v_x), np.asarray(v_y)


def _full(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats]:
    u_x, u_y, v_x, v_y = _gradient(flow)
    # Polar decomposition of F = I + grad d = R U. In two dimensions the rotation R, as a complex number, is the
    # direction of (F_xx + F_yy) + i (F_yx - F_xy). R^T F is then symmetric, even where det F < 0.
    real, imaginary = 2 + u_x + v_y, v_x - u_y
    length = np.hypot(real, imaginary)
    undefined = length == 0
    scale = 1 / np.where(undefined, 1, length)
    cosine, sine = np.where(undefined, 1, real * scale), imaginary * scale
    return (
        cosine * (1 + u_x) + sine * v_x - 1,
        cosine * (1 + v_y) - sine * u_y - 1,
        cosine * u_y + sine * (1 + v_y),
    )


def _small(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats]:
    u_x, u_y, v_x, v_y = _gradient(flow)
    return u_x, v_y, 0.5 * (u_y + v_x)


def _no_shear(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats]:
    e_xx, e_yy, e_xy = _small(flow)
    return e_xx, e_yy, np.zeros_like(e_xy)


VARIANTS: dict[str, Callable[[NDArray[Any]], tuple[_Floats, _Floats, _Floats]]] = {
    "full": _full,
    "small": _small,
    "no_shear": _no_shear,
}
"""Functions by name from a flow field to its strain components e_xx, e_yy and e_xy."""


def strain_tensor(flow: NDArray[Any], variant: str = "full") -> NDArray[np.float64]:
    """Compute normal and shear strain at every pixel.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y; H and W at least 2.
        variant: "full", "small" or "no_shear"; see `optical_strain`.

    Returns:
        (..., H, W, 3), no unit: e_xx and e_yy, the stretch along x and y (positive where the skin gets longer), and the
        shear e_xy, half of the change of the angle between the two directions.

    Raises:
        MienError: Another shape, or an unknown variant.

    Example:
        >>> import numpy as np
        >>> from mien.motion.strain import strain_tensor
        >>> y, x = np.mgrid[0:4, 0:4]
        >>> strain_tensor(np.stack([0.1 * x, 0 * y], -1))[1, 1].round(3).tolist()
        [0.1, 0.0, 0.0]
    """
    if variant not in VARIANTS:
        raise unknown_name("strain variant", variant, VARIANTS, "mien.motion.strain.VARIANTS")
    return np.stack(VARIANTS[variant](flow), axis=-1)


def optical_strain(flow: NDArray[Any], variant: str = "full") -> NDArray[np.float32]:
    """Compute the strain magnitude of a flow field: how much the skin stretches. Rigid motion of the head gives 0.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y; H and W at least 2.
        variant: Which strain to measure.

            - "full": removes the rotation first and measures U - I, with U the stretch in the polar decomposition
              I + grad d = R U. Zero under any rotation, exactly 0.1 for a stretch by a tenth.
            - "small": the symmetric part of grad d, as papers on micro-expressions define it. A rotation by 5 degrees
              counts as 0.005.
            - "no_shear": "small" without the shear, as in some published inputs.

    Returns:
        (..., H, W), no unit, >= 0: sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2).

    Raises:
        MienError: Another shape, or an unknown variant.

    Example:
        >>> import numpy as np
        >>> from mien.motion.strain import optical_strain
        >>> y, x = np.mgrid[0:4, 0:4]
        >>> stretched, shifted = np.stack([0.1 * x, 0 * y], -1), np.full((4, 4, 2), 3.0)
        >>> round(float(optical_strain(stretched)[2, 2]), 3)
        0.1
        >>> float(optical_strain(shifted).max())
        0.0

    Source: "small": Shreve, Godavarthy, Goldgof and Sarkar, "Macro- and micro-expression spotting in long videos using
    spatio-temporal strain", FG 2011, equations 3-5. "full": Biot's strain of continuum mechanics. Note: some public
    implementations swap the two axes, or square the two parts of the shear separately; both turn head rotation into
    strain.
    """
    e_xx, e_yy, e_xy = np.moveaxis(strain_tensor(flow, variant), -1, 0)
    return np.asarray(np.sqrt(e_xx**2 + e_yy**2 + 2 * e_xy**2), dtype=np.float32)
