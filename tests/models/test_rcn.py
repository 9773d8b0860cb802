import pytest
import torch
from torch import nn

from mien.errors import MienError
from mien.models.rcn import RCN, AuthorsBlock, PlainConv, RecurrentConv, Variant, fit_pools


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("maps", "classes", "parameters"),
    [(512, 3, 14_963_203), (512, 4, 14_963_716), (256, 3, 3_746_051), (128, 3, 939_139)],
)
def test_authors_network_has_their_number_of_parameters(maps: int, classes: int, parameters: int) -> None:
    assert count(RCN(classes, 2, (300, 245), maps, variant="authors-code")) == parameters


@pytest.mark.parametrize("tied", [True, False])
def test_paper_network_parameters_by_hand(tied: bool) -> None:
    m, c, layers, steps = 16, 3, 4, 3
    first = 2 * m * 25 + m + 2 * m
    layer = (m * m + m) + (1 if tied else steps) * 9 * m * m + (steps + 1) * 2 * m
    assert count(RCN(c, 2, (300, 245), m, tied=tied)) == first + layers * layer + m * c + c


def shapes(net: RCN, x: torch.Tensor) -> list[tuple[int, ...]]:
    seen: list[tuple[int, ...]] = []
    for block in net.blocks:
        block.register_forward_hook(lambda _m, _i, o: seen.append(tuple(o.shape[2:])))
    net.first.register_forward_hook(lambda _m, _i, o: seen.append(tuple(o.shape[2:])))
    net(x)
    return seen


def test_sizes_equal_table_1() -> None:
    net = RCN(4, 2, (300, 245), maps=2)
    assert shapes(net, torch.zeros(2, 2, 300, 245)) == [(296, 241), (74, 60), (18, 15), (4, 3), (2, 1)]


def test_sizes_of_the_released_network() -> None:
    net = RCN(3, 2, (300, 245), maps=2, variant="authors-code")
    assert shapes(net, torch.zeros(2, 2, 300, 245)) == [(300, 245), (75, 61), (18, 15), (9, 7)]
    assert net.pools == ((4, 4), (4, 4), (2, 2), (2, 2))


def test_sizes_of_table_one_for_appearance() -> None:
    net = RCN(4, 3, (922, 30), maps=2, kind="appearance")
    assert shapes(net, torch.zeros(2, 3, 922, 30)) == [(918, 26), (229, 26), (57, 26), (14, 6), (7, 3)]
    assert net.pools == ((4, 1), (4, 1), (4, 4), (2, 2))


def test_depth_and_recurrence_are_set_apart() -> None:
    sizes = [(296, 241), (74, 60), (18, 15), (4, 3), (2, 1)]
    for layers in range(5):
        net = RCN(4, 2, (300, 245), maps=2, layers=layers, depth=4)
        assert [type(b) for b in net.blocks] == [RecurrentConv] * layers + [PlainConv] * (4 - layers)
        assert shapes(net, torch.zeros(2, 2, 300, 245)) == sizes
        assert len(RCN(4, 2, (300, 245), maps=2, layers=layers).blocks) == layers
    assert [type(b) for b in RCN(3, variant="authors-code", maps=2, depth=2).blocks] == [AuthorsBlock] * 2
    assert [type(b) for b in RCN(3, variant="authors-code", maps=2, depth=4).blocks][3:] == [PlainConv]


def test_fewer_layers_than_recurrent_layers_raise_mien_error() -> None:
    with pytest.raises(MienError, match="depth 2 with 3") as error:
        RCN(3, maps=2, layers=3, depth=2)
    assert "`--set depth=3`" in error.value.fix


def test_plain_conv_is_convolution_normalisation_and_relu() -> None:
    torch.manual_seed(0)
    layer = PlainConv(3)
    x = torch.randn(4, 3, 6, 5)
    z = nn.functional.conv2d(x, layer.convolution.weight, padding=1)
    z = (z - z.mean((0, 2, 3), keepdim=True)) / torch.sqrt(
        z.var((0, 2, 3), correction=0, keepdim=True) + layer.norm.eps
    )
    assert torch.allclose(layer(x), z.relu(), atol=1e-5)


def test_too_small_an_input_raises_mien_error() -> None:
    with pytest.raises(MienError, match="4x9"):
        RCN(3, 2, (4, 9))


def test_fit_pools_halves_all_factors_together() -> None:
    assert fit_pools(300, (4, 4, 4, 2), 5, 0) == fit_pools(245, (4, 4, 4, 2), 5, 0) == (4, 4, 4, 2)
    assert fit_pools(28, (4, 4, 4, 2), 5, 0) == (2, 2, 2, 1)
    assert fit_pools(6, (4, 4, 4, 2), 5, 0) == (1, 1, 1, 1)


def test_recurrent_conv_equals_equations_6_and_7() -> None:
    torch.manual_seed(0)
    layer = RecurrentConv(3, steps=3, tied=True).eval()
    for norm in layer.norms:
        assert isinstance(norm, nn.BatchNorm2d)
        norm.running_mean, norm.running_var = torch.randn(3), torch.rand(3) + 0.5
    u = torch.randn(2, 3, 6, 5)
    kernel = layer.recurrent[0]
    assert isinstance(kernel, nn.Conv2d)
    drive = torch.einsum("oi,bihw->bohw", layer.feed_forward.weight[:, :, 0, 0], u)
    drive = drive + layer.feed_forward.bias[None, :, None, None]  # type: ignore[index]
    v = torch.zeros_like(u)
    for norm in layer.norms:
        assert isinstance(norm, nn.BatchNorm2d)
        # With v(0) = 0 the first step has no recurrent part.
        padded = nn.functional.pad(v, (1, 1, 1, 1))
        back = torch.zeros_like(u)
        for dy in range(3):
            for dx in range(3):
                part = padded[:, :, dy : dy + 6, dx : dx + 5]
                back += torch.einsum("oi,bihw->bohw", kernel.weight[:, :, dy, dx], part)
        mean, var = norm.running_mean, norm.running_var
        assert mean is not None
        assert var is not None
        z = (drive + back - mean[None, :, None, None]) / torch.sqrt(var + norm.eps)[None, :, None, None]
        v = torch.relu(z * norm.weight[None, :, None, None] + norm.bias[None, :, None, None])
    assert torch.allclose(layer(u), v, atol=1e-5)


@pytest.mark.parametrize("block", [RecurrentConv, AuthorsBlock])
def test_tied_equals_untied_with_equal_kernels(block: type[RecurrentConv] | type[AuthorsBlock]) -> None:
    torch.manual_seed(0)
    tied, untied = block(4, 3, True), block(4, 3, False)
    state = tied.state_dict()
    for n in range(3):
        state[f"recurrent.{n}.weight"] = state["recurrent.0.weight"]
    untied.load_state_dict(state)
    x = torch.randn(2, 4, 7, 7)
    assert torch.allclose(tied(x), untied(x))


@pytest.mark.parametrize("variant", ["paper", "authors-code"])
@pytest.mark.parametrize(("layers", "depth"), [(0, None), (1, None), (4, None), (0, 4), (2, 4)])
def test_gradients_reach_every_parameter(variant: Variant, layers: int, depth: int | None) -> None:
    net = RCN(3, 3, (28, 28), maps=4, layers=layers, variant=variant, depth=depth)
    nn.functional.cross_entropy(net(torch.randn(6, 3, 28, 28)), torch.tensor([0, 1, 2] * 2)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name


def test_gradient_against_finite_differences() -> None:
    torch.manual_seed(0)
    layer = RecurrentConv(2, 2, True).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,), eps=1e-6, atol=1e-4)
