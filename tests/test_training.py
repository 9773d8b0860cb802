import numpy as np
import pytest
import torch
from torch import nn

from mien.errors import MienError
from mien.training import NetClassifier, Schedule, balanced_loss, fit, mirror_flow


def clips(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = random.normal(size=(n, 3, 28, 28)).astype(np.float32)
    x[:, 0] += 2.0 * y[:, None, None]
    return x, y, [("d", str(i % 5)) for i in range(n)]


def small() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(48, 3))


def test_balanced_loss_is_the_mean_of_the_classes_own_losses() -> None:
    logits = torch.randn(12, 3)
    y = torch.tensor([0] * 8 + [1] * 3 + [2])
    single = nn.functional.cross_entropy(logits, y, reduction="none")
    by_class = torch.stack([single[y == c].mean() for c in range(3)]).mean()
    assert torch.allclose(balanced_loss(logits, y), by_class)


def test_balanced_loss_ignores_a_class_the_batch_lacks() -> None:
    logits, y = torch.randn(6, 3), torch.tensor([0, 0, 0, 0, 1, 1])
    single = nn.functional.cross_entropy(logits, y, reduction="none")
    assert torch.allclose(balanced_loss(logits, y), (single[:4].mean() + single[4:].mean()) / 2)


def test_mirror_twice_is_nothing_and_negates_horizontal_motion() -> None:
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(mirror_flow(mirror_flow(x)), x)
    assert torch.equal(mirror_flow(x)[:, 0], -x[:, 0].flip(-1))
    assert torch.equal(mirror_flow(x)[:, 1:], x[:, 1:].flip(-1))


def test_same_seed_same_network_other_seed_another() -> None:
    x, y, groups = clips()
    schedule = Schedule(epochs=3, batch_size=8, lr=0.1)
    first, second, third = (
        NetClassifier(small, schedule).fit(x, y, groups, seed=s).predict_proba(x) for s in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_training_leaves_the_global_generator_alone() -> None:
    x, y, groups = clips()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    NetClassifier(small, Schedule(epochs=1, batch_size=8)).fit(x, y, groups, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_learns_what_can_be_learned() -> None:
    x, y, groups = clips()
    classifier = NetClassifier(small, Schedule(epochs=60, batch_size=8, lr=0.1)).fit(x, y, groups, seed=0)
    assert (classifier.predict_proba(x).argmax(1) == y).all()
    assert classifier.curves[0][-1] < classifier.curves[0][0]


def test_members_are_averaged() -> None:
    x, y, groups = clips()
    both = NetClassifier(small, Schedule(epochs=2, batch_size=8), members=2).fit(x, y, groups, seed=0)
    alone = [torch.softmax(model(torch.from_numpy(x)), 1) for model in both.models]
    assert np.allclose(both.predict_proba(x), (sum(alone) / 2).detach().numpy(), atol=1e-6)  # type: ignore[union-attr]


def test_mirrored_prediction_is_the_same_for_a_clip_and_its_mirror_image() -> None:
    x, y, groups = clips()
    classifier = NetClassifier(small, Schedule(epochs=2, batch_size=8), mirror=mirror_flow).fit(x, y, groups, seed=0)
    mirrored = mirror_flow(torch.from_numpy(x)).numpy()
    assert np.allclose(classifier.predict_proba(x), classifier.predict_proba(mirrored), atol=1e-6)


def test_progress_reaches_one() -> None:
    x, y, groups = clips()
    shares: list[float] = []
    NetClassifier(small, Schedule(epochs=4, batch_size=8), members=2).fit(x, y, groups, progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert len(shares) == 8


def test_unshuffled_batches_follow_the_table() -> None:
    seen: list[int] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(1, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend(int(v) for v in x[:, 0])
            out: torch.Tensor = self.line(x)
            return out

    x = torch.arange(7.0)[:, None]
    fit(Spy(), x, torch.tensor([0, 1] * 3 + [0]), Schedule(epochs=1, batch_size=4, shuffle=False))
    assert seen == list(range(7))


def test_early_stop_on_a_flat_loss() -> None:
    x, y, _ = clips()
    model = small()
    losses = fit(
        model, torch.from_numpy(x), torch.from_numpy(y), Schedule(epochs=50, batch_size=30, lr=0.0, min_change=1e-3)
    )
    assert len(losses) == 2


def test_diverging_training_says_what_to_type() -> None:
    x, y, groups = clips()
    with pytest.raises(MienError, match="learning rate"):
        NetClassifier(small, Schedule(epochs=50, batch_size=30, lr=1e38)).fit(x, y, groups)
