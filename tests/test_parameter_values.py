"""Values of parameters: read from text, refused with the range and the default."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from mien.errors import MienError
from mien.parameters import Not, OnlyIf, Parameters, Preset, in_words, with_preset


class Some(Parameters):
    """Parameters of every kind."""

    preset: str = "plain"
    epochs: Annotated[int, Field(ge=1, le=100, description="Epochs.")] = 20
    lr: Annotated[float, Field(ge=0, description="Rate.")] = 0.1
    shuffle: Annotated[bool, Field(description="Shuffle.")] = False
    loss: Annotated[Literal["mean", "sum"], Field(description="Loss.")] = "mean"
    alphas: Annotated[tuple[float, ...], Field(min_length=1)] = (8.0,)
    size: tuple[int, int] = (3, 4)
    grids: tuple[tuple[int, int], ...] = ((1, 1),)
    word: str = "x"
    weight: Annotated[float, OnlyIf(medium="frames", loss="sum")] = 0.5
    other: Annotated[float, OnlyIf(loss=Not("mean"))] = 0.5


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "3", 3),
        ("epochs", "3.0", 3),
        ("lr", "0.5", 0.5),
        ("lr", "2", 2.0),
        ("lr", "3e-2", 0.03),
        ("shuffle", "true", True),
        ("alphas", "[1, 2]", (1.0, 2.0)),
        ("size", "[5,6]", (5, 6)),
        ("grids", "[[1,2],[3,4]]", ((1, 2), (3, 4))),
        ("word", "7", "7"),
        ("size", (5, 6), (5, 6)),
        ("size", [5, 6], (5, 6)),
    ],
)
def test_text_is_read_as_the_type_of_the_parameter(name: str, text: Any, value: object) -> None:
    read = getattr(Some.read({name: text}, "some"), name)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "-3", "a whole number from 1 to 100"),
        ("epochs", "1.5", "a whole number from 1 to 100"),
        ("epochs", "many", "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", 1e300, "a whole number"),
        ("epochs", None, "a whole number"),
        ("lr", "-1", "a number from 0"),
        ("lr", "NaN", "a number from 0"),
        ("lr", "Infinity", "a number from 0"),
        ("lr", float("nan"), "a number from 0"),
        ("lr", "true", "a number from 0"),
        ("lr", str(1 << 53), "a number from 0"),
        ("shuffle", "1", "true or false"),
        ("shuffle", "yes", "true or false"),
        ("loss", "median", "one of mean, sum"),
        ("alphas", "[]", "numbers"),
        ("alphas", "3", "numbers"),
        ("alphas", "[true]", "numbers"),
        ("size", "[1]", "2 whole numbers"),
        ("size", "[1,2,3]", "2 whole numbers"),
        ("size", "[[[[", "2 whole numbers"),
        ("size", "[" * 100_000, "2 whole numbers"),
        ("grids", "[[1]]", "lists of 2 whole numbers"),
        ("word", 3, "text"),
    ],
)
def test_a_wrong_value_is_refused_with_the_range_and_the_default(name: str, value: Any, expected: str) -> None:
    with pytest.raises(MienError) as told:
        Some.read({name: value}, "some")
    assert told.value.found.startswith(f"{name} is ")
    assert expected in told.value.expected
    assert f"--set {name}=" in told.value.fix
    offered = told.value.fix.split(f"{name}=")[1].rstrip("`.")
    assert getattr(Some.read({name: offered}, "some"), name) == Some.model_fields[name].default


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(MienError, match=r"some has no parameter 'epoch'.*`--set epochs=3`"):
        Some.read({"epoch": 3}, "some")
    with pytest.raises(MienError, match=r"none has no parameter 'x'.*none at all"):
        Parameters.read({"x": 1}, "none")


def test_presets_stand_between_the_defaults_and_what_is_given() -> None:
    presets = {"plain": Preset("Plain."), "long": Preset("Long.", {"epochs": 90, "lr": 0.2})}
    made = with_preset(Some, presets, {"preset": "long", "lr": "0.3"}, "some", "mien systems some")
    assert (made.epochs, made.lr, made.word) == (90, 0.3, "x")
    with pytest.raises(MienError, match=r"`--set epochs=90`"):
        with_preset(Some, presets, {"preset": "long", "epochs": 0}, "some", "mien systems some")
    with pytest.raises(MienError, match="`long`"):
        with_preset(Some, presets, {"preset": "lang"}, "some", "mien systems some")


def test_parameters_without_effect_are_refused_where_they_were_given() -> None:
    made = Some.read({"weight": 0.7}, "some")
    with pytest.raises(MienError, match=r"weight=0.7 has no effect in some here.*loss=sum"):
        made.require_effect(["weight"], "some", ["frames"])
    made.require_effect([], "some", ["frames"])
    summed = Some.read({"weight": 0.7, "loss": "sum"}, "some")
    summed.require_effect(["weight", "other"], "some", ["frames"])
    summed.require_effect(["weight"], "some", ["flow", "frames"])
    with pytest.raises(MienError, match="frames, without which"):
        summed.require_effect(["weight"], "some", ["flow"])
    with pytest.raises(MienError, match="loss other than mean"):
        made.require_effect(["other"], "some")


def test_parameters_cannot_be_changed_and_go_to_json_and_back() -> None:
    made = Some.read({"alphas": "[1,2.5]"}, "some")
    with pytest.raises(Exception, match="frozen"):
        made.epochs = 3
    assert Some.read(made.model_dump(mode="json"), "some") == made
    assert Some.defaults()["size"] == [3, 4]


def test_ranges_in_words() -> None:
    assert in_words({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}) == "a number above 0 to below 1"
    assert in_words(Some.schema_of("alphas")) == "1 or more numbers"
    assert Some.schema_of("weight")["only_if"] == "frames and loss=sum"
