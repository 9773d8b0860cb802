"""Optical strain: how much the skin stretches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def optical_strain(flow: NDArray[np.floating]) -> NDArray[np.float32]:
    """Strain magnitude of a flow field: how much the skin stretches, blind to rigid motion.

    Args:
        flow: (..., H, W, 2) displacement in pixels, x then y; H and W at least 2.

    Returns:
        (..., H, W), no unit, >= 0: sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2) with e_xy = (du/dy + dv/dx) / 2. Zero for pure
        translation and for small pure rotation; 0.1 where x is stretched by a tenth.

    Source: Shreve, Godavarthy, Goldgof and Sarkar, "Macro- and micro-expression spotting in long videos using
    spatio-temporal strain", FG 2011, equations 3-5. Public snippets that swap the two axes, or drop the cross term,
    turn head rotation into strain.
    """
    u, v = flow[..., 0], flow[..., 1]
    # numpy gives the derivative down the picture (y) first.
    u_y, u_x = np.gradient(u, axis=(-2, -1))
    v_y, v_x = np.gradient(v, axis=(-2, -1))
    shear = 0.5 * (u_y + v_x)
    return np.asarray(np.sqrt(u_x**2 + v_y**2 + 2 * shear**2), dtype=np.float32)
