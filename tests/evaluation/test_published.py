"""Published figures: every row is whole, and a run is shown only what was scored its way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mien.datasets.labels import LABEL_MAPS
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.published.claims import PublishedRow, published_for, published_rows
from mien.systems import SYSTEMS

COMPOSITE = ("casme2", "samm", "smic_hs")


def settings(protocol: str, labels: str, datasets: Sequence[str]) -> dict[str, object]:
    return {"protocol": protocol, "labels": labels, "datasets": list(datasets)}


def one(rows: Sequence[PublishedRow], method: str, column: str = "all") -> PublishedRow:
    (row,) = (row for row in rows if row.method == method and row.column == column)
    return row


@pytest.mark.parametrize("row", published_rows(), ids=lambda row: f"{row.method}-{row.protocol}-{row.column}")
def test_every_row_is_whole(row: PublishedRow) -> None:
    printed = [v for v in (row.accuracy, row.uf1, row.uar, row.uar_true) if v is not None]
    assert printed
    assert all(0.0 < v < 1.0 for v in printed)
    assert row.comparable in ("yes", "partly", "no")
    assert row.source.strip()
    assert row.why.strip().endswith(".")
    assert row.protocol in PROTOCOLS
    assert row.label_maps
    assert set(row.label_maps) <= {"own", *LABEL_MAPS}
    assert list(row.datasets) == sorted(row.datasets)
    assert row.column == "all" or row.column in row.datasets
    assert row.uar_true is None or row.uar is not None


def test_published_rows_are_unique() -> None:
    keys = [(r.method, r.source, r.protocol, r.datasets, r.column) for r in published_rows()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("protocol", ["loso", "composite"])
def test_composite_under_both_its_names(protocol: str) -> None:
    rows = published_for(settings(protocol, "megc2019", ("smic_hs", "casme2", "samm")))
    assert {row.datasets for row in rows} == {COMPOSITE}
    assert {row.column for row in rows} == {"all", *COMPOSITE}
    assert one(rows, "HTNet").comparable == "no"
    assert one(rows, "STSTNet, PyTorch release").uf1 == 0.7209
    assert one(rows, "RCN", "samm").uar == 0.6715


def test_printed_uar_of_ststnet_is_set_right() -> None:
    rows = published_for(settings("composite", "megc2019", COMPOSITE))
    row = one(rows, "STSTNet")
    assert (row.uar, row.uar_true, row.comparable) == (0.7605, 0.7186, "partly")
    assert one(rows, "STSTNet", "casme2").uar_true == 0.8190


def test_choosing_the_epoch_on_test_clips_is_never_comparable() -> None:
    best = [row for row in published_rows() if "best" in row.method]
    assert best
    assert {row.comparable for row in best} == {"no"}


def test_single_databases_take_strcn_tables() -> None:
    rows = published_for(settings("loso", "strcn4", ["casme2"]))
    assert {row.datasets for row in rows} == {("casme2",)}
    assert (one(rows, "STRCN-G").accuracy, one(rows, "STRCN-G").uf1) == (0.803, 0.747)
    lovo = published_for(settings("lovo5", "strcn4", ["casme2"]))
    assert one(lovo, "STRCN-G").accuracy == 0.833


def test_smic_has_the_same_classes_under_three_maps() -> None:
    by_map = [published_for(settings("loso", labels, ["smic_hs"])) for labels in ("own", "strcn4", "megc2019")]
    assert by_map[0] == by_map[1] == by_map[2]
    assert one(by_map[0], "SMA-STN").uf1 == 0.7683


def test_reddy_rows_are_not_shown_to_loso() -> None:
    held_out = published_for(settings("holdout_reddy", "own", ["casme_sq"]))
    assert one(held_out, "MicroExpSTCNN, last ten epochs").accuracy == 0.8220
    assert {r.comparable for r in held_out if r.method.startswith("MicroExpFuseNet")} == {"no"}
    assert published_for(settings("loso", "own", ["casme_sq"])) == []


def test_other_databases_classes_or_protocols_find_nothing() -> None:
    assert published_for(settings("loso", "megc2019", ["casme2", "samm"])) == []
    assert published_for(settings("loso", "own", ["casme2"])) == []
    assert published_for(settings("kfold_subject", "megc2019", COMPOSITE)) == []


def run(preset: str, medium: str = "frames", **changed: object) -> dict[str, object]:
    parameters = SYSTEMS["strcn-g"].with_parameters({"preset": preset, **changed}).model_dump(mode="json")
    return {
        **settings("loso", "strcn4", ["casme2"]),
        "system": "strcn-g", "parameters": parameters, "recipes": {medium: ""},
    }  # fmt: skip


def test_a_figure_is_comparable_with_the_papers_preset_on_frames_only() -> None:
    assert one(published_for(run("paper")), "STRCN-G").comparable == "partly"
    assert (
        one(published_for(run("paper", per_frame=True, flow="classic_l", maps=512)), "STRCN-G").comparable == "partly"
    )
    for other, said in (
        (run("cpu"), "preset is cpu"),
        (run("pictures"), "preset is pictures"),
        (run("paper", "flow"), "ready flow pictures"),
        (run("paper", epochs=3, flow="dis"), "sets epochs, flow"),
    ):
        row = one(published_for(other), "STRCN-G")
        assert row.comparable == "no"
        assert said in row.why
        assert one(published_for(other), "LBP-TOP").comparable == "partly"  # another system than that of the run
