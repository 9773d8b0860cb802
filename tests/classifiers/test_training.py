from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from mien.classifiers.augment import mirror_flow, shifted_views
from mien.classifiers.batches import CopyBatches
from mien.classifiers.losses import LOSSES, balanced_loss, focal_loss, printed_loss
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule
from mien.classifiers.state import read_state, write_state
from mien.classifiers.training import device_of, fit
from mien.errors import MienError
from mien.models.masked import learn_mask, untrained
from mien.models.rcn import RCN, Variant
from mien.preprocessing.inputs import ArrayInputs, Inputs


def clips(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = random.normal(size=(n, 3, 28, 28)).astype(np.float32)
    x[:, 0] += 2.0 * y[:, None, None]
    return x, y, [("d", str(i % 5)) for i in range(n)]


def small(_: object = None) -> nn.Module:
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


def test_shifted_views_move_the_clip_and_their_answers_are_averaged() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    moved = [view(x)[0, 0] for view in shifted_views(1)]
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")[0, 0]
    for m, (down, right) in zip(moved, [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], strict=True):
        assert all(m[r, c] == padded[1 + r - down, 1 + c - right] for r in range(3) for c in range(4))
    assert shifted_views(0) == []
    assert len(shifted_views(2)) == 9
    clip, y, groups = clips()
    classifier = NetClassifier(small, Schedule(epochs=2, batch_size=8), mirror=mirror_flow, views=shifted_views(1)).fit(
        clip, y, groups, seed=0
    )
    together = classifier.predict_proba(clip)
    classifier.views = ()
    alone = [classifier.predict_proba(view(torch.from_numpy(clip)).numpy()) for view in shifted_views(1)]
    assert np.allclose(together, np.mean(alone, 0), atol=1e-6)
    assert not np.allclose(together, alone[0], atol=1e-6)


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


def test_focal_loss_written_out() -> None:
    logits, y = torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    p = torch.softmax(logits, 1)
    expected = sum(
        -(1 - (y == c).sum() / 60) * (1 - p[i, c]) ** 2 * torch.log(p[i, c]) for i, c in enumerate(y.tolist())
    )
    assert torch.allclose(focal_loss(logits, y), expected / 6)


def test_printed_loss_adds_the_other_classes_of_the_label_vector() -> None:
    logits, y = torch.randn(9, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3])
    p = torch.softmax(logits, 1)
    label = nn.functional.one_hot(y, 4)
    p_t = (p**label) * (1 - p) ** (1 - label)  # equation 9, element by element
    beta = 9 / (4 * torch.bincount(y)[y])
    assert torch.allclose(printed_loss(logits, y), (-beta * p_t.log().sum(1)).mean())
    assert torch.allclose(LOSSES["printed_unweighted"](logits, y), -p_t.log().sum(1).mean())
    two, which = logits[:, :2], y % 2
    assert torch.allclose(printed_loss(two, which), 2 * balanced_loss(two, which))


def test_printed_loss_stays_finite_where_a_probability_rounds_to_one() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = printed_loss(logits, torch.tensor([1, 2]))
    (gradient,) = torch.autograd.grad(loss, [logits])
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


PAPER = Schedule(40, 20, lr=1e-3, decay=0.8, weight_decay=5e-4, loss="balanced", min_change=1e-3)


def few(n: int = 9) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(3)
    y = np.arange(n) % 3
    return (random.normal(size=(n, 2, 8, 7)) + y[:, None, None, None]).astype(np.float32), y, [("d", "s")] * n


def tiny(inputs: Inputs) -> nn.Module:
    channels, height, width = inputs.shape
    return RCN(3, channels, (height, width), maps=2, layers=1)


def test_without_copies_as_many_steps_are_taken_as_with_them_and_identical_copies_change_nothing() -> None:
    x, y, groups = few()
    same = ArrayInputs(np.repeat(x[:, None], 50, 1), copies=50)
    copied = NetClassifier(tiny, PAPER).fit(same, y, groups, seed=2)
    bare = NetClassifier(tiny, replace(PAPER, repeats=50)).fit(x, y, groups, seed=2)
    assert copied.curves == bare.curves
    assert copied.steps == bare.steps
    assert copied.steps[0] % 23 == 0
    assert copied.steps[0] > 2 * 23
    assert np.array_equal(copied.predict_proba(same), bare.predict_proba(x))
    once = NetClassifier(tiny, PAPER).fit(x, y, groups, seed=2)
    assert once.steps[0] < 40 < copied.steps[0]  # the same stop rule, an epoch being one step


def test_a_number_of_steps_overrules_epochs_and_the_stop_rule() -> None:
    x, y, groups = few()
    wanted = replace(PAPER, repeats=4, steps=7)  # 2 steps an epoch
    net = NetClassifier(tiny, wanted).fit(x, y, groups)
    assert net.steps == [7]
    assert len(net.curves[0]) == 4
    assert net.fit_log()["steps"] == [7]
    moved: list[float] = []
    count = NetClassifier(tiny, replace(wanted, decay="cosine")).fit(x, y, groups, progress=moved.append)
    assert moved == [0.25, 0.5, 0.75, 1.0]
    assert count.steps == [7]


def test_rows_are_clips_times_copies_then_their_mirrors() -> None:
    x = np.arange(2 * 3 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 3, 4, 4)
    rows = CopyBatches(ArrayInputs(x, copies=3), torch.from_numpy, mirror_flow)
    assert len(rows) == 12
    assert rows.labels(torch.tensor([7, 9])).tolist() == [7, 7, 7, 9, 9, 9] * 2
    batch = rows[torch.tensor([0, 4, 10])]
    assert torch.equal(batch[0], torch.from_numpy(x[0, 0]))
    assert torch.equal(batch[1], torch.from_numpy(x[1, 1]))
    assert torch.equal(batch[2], mirror_flow(torch.from_numpy(x[1, 1])))
    assert torch.equal(rows[2:5], rows[torch.arange(2, 5)])


def test_reading_batch_by_batch_trains_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, groups = clips()
    classifier = NetClassifier(small, Schedule(epochs=3, batch_size=8, lr=0.1), mirror=mirror_flow)
    held = classifier.fit(x, y, groups, seed=1).predict_proba(x)
    monkeypatch.setattr("mien.classifiers.net.IN_MEMORY", 0)
    read = classifier.fit(x, y, groups, seed=1).predict_proba(x)
    assert np.array_equal(held, read)


def test_copies_are_trained_on_and_the_first_is_tested() -> None:
    x, y, groups = clips()
    # The classes differ in the second copy only: trained on both, the first cannot tell them apart.
    blank = np.zeros_like(x)
    both = ArrayInputs(np.stack([blank, x], 1), copies=2)
    classifier = NetClassifier(small, Schedule(epochs=200, batch_size=8, lr=0.3)).fit(both, y, groups)
    assert np.ptp(classifier.predict_proba(both), axis=0).max() < 1e-6
    assert (classifier.predict_proba(x).argmax(1) == y).mean() > 0.9


def net(_: object = None) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(4, 3))  # fmt: skip


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, optimiser: Literal["sgd", "adam"], layout: torch.memory_format
) -> None:
    x, y, _ = clips()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    schedule = Schedule(epochs=6, batch_size=8, lr=0.01, optimiser=optimiser, decay="cosine")

    class StopHereError(Exception):
        pass

    def train(stop_at: float | None) -> tuple[nn.Module, list[float]]:
        def progress(share: float) -> None:
            if stop_at is not None and share > stop_at:
                raise StopHereError

        torch.manual_seed(3)
        # In memory, weights need not lie as they do in the file.
        model = net().to(memory_format=layout)  # type: ignore[call-overload]
        keep = tmp_path / "state.safetensors"
        return model, fit(model, inputs, labels, schedule, progress=progress, state_file=keep, state_seconds=0)

    whole, losses = train(None)
    # It stays until whoever trained has written the result.
    (tmp_path / "state.safetensors").unlink()
    with pytest.raises(StopHereError):
        train(0.6)
    assert (tmp_path / "state.safetensors").is_file()
    resumed, again = train(None)
    assert again == losses
    for first, second in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(first, second)


def test_a_state_of_another_network_or_half_a_state_counts_as_none(tmp_path: Path) -> None:
    x, y, _ = clips()
    path = tmp_path / "state.safetensors"
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    write_state(path, model, optimiser, [1.0])
    assert read_state(path, small(), torch.optim.SGD(small().parameters(), 0.1)) == []
    assert read_state(path, model, optimiser) == [1.0]
    sound = path.read_bytes()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for damaged in (sound[:-9], sound.replace(b"chance", b"change"), sound.replace(b"losses", b"lasses"), b""):
        path.write_bytes(damaged)
        assert read_state(path, model, optimiser) == []
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (
        len(fit(model, torch.from_numpy(x), torch.from_numpy(y), Schedule(epochs=2, batch_size=8), state_file=path))
        == 2
    )


def test_one_clip_cannot_be_trained_on_and_cuda_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MienError, match="1 clip"):
        fit(small(), torch.zeros(1, 3, 28, 28), torch.zeros(1, dtype=torch.long), Schedule(epochs=1, batch_size=8))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    with pytest.raises(MienError, match="CUDA was asked for"):
        device_of("cuda")


@pytest.mark.parametrize("variant", ["paper", "authors-code"])
def test_recurrent_networks_learn_twenty_clips_by_heart(variant: Variant) -> None:
    random = np.random.default_rng(0)
    y = np.arange(20) % 4
    flow = random.normal(size=(20, 2, 40, 33)).astype(np.float32)
    schedule = Schedule(epochs=40, batch_size=20, lr=0.05, decay="cosine", loss="balanced")
    geometry = NetClassifier(lambda i: RCN(4, 2, i.shape[1:], 16, variant=variant), schedule)  # type: ignore[arg-type]
    assert (geometry.fit(flow, y, []).predict_proba(flow).argmax(1) == y).all()
    frames = random.integers(0, 255, size=(20, 10, 12, 9, 3)).astype(np.float32)

    def appearance(inputs: Inputs) -> nn.Module:
        return untrained(inputs, 4, learn_mask(inputs, 0.5), maps=16, variant=variant)

    classifier = NetClassifier(appearance, schedule).fit(frames, y, [])
    assert (classifier.predict_proba(frames).argmax(1) == y).all()
    assert np.isfinite(classifier.curves[0]).all()


class LittleMemory(nn.Module):
    """A network on a GPU that holds `room` clips at a time; counts the batches that did not fit."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.net, self.room, self.refused = small(), room, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            self.refused += 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        out: torch.Tensor = self.net(x)
        return out


def test_a_gpu_that_is_too_small_halves_the_batch_and_says_so(tmp_path: Path) -> None:
    x, y, groups = clips()
    schedule = Schedule(epochs=3, batch_size=24, lr=0.1, optimiser="adam")
    tight = NetClassifier(lambda _: LittleMemory(7), schedule, members=2, state_file=tmp_path / "state", batch_size=20)
    with pytest.warns(UserWarning, match="memory is too small for batches of 12 clips: .* again with 6"):
        tight.fit(x, y, groups, seed=4)
    asked_for = Schedule(epochs=3, batch_size=6, lr=0.1, optimiser="adam")
    roomy = NetClassifier(lambda _: LittleMemory(100), asked_for, members=2).fit(x, y, groups, seed=4)
    assert tight.smaller_batch == 6
    assert roomy.smaller_batch is None
    assert tight.curves == roomy.curves
    for first, second in zip(tight.models, roomy.models, strict=True):
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    # The second member starts with the size that fitted the first; predicting needs no warning, being the same.
    assert tight.models[1].refused == 0
    assert np.allclose(tight.predict_proba(x), roomy.predict_proba(x), atol=1e-6)
    assert tight.models[0].refused == 2
    assert not list(tmp_path.iterdir())


def test_a_gpu_without_room_for_two_clips_is_an_error(tmp_path: Path) -> None:
    x, y, groups = clips()
    with pytest.warns(UserWarning, match="too small"), pytest.raises(MienError, match="two clips") as caught:
        NetClassifier(lambda _: LittleMemory(1), Schedule(epochs=1, batch_size=8)).fit(x, y, groups)
    assert "gpus-per-fold" in caught.value.fix


def test_a_state_of_a_smaller_batch_is_not_gone_on_with_by_a_larger_one(tmp_path: Path) -> None:
    x, y, groups = clips()
    keep = tmp_path / "state"
    schedule = Schedule(epochs=6, batch_size=20, lr=0.1)

    def stop(share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mien.classifiers.training.time.monotonic", iter(range(0, 100_000, 100)).__next__)
        with pytest.warns(UserWarning, match="too small"), pytest.raises(KeyboardInterrupt):
            NetClassifier(lambda _: LittleMemory(10), schedule, state_file=keep).fit(x, y, groups, progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["state-0-b10.safetensors"]
    whole = NetClassifier(lambda _: LittleMemory(20), schedule).fit(x, y, groups)
    after = NetClassifier(lambda _: LittleMemory(20), schedule, state_file=keep).fit(x, y, groups)
    assert after.curves == whole.curves
    with pytest.warns(UserWarning, match="too small"):
        resumed = NetClassifier(lambda _: LittleMemory(10), schedule, state_file=keep).fit(x, y, groups)
    straight = NetClassifier(lambda _: LittleMemory(10), Schedule(epochs=6, batch_size=10, lr=0.1)).fit(x, y, groups)
    assert resumed.curves == straight.curves
