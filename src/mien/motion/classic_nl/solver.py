"""The linear system of a step, solved by conjugate gradients with a multigrid cycle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class _Grid:
    """One grid of the solver: the system's matrix, flat over pixels, so that each product is a few passes."""

    def __init__(self, data: Tensor, right: Tensor, down: Tensor) -> None:
        self.shape = right.shape
        self.width = right.shape[-1]
        # Weights end with 0 in each row and column, so that neighbours in memory may be taken for neighbours.
        self.right, self.down = right.reshape(-1), down.reshape(-1)
        self.cross = data[2].reshape(-1)
        diagonal = torch.cat([data[0].reshape(-1), data[1].reshape(-1)])
        diagonal += self.right
        diagonal += self.down
        diagonal[1:] += self.right[:-1]
        diagonal[self.width :] += self.down[: -self.width]
        self.diagonal = diagonal
        u, v = diagonal.view(2, -1)
        determinant = u * v - self.cross * self.cross
        inverse = torch.where(determinant > 1e-12 * u * v, 1 / determinant, 0)
        self.inverse = torch.cat([v * inverse, u * inverse])
        self.inverse_cross = -self.cross * inverse

        # Memory that is taken anew for each of thousands of products costs more than the products.
        self.product, self.inverted, self.left, self.found = (torch.empty_like(diagonal) for _ in range(4))

    def times(self, x: Tensor) -> Tensor:
        """The matrix times x, flat (2 B H W); valid until the next call."""
        return self._with_neighbours(torch.mul(self.diagonal, x, out=self.product), x, 1)

    def rest(self, r: Tensor, x: Tensor) -> Tensor:
        """r less the matrix times x; valid until the next call."""
        return self._with_neighbours(torch.addcmul(r, self.diagonal, x, value=-1, out=self.left), x, -1)

    def _with_neighbours(self, y: Tensor, x: Tensor, sign: int) -> Tensor:
        half, w = len(x) // 2, self.width
        y[:half].addcmul_(self.cross, x[half:], value=sign)
        y[half:].addcmul_(self.cross, x[:half], value=sign)
        y[1:].addcmul_(self.right[:-1], x[:-1], value=-sign)
        y[:-1].addcmul_(self.right[:-1], x[1:], value=-sign)
        y[w:].addcmul_(self.down[:-w], x[:-w], value=-sign)
        y[:-w].addcmul_(self.down[:-w], x[w:], value=-sign)
        return y

    def jacobi(self, r: Tensor) -> Tensor:
        """r with the 2x2 block of each pixel inverted; valid until the next call."""
        z = torch.mul(self.inverse, r, out=self.inverted)
        half = len(r) // 2
        z[:half].addcmul_(self.inverse_cross, r[half:])
        z[half:].addcmul_(self.inverse_cross, r[:half])
        return z


def _sum_of_fours(x: Tensor) -> Tensor:
    """(..., H, W) summed over blocks of 2x2, odd sizes padded with 0."""
    x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
    x = x[..., ::2] + x[..., 1::2]
    return x[..., ::2, :] + x[..., 1::2, :]


def _coarser(data: Tensor, right: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The system for flows that are constant over blocks of 2x2, with weights halved as for smooth ones."""
    right = F.pad(right, (0, right.shape[-1] % 2, 0, right.shape[-2] % 2))[..., 1::2]
    down = F.pad(down, (0, down.shape[-1] % 2, 0, down.shape[-2] % 2))[..., 1::2, :]
    return (
        _sum_of_fours(data),
        0.5 * (right[..., ::2, :] + right[..., 1::2, :]),
        0.5 * (down[..., ::2] + down[..., 1::2]),
    )


_DAMPING = 0.7


def _cycle(grids: list[_Grid], r: Tensor) -> Tensor:
    """One V-cycle from zero: a symmetric, rough inverse of the matrix."""
    grid = grids[0]
    x = torch.mul(grid.jacobi(r), _DAMPING, out=grid.found)
    if len(grids) > 1:
        rest = grid.rest(r, x).view(grid.shape)
        below = _cycle(grids[1:], _sum_of_fours(rest).reshape(-1)).view(grids[1].shape)
        fine = x.view(grid.shape)
        for i in range(2):
            for j in range(2):
                part = fine[..., i::2, j::2]
                part += below[..., : part.shape[-2], : part.shape[-1]]
    return x.add_(grid.jacobi(grid.rest(r, x)), alpha=_DAMPING)


def solve(
    data: Tensor, right: Tensor, down: Tensor, side: Tensor, tolerance: float, most: int = 200, multigrid: bool = True
) -> Tensor:
    """Solves the smoothed data equations by conjugate gradients, with a multigrid cycle as preconditioner.

    At each pixel p, with q over its four neighbours and w the weight between them,

        [a c] [x_p]         [w_pq (x_p - x_q)]
        [c b] [y_p] + sum_q [w_pq (y_p - y_q)] = side_p.

    Args:
        data: (3, B, H, W): a, b and c, with a b >= c^2.
        right: (2, B, H, W), >= 0: weights between a pixel and the next, for x and for y; 0 in the last column.
        down: The same downwards; 0 in the last row.
        side: (2, B, H, W).
        tolerance: Stops when the residual of every pair has shrunk to this part of its right side.
        most: Stops after so many cycles in any case.

    Returns:
        (2, B, H, W).
    """
    grids = [_Grid(data, right, down)]
    while multigrid and min(right.shape[-2:]) > 4:
        data, right, down = _coarser(data, right, down)
        grids.append(_Grid(data, right, down))

    def by_pair(flat: Tensor) -> Tensor:
        return flat.view(2, side.shape[1], -1)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        products: Tensor = torch.linalg.vecdot(by_pair(a), by_pair(b))
        return products.sum(0)[:, None]

    r = side.reshape(-1).clone()
    x = torch.zeros_like(r)
    goal = tolerance**2 * dot(r, r)
    z = _cycle(grids, r) if multigrid else grids[0].jacobi(r)
    direction = z.clone()
    rz = dot(r, z)
    for _ in range(most):
        open_ = dot(r, r) > goal
        if not bool(open_.any()):
            break
        product = grids[0].times(direction)
        # Pairs that are done stay as they are: a pair's flow does not depend on its company.
        alpha = torch.where(open_, rz / dot(direction, product).clamp_min(1e-30), 0)
        by_pair(x).addcmul_(alpha, by_pair(direction))
        by_pair(r).addcmul_(alpha, by_pair(product), value=-1)
        z = _cycle(grids, r) if multigrid else grids[0].jacobi(r)
        last, rz = rz, dot(r, z)
        by_pair(direction).mul_(rz / last.clamp_min(1e-30)).add_(by_pair(z))
    return x.view(side.shape)
