"""Trained systems as ONNX files that answer what `predict_proba` answers, for programs without torch or mien.

One graph holds the whole classifier: scaling, every member of a committee, the mirror image, the softmax and the
average. A file is written only after onnxruntime has given torch's probabilities for it. What the file is, its card
included, stands in its own metadata, which `OnnxClassifier` and any other program can read.
"""

from __future__ import annotations

import copy
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

import mien
from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import ModelCard
from mien.classifiers.net import NetClassifier
from mien.errors import MienError
from mien.export.onnx_file import Inputs, OnnxClassifier, needed, require_packages
from mien.io.atomic import private_folder, require_writable_file, unwritable, write_atomically
from mien.preprocessing import Recipe
from mien.systems import system as system_named

TOLERANCE: Final = 1e-4
"""Largest difference of a probability from torch's with which a file is still written."""

OPSET: Final = 18
LARGEST: Final = (1 << 31) - (1 << 20)
"""Bytes of weights that fit one file: the format (protobuf) ends at 2 GiB."""

BATCHES: Final = (1, 16)
"""Clips at once for which times are taken."""


class Answer(nn.Module):
    """A whole trained classifier as one network: what a recipe makes, to class probabilities.

    Args:
        classifier: A trained one; its networks are taken as they are, in evaluation mode and on the CPU.
    """

    def __init__(self, classifier: NetClassifier) -> None:
        super().__init__()
        there = all(p.device.type == "cpu" for m in classifier.models for p in m.parameters())
        models = classifier.models if there else [copy.deepcopy(m).cpu() for m in classifier.models]
        self.models = nn.ModuleList(models).eval()
        self.offset, self.factor = classifier.scale
        self.mirror, self.views = classifier.mirror, tuple(classifier.views)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) to (B, C), rows summing to 1."""
        if (self.offset, self.factor) != (0.0, 1.0):
            x = (x - self.offset) * self.factor
        looks = [x] if self.mirror is None else [x, self.mirror(x)]
        if self.views:
            looks = [view(look) for view in self.views for look in looks]
        x = torch.cat(looks) if len(looks) > 1 else x
        total = torch.softmax(self.models[0](x), 1)
        for model in self.models[1:]:
            total = total + torch.softmax(model(x), 1)
        if len(looks) > 1:
            total = total.view(len(looks), -1, total.shape[1]).mean(0)
        return total / len(self.models)


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to answer, measured.

    Attributes:
        name: "torch", "onnxruntime" or "int8".
        file: Where it is kept; None for torch.
        size: Bytes of the file; of the weights for torch.
        difference: Largest difference of a probability from torch's.
        agreement: Share of the inputs that get torch's class.
        milliseconds: For each number of clips at once, the median time of a call.
    """

    name: str
    file: str | None
    size: int
    difference: float
    agreement: float
    milliseconds: Mapping[int, float]


def recipe_of(card: ModelCard) -> Recipe:
    """The recipe whose output a checkpoint reads; where it was trained on several kinds of clips, of the first."""
    system = system_named(card.system)
    medium = next((m for m in system.recipes if m in card.recipes), next(iter(system.recipes)))
    return system.recipe(medium, card.parameters)


def made_up_inputs(shape: Sequence[int], span: tuple[float, float], n: int, seed: int = 0) -> Inputs:
    """Noise (n, *shape) within a range, in turn over all of it, a tenth and a hundredth of it.

    Args:
        shape: Of one input.
        span: Least and greatest value. The smaller noise lies about 0 where that is inside, else about the middle.
        n: Inputs.
        seed: Same seed, same noise.
    """
    low, high = span
    rest = 0.0 if low < 0 < high else (low + high) / 2
    noise = np.random.default_rng(seed).uniform(low, high, (n, *shape)).astype(np.float32)
    strength = np.float32(0.1) ** (np.arange(n) % 3)
    return (rest + (noise - rest) * strength.reshape(-1, *[1] * len(shape))).astype(np.float32)


def export_onnx(
    classifier: Classifier,
    card: ModelCard,
    out: Path,
    *,
    int8: bool = False,
    clips: Inputs | None = None,
    threads: int | None = None,
    seconds: float = 0.1,
) -> list[Measured]:
    """Write a trained classifier as ONNX, after checking that it answers as torch does.

    Args:
        classifier: A trained deep system.
        card: Its card.
        out: The file, ending in .onnx.
        int8: Write a second file, `NAME.int8.onnx`, with weights and activations of eight bits. It is measured, not
            held to `TOLERANCE`.
        clips: (N, *shape), N > 0: inputs that set the ranges of the eight bits, and on which both files are measured;
            None takes synthetic ones.
        threads: For the times; None takes torch's number.
        seconds: How long each time is taken.

    Returns:
        torch, the file, and the second file where there is one.

    Raises:
        MienError: A package is missing, nothing is trained, a file is there already, the shape of the card is not that
            of the network, the file would be too large, or its answers differ.
    """
    require_packages()
    files = [out, out.with_suffix(".int8.onnx")] if int8 else [out]
    check_target(files)
    answer = checked(classifier, card)
    threads = threads or torch.get_num_threads()
    recipe = recipe_of(card)
    test = made_up_inputs(card.shape, recipe.range, 6)
    content = _labelled(_graph(answer, test[:3]), card, recipe, "float32", 0.0)
    made = OnnxClassifier(content, threads)
    # By ones and by fives: a graph that had kept the number of clips it was traced with would stop here.
    got = np.concatenate([made.predict_proba(test[:1]), made.predict_proba(test[1:], 5)])
    wanted = classifier.predict_proba(test)
    difference = float(np.abs(got - wanted).max())
    if clips is not None:
        test = np.asarray(clips, np.float32)
        wanted = classifier.predict_proba(test)
        difference = max(difference, float(np.abs(made.predict_proba(test) - wanted).max()))
    if not difference <= TOLERANCE:
        raise MienError(
            f"onnxruntime's probabilities differ from torch's by up to {difference:.2g}; nothing was written.",
            f"at most {TOLERANCE:g}.",
            "the versions in constraints.txt (torch, onnx, onnxscript, onnxruntime).",
        )
    content = _labelled(content, card, recipe, "float32", difference)
    _write(out, content)
    rows = [
        Measured("torch", None, _weight_bytes(answer), 0.0, 1.0, _times(_with_threads(answer, threads), test, seconds)),
        _measured("onnxruntime", out, content, test, wanted, threads, seconds),
    ]
    if int8:
        calibration = made_up_inputs(card.shape, recipe.range, 24, seed=1) if clips is None else test
        small = quantised(content, calibration)
        row = _measured("int8", files[1], small, test, wanted, threads, seconds)
        _write(files[1], _labelled(small, card, recipe, "int8", row.difference))
        rows.append(row)
    return rows


def require_deep(card: ModelCard) -> None:
    """Refuses systems without a network.

    Raises:
        MienError: An unknown system, or one without a network.
    """
    known = system_named(card.system)
    built = known.build(len(card.classes), known.with_parameters(card.parameters))
    if not isinstance(built, NetClassifier):
        raise MienError(
            f"{card.system} has no network.", "a checkpoint of a deep system.", "`mien systems`, e.g. strcn-g."
        )


def check_target(files: Sequence[Path]) -> None:
    """Refuses, before any work, files that could not or should not be written.

    Raises:
        MienError: A folder, another ending than .onnx, or a file that is there.
    """
    for file in files:
        if file.suffix.lower() != ".onnx" or file.is_dir():
            name = (file / "model.onnx") if file.is_dir() else file.with_suffix(".onnx")
            what = "is a folder" if file.is_dir() else "is no .onnx file"
            raise MienError(f"{str(file)!r} {what}.", "a name that ends in .onnx.", f"`--onnx {name}`.")
        if file.exists():
            raise MienError(
                f"{str(file)!r} is there already.", "a new file.", "another name; or delete it, if it is not needed."
            )
        require_writable_file(file, "`--onnx` with another name.")


def checked(classifier: Classifier, card: ModelCard) -> Answer:
    """The classifier as one network, tried on an input of the card's shape.

    Raises:
        MienError: It is no deep system, or not trained; the card's shape is not that of the network; weights do not
            fit one file.
    """
    if not isinstance(classifier, NetClassifier) or not classifier.models:
        raise MienError(
            f"{card.system} holds no trained network.",
            "a deep system after `fit`.",
            "`mien train NAME=FOLDER --system strcn-g --out model.safetensors` (`mien systems` lists systems).",
        )
    answer = Answer(classifier)
    size = _weight_bytes(answer)
    if size > LARGEST:
        raise MienError(
            f"The weights take {size / 2**30:.1f} GiB.",
            "less than 2 GiB, the limit of one ONNX file.",
            "fewer members.",
        )
    try:
        with torch.inference_mode():
            shape = tuple(answer(torch.zeros(2, *card.shape)).shape)
    except (RuntimeError, IndexError, ValueError) as error:
        wanted = recipe_of(card)
        raise MienError(
            f"The network cannot read an input of the card's shape {card.shape} ({str(error).splitlines()[0]}).",
            f"the shape that its recipe gives: {wanted.shape} ({wanted.axes}).",
            "the checkpoint as `mien train` wrote it.",
        ) from None
    if shape != (2, len(card.classes)):
        raise MienError(
            f"The network has {shape[1]} classes, the card {len(card.classes)}.",
            "the same number.",
            "the card as written.",
        )
    return answer


def quantised(content: bytes, calibration: Inputs) -> bytes:
    """The same graph with weights and activations of eight bits.

    Static: the ranges of activations are fixed beforehand. Ranges taken anew from each batch would make an answer
    depend on the clips beside it. Convolutions in time stay as they are.

    Args:
        content: A float file.
        calibration: (N, *shape), inputs that show how large activations get.
    """
    needed("onnxruntime")
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.rows: Iterator[Mapping[str, Inputs]] = iter([{name: x[None]} for x in calibration])

        def get_next(self) -> Mapping[str, Inputs] | None:
            return next(self.rows, None)

    with private_folder("mien-int8-") as folder, _quietly():
        whole, ready, small = (Path(folder) / f"{name}.onnx" for name in ("whole", "ready", "small"))
        whole.write_bytes(content)
        quantization.shape_inference.quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(small),
            Reader("input"),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=_convolutions_in_time(ready),
            per_channel=True,
            # Weights use seven of their bits: sums of eight overflow on processors without VNNI instructions.
            reduce_range=True,
        )
        return small.read_bytes()


def _convolutions_in_time(file: Path) -> list[str]:
    """Names of 3-D convolutions: onnxruntime's for eight bits takes up to forty times as long as that for floats."""
    graph = needed("onnx").load(file).graph
    weights = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "Conv" and weights.get(node.input[1]) == 5]


def _graph(answer: Answer, example: Inputs) -> bytes:
    """The network as ONNX, for any number of clips."""
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            answer,
            (torch.from_numpy(example),),
            input_names=["input"],
            output_names=["probabilities"],
            # Not a named dimension: torch chooses its way to convolve by the number of clips, which a name forbids.
            dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _labelled(content: bytes, card: ModelCard, recipe: Recipe, precision: str, difference: float) -> bytes:
    """The file with what it is in its metadata."""
    onnx = needed("onnx")
    model = onnx.load_from_string(content)
    for node in model.graph.node:
        # Where in torch's own code each node came from: larger than many a network.
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "clips"
    model.producer_name, model.producer_version = "mien", mien.__version__
    model.doc_string = f"{card.system}: {', '.join(card.classes)}. Licence: {card.licence}"
    onnx.helper.set_model_props(
        model,
        {
            "system": card.system,
            "classes": json.dumps(card.classes),
            "recipes": json.dumps(card.recipes),
            "recipe": recipe.fingerprint,
            "axes": "N" + recipe.axes.removeprefix("K"),
            "range": json.dumps(recipe.range),
            "precision": precision,
            "largest_difference": f"{difference:.3g}",
            "card": json.dumps(asdict(card)),
        },
    )
    labelled: bytes = model.SerializeToString()
    return labelled


def _measured(
    name: str, file: Path, content: bytes, test: Inputs, wanted: Inputs, threads: int, seconds: float
) -> Measured:
    made = OnnxClassifier(content, threads)
    got = made.predict_proba(test)
    return Measured(
        name,
        str(file),
        len(content),
        float(np.abs(got - wanted).max()),
        float((got.argmax(1) == wanted.argmax(1)).mean()),
        _times(made.predict_proba, test, seconds),
    )


def _with_threads(answer: Answer, threads: int) -> Callable[[Inputs], Inputs]:
    def ask(x: Inputs) -> Inputs:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                return answer(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]
        finally:
            torch.set_num_threads(before)

    return ask


def _times(ask: Callable[[Inputs], Inputs], test: Inputs, seconds: float) -> dict[int, float]:
    """Median milliseconds of a call for each of `BATCHES`: of five calls or more, of fewer where one takes long."""
    taken = {}
    for n in BATCHES:
        x = np.ascontiguousarray(np.resize(test, (n, *test.shape[1:])))
        ask(x)
        times: list[float] = []
        while sum(times) < seconds or (len(times) < 5 and sum(times) < 10 * seconds):
            started = time.perf_counter()
            ask(x)
            times.append(time.perf_counter() - started)
        taken[n] = 1000 * statistics.median(times)
    return taken


def _weight_bytes(model: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(path, error, "`--onnx` with another name.") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the remarks of exporters, which are about their own insides."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "root")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(None if name == "root" else name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(None if name == "root" else name).setLevel(level)
