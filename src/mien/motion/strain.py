"""Optical strain: how much the skin stretches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, unknown_name

_Floats = NDArray[np.float64]


def _gradient(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """u_x, u_y, v_x, v_y by central differences, one-sided at the border."""
    if flow.ndim < 3 or flow.shape[-1] != 2 or min(flow.shape[-3:-1]) < 2:
        raise MienError(
            f"A flow field of shape {flow.shape}.",
            "(..., H, W, 2), displacement in x then y, at least 2 pixels a side.",
            "the result of `optical_flow`.",
        )
    field = flow.astype(np.float64)
    # numpy gives the derivative down the picture (y) first.
    u_y, u_x = np.gradient(field[..., 0], axis=(-2, -1))
    v_y, v_x = np.gradient(field[..., 1], axis=(-2, -1))
    return np.asarray(u_x), np.asarray(u_y), np.asarray(v_x), np.asarray(v_y)


def _full(flow: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats]:
    u_x, u_y, v_x, v_y = _gradient(flow)
    # F = I + grad d = R U. In the plane R is the unit complex number along (F_xx + F_yy) + i (F_yx - F_xy), and
    # R^T F is symmetric with it, even where noise folds the field over (det F < 0).
    along, turn = 2 + u_x + v_y, v_x - u_y
    length = np.hypot(along, turn)
    flat = length == 0
    scale = 1 / np.where(flat, 1, length)
    c, s = np.where(flat, 1, along * scale), turn * scale
    return c * (1 + u_x) + s * v_x - 1, c * (1 + v_y) - s * u_y - 1, c * u_y + s * (1 + v_y)


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
"""Components e_xx, e_yy, e_xy of each kind of strain."""


def strain_tensor(flow: NDArray[Any], variant: str = "full") -> NDArray[np.float64]:
    """Normal and shear strain at every pixel.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y; H and W at least 2.
        variant: See `optical_strain`.

    Returns:
        (..., H, W, 3), no unit: e_xx and e_yy (stretch along x and y, positive where the skin grows longer) and the
        shear e_xy, half of the change of the angle between the two directions.

    Raises:
        MienError: The field has another shape, or there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown_name("strain variant", variant, VARIANTS, "mien.motion.strain.VARIANTS")
    return np.stack(VARIANTS[variant](flow), axis=-1)


def optical_strain(flow: NDArray[Any], variant: str = "full") -> NDArray[np.float32]:
    """Strain magnitude of a flow field: how much the skin stretches, blind to rigid motion.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y; H and W at least 2.
        variant: "full" takes the rotation out first and measures U - I, U being the stretch of the polar decomposition
            of the deformation I + grad d = R U: zero under any rotation, exactly 0.1 for a stretch by a tenth. "small"
            is the symmetric part of grad d, which micro-expression papers use: a rotation by 5 degrees counts as 0.005
            there. "no_shear" is "small" without its shear, which some published inputs leave out.

    Returns:
        (..., H, W), no unit, >= 0: sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2).

    Raises:
        MienError: The field has another shape, or there is no such variant.

    Source: "small": Shreve, Godavarthy, Goldgof and Sarkar, "Macro- and micro-expression spotting in long videos using
    spatio-temporal strain", FG 2011, equations 3-5. "full": Biot's strain of continuum mechanics. Public snippets that
    swap the two axes, or square the two parts of the shear one by one, turn head rotation into strain.
    """
    e_xx, e_yy, e_xy = np.moveaxis(strain_tensor(flow, variant), -1, 0)
    return np.asarray(np.sqrt(e_xx**2 + e_yy**2 + 2 * e_xy**2), dtype=np.float32)
