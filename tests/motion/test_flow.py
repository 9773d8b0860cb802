import cv2
import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mien.errors import MienError
from mien.motion.classic_nl import PENALTIES, classic_nl, median, solver, step
from mien.motion.classic_nl import texture as textures
from mien.motion.flow import METHODS, optical_flow, optical_flows
from mien.synthesis.moving_pairs import MovingPair, moving_pair


def texture(height: int = 96, width: int = 96, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


def shifted(first: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], dtype=np.float32)
    size = (first.shape[1], first.shape[0])
    return np.asarray(cv2.warpAffine(first, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


def error(flow: np.ndarray, pair: MovingPair) -> float:
    return float(np.linalg.norm(flow - pair.flow, axis=-1)[pair.valid].mean())


# By name


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -1.5)])
def test_optical_flow_finds_a_known_shift(name: str, shift: tuple[float, float]) -> None:
    first = texture()
    flow = optical_flow(first, shifted(first, shift), name)
    assert flow.shape == (96, 96, 2)
    assert flow.dtype == np.float32
    assert np.median(flow[16:-16, 16:-16], axis=(0, 1)) == pytest.approx(shift, abs=0.15)


@pytest.mark.parametrize("name", METHODS)
def test_optical_flow_is_zero_for_identical_pictures_also_at_the_border(name: str) -> None:
    first = texture(128, 160)
    assert np.abs(optical_flow(first, first, name)).max() < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_optical_flows_equals_optical_flow_pair_by_pair(name: str) -> None:
    firsts = np.stack([texture(48, 56, s) for s in range(2)])
    seconds = np.stack([shifted(first, (0.5, 0.25)) for first in firsts])
    flows = optical_flows(firsts, seconds, name)
    for first, second, flow in zip(firsts, seconds, flows, strict=True):
        np.testing.assert_array_equal(flow, optical_flow(first, second, name))


@pytest.mark.parametrize("name", METHODS)
def test_optical_flow_accepts_the_smallest_pictures_and_float64(name: str) -> None:
    first = texture(16, 17)
    flow = optical_flow(first.astype(np.float64), first.astype(np.float64), name)
    assert flow.shape == (16, 17, 2)
    assert np.isfinite(flow).all()


def test_an_empty_batch_gives_an_empty_result() -> None:
    assert optical_flows(np.empty((0, 20, 20)), np.empty((0, 20, 20)), "dis").shape == (0, 20, 20, 2)
    assert classic_nl(np.empty((0, 20, 20)), np.empty((0, 20, 20))).shape == (0, 20, 20, 2)


def test_wrong_arguments_raise_mien_error() -> None:
    first = texture(32, 32)
    broken = first.astype(np.float32)
    broken[3, 4] = np.nan
    with pytest.raises(MienError, match="tvl1"):
        optical_flow(first, first, "tvl2")
    for a, b in ((first, first[:-1]), (first[None], first[None]), (np.dstack([first] * 3),) * 2):
        with pytest.raises(MienError, match="grey"):
            optical_flow(a, b)
    with pytest.raises(MienError, match="at least 16"):
        optical_flow(first[:15], first[:15])
    with pytest.raises(MienError, match="not numbers"):
        optical_flow(first, broken)
    with pytest.raises(MienError, match="not numbers"):
        classic_nl(first, broken)
    with pytest.raises(MienError, match="lorentzian"):
        classic_nl(first, first, penalty="lorenzian")
    with pytest.raises(MienError, match="same for both"):
        classic_nl(first, first[:-1])
    with pytest.raises(MienError, match="same for both"):
        classic_nl(first[0], first[0])
    with pytest.raises(MienError, match="at least 16"):
        classic_nl(first[:15], first[:15])


# Classic+NL


@pytest.fixture(scope="module")
def pairs() -> dict[str, MovingPair]:
    kinds = ("rotation", "smooth", "occlusion", "brightness", "noise_3")
    return {k: moving_pair(k, height=120, width=100, amplitude=1.0, seed=5) for k in kinds}


def test_classic_nl_is_within_a_tenth_of_the_most_accurate_on_average(pairs: dict[str, MovingPair]) -> None:
    firsts, seconds = (np.stack([getattr(p, side) for p in pairs.values()]) for side in ("first", "second"))
    errors = {
        name: [error(f, p) for f, p in zip(optical_flows(firsts, seconds, name), pairs.values(), strict=True)]
        for name in METHODS
    }
    averages = {name: float(np.mean(e)) for name, e in errors.items()}
    # With larger pictures deepflow is a twentieth better (140x116).
    assert averages["classic_nl"] < 1.1 * min(averages.values()), averages
    assert averages["classic_nl"] < 0.8 * min(averages[name] for name in ("classic_nl_published", "tvl1", "dis"))
    assert errors["classic_nl"][1] < 0.06
    assert averages["classic_nl"] < 0.1


@pytest.mark.parametrize("options", [{"penalty": "charbonnier"}, {"published": True}], ids=str)
def test_other_settings_of_classic_nl_find_smooth_motion(
    options: dict[str, object], pairs: dict[str, MovingPair]
) -> None:
    pair = pairs["smooth"]
    flow = classic_nl(pair.first, pair.second, **options)  # type: ignore[arg-type]
    assert error(flow, pair) < 0.1
    assert np.abs(classic_nl(pair.first, pair.first, **options)).max() < 1e-3  # type: ignore[arg-type]


def test_classic_nl_finds_a_shift_by_whole_pixels() -> None:
    scene = texture(120, 120)
    flow = classic_nl(scene[8:-8, 8:-8], scene[10:-6, 5:-11])
    # Along the border the two pictures do not show the same.
    wrong = np.linalg.norm(flow - [3.0, -2.0], axis=-1)[12:-12, 12:-12]
    assert wrong.mean() < 0.01
    assert wrong[12:-12, 12:-12].max() < 0.02


def test_classic_nl_does_not_depend_on_the_batch(pairs: dict[str, MovingPair]) -> None:
    firsts, seconds = (
        np.stack([getattr(pairs[k], side)[:64, :72] for k in ("smooth", "noise_3", "rotation")])
        for side in ("first", "second")
    )
    together = classic_nl(firsts, seconds, at_once=3)
    alone = classic_nl(firsts, seconds, at_once=1)
    np.testing.assert_allclose(together, alone, atol=2e-3)


def test_classic_nl_on_equal_channels_is_close_to_grey() -> None:
    pair = moving_pair("occlusion", height=200, width=164, amplitude=1.0, seed=5)
    first, second = pair.first[:80, :80], pair.second[:80, :80]
    grey = classic_nl(first, second)
    colour = classic_nl(np.dstack([first] * 3), np.dstack([second] * 3))
    # The median knows likeness by lightness here instead of by grey level: only edges may differ.
    assert colour.shape == (80, 80, 2)
    assert np.abs(colour - grey).mean() < 0.02


def test_classic_nl_of_a_mirrored_pair_is_mirrored(pairs: dict[str, MovingPair]) -> None:
    first, second = (p[:96, :96] for p in (pairs["smooth"].first, pairs["smooth"].second))
    flow = classic_nl(first, second)
    mirrored = classic_nl(first[:, ::-1], second[:, ::-1])[:, ::-1] * [-1, 1]
    assert np.abs(flow - mirrored).mean() < 5e-3


def test_classic_nl_is_zero_without_texture() -> None:
    flow = classic_nl(np.full((40, 40), 90.0), np.full((40, 40), 100.0))
    assert np.abs(flow).max() < 1e-3


# Its parts, against slow and obvious ones


System = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def random_system(height: int, width: int) -> System:
    torch.manual_seed(0)
    ix, iy, weight = torch.randn(2, height, width) * 5, torch.randn(2, height, width) * 5, torch.rand(2, height, width)
    ix[:, : height // 2, : width // 2] = 0  # a part without texture
    data = torch.stack([weight * ix * ix, weight * iy * iy, weight * ix * iy])
    right, down = (10 ** torch.empty(2, 2, height, width).uniform_(-1, 3) for _ in range(2))
    right[..., -1] = 0
    down[..., -1, :] = 0
    return data, right, down, torch.randn(2, 2, height, width)


def direct(data: np.ndarray, right: np.ndarray, down: np.ndarray, side: np.ndarray) -> np.ndarray:
    """One pair's system put together entry by entry and solved by elimination."""
    _, height, width = side.shape
    number = np.arange(2 * height * width).reshape(2, height, width)
    matrix = sparse.lil_matrix((number.size, number.size))
    for c in range(2):
        for y in range(height):
            for x in range(width):
                p = number[c, y, x]
                matrix[p, p] += data[c, y, x]
                matrix[p, number[1 - c, y, x]] += data[2, y, x]
                for w, yy, xx in ((right[c, y, x], y, x + 1), (down[c, y, x], y + 1, x)):
                    if yy < height and xx < width:
                        q = number[c, yy, xx]
                        matrix[p, p] += w
                        matrix[q, q] += w
                        matrix[p, q] -= w
                        matrix[q, p] -= w
    return np.asarray(spsolve(matrix.tocsc(), side.ravel())).reshape(side.shape)


@pytest.mark.parametrize(("height", "width"), [(21, 18), (16, 33)])
@pytest.mark.parametrize("multigrid", [True, False])
def test_solve_agrees_with_a_direct_solver(height: int, width: int, multigrid: bool) -> None:
    system = random_system(height, width)
    got = solver.solve(*system, tolerance=1e-5, most=2000, multigrid=multigrid).numpy()
    for b in range(2):
        data, right, down, side = (part[:, b].double().numpy() for part in system)
        expected = direct(data, right, down, side)
        assert np.abs(got[:, b] - expected).max() < 2e-3 * np.abs(expected).max()


def test_multigrid_converges_in_fewer_iterations() -> None:
    system = random_system(96, 96)
    few = solver.solve(*system, tolerance=0.0, most=12)
    exact = solver.solve(*system, tolerance=1e-6, most=3000)
    plain = solver.solve(*system, tolerance=0.0, most=12, multigrid=False)
    assert (few - exact).norm() < 0.2 * (plain - exact).norm()


def test_increment_agrees_with_a_direct_solver(pairs: dict[str, MovingPair]) -> None:
    pair = pairs["smooth"]
    pictures = torch.tensor(np.stack([pair.first, pair.second])[:, None, 60:92, 50:90], dtype=torch.float32)
    first, second = textures.texture(pictures)
    flow = torch.zeros(2, 1, 32, 40)
    robust = PENALTIES["charbonnier"]
    got = step.increment(first, second, flow, robust, tolerance=1e-2)
    data, right, down, side = (p[:, 0].double().numpy() for p in step.linear_system(first, second, flow, robust))
    assert np.abs(got[:, 0].numpy() - direct(data, right, down, side)).max() < 0.01


def test_weighted_median_agrees_with_sorting_the_values() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(50, 225)), rng.uniform(size=(50, 225)) ** 4
    got = median.weighted_median(torch.tensor(values), torch.tensor(weights)).numpy()
    for row in range(50):
        order = np.argsort(values[row])
        total = np.cumsum(weights[row][order])
        expected = values[row][order][np.searchsorted(total, total[-1] / 2)]
        assert got[row] == pytest.approx(expected, abs=2e-4 * np.ptp(values[row]))


@pytest.mark.parametrize("n_colours", [1, 3])
def test_medians_at_edges_agree_between_sorting_halving_and_a_plain_loop(n_colours: int) -> None:
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(2, 2, 24, 20)).astype(np.float32)
    flow[0, 0, :, 9:] += 6
    flow[:, 1] *= 40  # each picture of the batch has a range of its own
    visible = rng.uniform(1e-6, 1, (2, 24, 20)).astype(np.float32) ** 3
    guide = rng.uniform(0, 40, (2, n_colours, 24, 20)).astype(np.float32)
    chosen = rng.random((2, 24, 20)) < 0.3
    given = (torch.from_numpy(flow), torch.from_numpy(visible), torch.from_numpy(guide), torch.from_numpy(chosen))
    sorted_, halved = (
        way(*given, at_once=50).numpy() for way in (median.medians_by_sorting, median.medians_by_halving)
    )
    out = np.arange(-7, 8)
    for n, (b, y, x) in enumerate(zip(*chosen.nonzero(), strict=True)):
        rows, columns = (y + out)[:, None], x + out
        inside = (rows >= 0) & (rows < 24) & (columns >= 0) & (columns < 20)
        at = (np.clip(rows, 0, 23), np.clip(columns, 0, 19))
        unlike = ((guide[b, :, at[0], at[1]] - guide[b, :, y, x]) ** 2).mean(-1)
        near = np.exp(-(out[:, None] ** 2 + out**2) / (2 * 7**2) - unlike / (2 * 7**2))
        weights = (near * np.where(inside, visible[b][at], 0)).ravel().astype(np.float64)
        for component in range(2):
            values = flow[component, b][at].ravel()
            order = values.argsort()
            share = weights[order].cumsum() / weights.sum()
            # Where the halves nearly balance, the next value is as good.
            low, high = values[order][np.searchsorted(share, [0.5 - 1e-3, 0.5 + 1e-3])]
            slack = 1e-3 * np.ptp(flow[component, b])
            assert low - slack <= sorted_[component, n] <= high + slack
            assert low - slack <= halved[component, n] <= high + slack


def test_the_median_of_other_devices_is_that_of_the_processor() -> None:
    flow = torch.randn(2, 3, 21, 18)
    assert torch.equal(median.median_of_windows(flow.flatten(0, 1)).view_as(flow), median.plain_median(flow))


def test_sample_is_cubic_with_five_point_derivatives() -> None:
    y, x = np.mgrid[0:20, 0:24].astype(np.float64)
    cubic = 0.01 * x**3 - 0.2 * x * x + x * y - 0.015 * y**3 + 3 * y
    flow = np.random.default_rng(1).uniform(-1.5, 1.5, (2, 1, 20, 24))
    level, along, down, inside = step.sample(torch.tensor(cubic)[None], torch.tensor(flow))
    px, py = x + flow[0, 0], y + flow[1, 0]
    inner = (slice(0, 1), slice(5, -5), slice(5, -5))
    expected = 0.01 * px**3 - 0.2 * px * px + px * py - 0.015 * py**3 + 3 * py
    np.testing.assert_allclose(level[inner][0], expected[5:-5, 5:-5], atol=1e-9)
    np.testing.assert_allclose(along[inner][0], (0.03 * px**2 - 0.4 * px + py)[5:-5, 5:-5], atol=1e-9)
    np.testing.assert_allclose(down[inner][0], (px - 0.045 * py**2 + 3)[5:-5, 5:-5], atol=1e-9)
    np.testing.assert_array_equal(inside[0].bool(), (px >= 0) & (px <= 23) & (py >= 0) & (py <= 19))
    x_slope, y_slope = step.derivatives(torch.tensor(cubic)[None])
    np.testing.assert_allclose(x_slope[inner][0], (0.03 * x**2 - 0.4 * x + y)[5:-5, 5:-5], atol=1e-9)
    np.testing.assert_allclose(y_slope[inner][0], (x - 0.045 * y**2 + 3)[5:-5, 5:-5], atol=1e-9)


def test_penalties_are_derivatives_of_their_functions() -> None:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    functions = {
        "charbonnier": ((x * x + 1e-6) ** 0.45, (x * x + 1e-6) ** 0.45),
        "lorentzian": tuple(torch.log(1 + x * x / (2 * s * s)) for s in (1.5, 0.03)),
    }
    for name, pair in functions.items():
        for rho, weight in zip(pair, (PENALTIES[name].data, PENALTIES[name].smooth), strict=True):
            (slope,) = torch.autograd.grad(rho.sum(), x, retain_graph=True)
            np.testing.assert_allclose((weight(x) * x).detach(), slope, rtol=1e-9, atol=1e-12)


def test_texture_removes_illumination_and_spans_0_to_255() -> None:
    fine = texture(64, 64).astype(np.float32)
    ramp = np.linspace(0, 60, 64, dtype=np.float32)
    pictures = torch.tensor(np.stack([0.4 * fine, 0.4 * fine + ramp])[:, None])
    got = textures.texture(pictures)
    assert got.min().item() == pytest.approx(0)
    assert got.max().item() == pytest.approx(255, abs=1e-3)
    gain = (got[0].std() / pictures[0].std()).item()
    left = (got[1] - got[0]).mean((0, 1))
    assert (left[-8:].mean() - left[:8].mean()).abs() < 0.25 * gain * 60


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_noise_level_is_measured_in_spite_of_texture(noise: float) -> None:
    still = moving_pair("translation", height=100, width=100).first
    pictures = still + noise * np.random.default_rng(2).normal(size=(2, 3, 100, 100))
    got = textures.noise_level(torch.tensor(pictures))
    assert got.shape == (2, 3)
    np.testing.assert_allclose(got, noise, rtol=0.35)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_flow(pairs: dict[str, MovingPair]) -> None:
    firsts, seconds = (np.stack([getattr(p, side) for p in pairs.values()]) for side in ("first", "second"))
    here, there = classic_nl(firsts, seconds), classic_nl(firsts, seconds, device="cuda")
    assert np.abs(here - there).mean() < 5e-3
