"""The image-based CNN: votes, the class of a frame, VGG-16's size and names, and which backbone it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from mien.classifiers.net import NetClassifier
from mien.errors import MienError
from mien.models.image_cnn import VGG16, VGG_FACE_MEAN, ImageCNN, vote
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS


def slow_vote(p: np.ndarray) -> int:
    """The rule as it is told: at least half, else most; among equals the greatest mean probability."""
    votes = [int(frame.argmax()) for frame in p]
    counts = [votes.count(c) for c in range(p.shape[1])]
    at_least_half = [c for c, n in enumerate(counts) if 2 * n >= len(votes)]
    if len(at_least_half) == 1:
        return at_least_half[0]
    best = [c for c, n in enumerate(counts) if n == max(counts)]
    return max(best, key=lambda c: p[:, c].mean())


def test_vote_follows_the_majority_rule() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1], (400, 6)).astype(np.float32)
    shares = vote(torch.from_numpy(p))
    assert torch.allclose(shares.sum(1), torch.ones(400))
    assert shares.argmax(1).tolist() == [slow_vote(clip) for clip in p]
    ties = [sorted(np.bincount(c.argmax(1), minlength=3))[-2:] for c in p]
    assert sum(a == b for a, b in ties) > 20  # the tie was met
    # One sure frame does not outweigh two hesitant ones, as a mean would have it.
    clip = np.array([[[0.4, 0.6], [0.4, 0.6], [1.0, 0.0]]], np.float32)
    assert vote(torch.from_numpy(clip)).argmax() == 1
    assert clip.mean(1).argmax() == 0


def test_objective_gives_each_frame_the_class_of_its_clip() -> None:
    torch.manual_seed(0)
    net = ImageCNN(3, 1, maps=4).eval()
    x, y = 255 * torch.rand(2, 3, 16, 16, 1), torch.tensor([2, 0])
    alone = [F.cross_entropy(net.net(x[b, t].permute(2, 0, 1)[None]), y[b : b + 1]) for b in range(2) for t in range(3)]
    assert torch.allclose(net.objective(x, y, F.cross_entropy), torch.stack(alone).mean(), atol=1e-5)
    p = torch.softmax(torch.stack([net.net(f.permute(0, 3, 1, 2)) for f in x]), 2)
    assert torch.allclose(net(x).exp(), vote(p), atol=1e-5)
    assert torch.allclose(torch.softmax(net(x), 1), vote(p), atol=1e-5)


def plain_vgg(state: dict[str, Tensor], x: Tensor) -> Tensor:
    x = x - torch.tensor(VGG_FACE_MEAN)[:, None, None]
    for place in (0, 2, "M", 5, 7, "M", 10, 12, 14, "M", 17, 19, 21, "M", 24, 26, 28, "M"):
        if place == "M":
            x = F.max_pool2d(x, 2)
        else:
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).clamp_min(0)
    x = x.flatten(1)
    for place in (0, 3):
        x = F.linear(x, state[f"classifier.{place}.weight"], state[f"classifier.{place}.bias"]).clamp_min(0)
    return F.linear(x, state["classifier.6.weight"], state["classifier.6.bias"])


def test_vgg16_has_its_size_and_layers() -> None:
    with torch.device("meta"):
        net = VGG16(1000)
    assert sum(p.numel() for p in net.parameters()) == 138_357_544
    assert sum(p.numel() for p in net.classifier[6].parameters()) == 138_357_544 - 134_260_544
    maps = torch.empty(1, 3, 224, 224, device="meta")
    shapes = []
    for layer in net.features:
        maps = layer(maps)
        if isinstance(layer, torch.nn.MaxPool2d):
            shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]


@pytest.mark.slow
def test_vgg16_equals_a_plain_network_and_loads_both_kinds_of_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = ImageCNN(3, 3, "vgg-face").eval()
    net = source.net
    assert isinstance(net, VGG16)
    x = 255 * torch.rand(1, 3, 224, 224)
    state = net.state_dict()
    with torch.no_grad():
        expected = plain_vgg(state, x)
        assert torch.allclose(net(x), expected, atol=1e-4)
    stages = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
    names = {f"features.{n}": f"conv{s}_{i + 1}" for s, places in stages.items() for i, n in enumerate(places)}
    names |= {f"classifier.{3 * i}": f"fc{6 + i}" for i in range(3)}
    for renamed in (False, True):
        file = tmp_path / "vgg.safetensors"
        tensors = {}
        for key, value in state.items():
            layer, _, kind = key.rpartition(".")
            tensors[f"{names[layer]}.{kind}" if renamed else key] = value.contiguous()
        save_file(tensors, file)
        other = ImageCNN(4, 3, "vgg-face").eval()
        other.load(file)
        assert isinstance(other.net, VGG16)
        with torch.no_grad():
            assert torch.equal(other.net.features(x), net.features(x))
        assert torch.equal(other.net.state_dict()["classifier.3.weight"], state["classifier.3.weight"])
        assert other.net.classifier[6].out_features == 4


def test_small_counts_and_which_backbone_it_is(tmp_path: Path) -> None:
    system = SYSTEMS["image-cnn"]
    counts = {}
    for preset in ("cpu", "small"):
        p = system.with_parameters({"preset": preset})
        net = ImageCNN(5, 3 if p.colour else 1, maps=p.maps)
        counts[preset] = sum(v.numel() for v in net.parameters())
    assert counts == {"cpu": 77_717, "small": 19_645}
    given = system.with_parameters({"weights": str(tmp_path / "none.safetensors")})
    assert system.recipe("frames", given).shape == (10, 224, 224, 3)
    assert system.recipe("frames").shape == (10, 64, 64, 3)
    for parameters, backbone, origin in (
        (system.with_parameters(), "small", "scratch"),
        (given, "vgg-face", "a local file"),
    ):
        classifier = system.build(3, parameters)
        assert isinstance(classifier, NetClassifier)
        assert classifier.chosen == {"backbone": backbone, "from": origin}


@pytest.mark.parametrize(
    ("given", "told"),
    [({"backbone": "vgg-face"}, "without its weights"), ({"weights": "none.safetensors"}, "no weights file")],
)
def test_missing_weights_raise_mien_error(given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = SYSTEMS["image-cnn"]
    # The file is looked for before 134 million numbers are drawn.
    monkeypatch.setattr("mien.models.image_cnn.VGG16.__init__", lambda *_: pytest.fail("built in vain"))
    x = ArrayInputs(np.zeros((4, 1, 16, 16, 3), np.uint8))
    with pytest.raises(MienError, match=told):
        system.build(2, system.with_parameters(given)).fit(x, np.arange(4) % 2, [("d", "s")] * 4)


def test_wrong_arguments_raise_mien_error() -> None:
    with pytest.raises(MienError, match="grey frames"):
        ImageCNN(3, 1, "vgg-face")
    with pytest.raises(MienError, match="at least two"):
        ImageCNN(1)
    with pytest.raises(MienError, match="backbone"):
        ImageCNN(3, backbone="vgg")
