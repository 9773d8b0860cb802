"""Read the weights of the two face networks out of MediaPipe's wheel and write them as safetensors.

    pip download mediapipe==0.10.14 --no-deps --python-version 3.11 --only-binary=:all: --platform manylinux_2_17_x86_64
    pip install flatbuffers tflite
    python tools/convert_face_weights.py mediapipe-0.10.14-*.whl [--out src/mien/face/weights]

The files store numbers of 16 bits, and so do ours: nothing is rounded. First come the high bytes of all numbers,
then the low ones, so that a wheel compresses them better. The networks in `mien.face` are written by hand;
here each path through the stored graph is walked backwards from an output, and what stands on it is put, in order and
with its shape checked, into the layers of the matching part.
"""

from __future__ import annotations

import argparse
import importlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from mien.face.detect import BlazeFace
from mien.face.layers import split_bytes
from mien.face.mesh import FaceMesh

FOLDER = "mediapipe/modules"


class Graph:
    """A stored network: its operations, found by the tensor they make."""

    def __init__(self, content: bytes) -> None:
        tflite = importlib.import_module("tflite")

        self.model = tflite.Model.GetRootAs(content, 0)
        self.graph = self.model.Subgraphs(0)
        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        self.makers: dict[int, tuple[str, list[int], Any]] = {}
        for i in range(self.graph.OperatorsLength()):
            op = self.graph.Operators(i)
            code = self.model.OperatorCodes(op.OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            name = code.CustomCode().decode() if name == "CUSTOM" else name
            inputs = [op.Inputs(j) for j in range(op.InputsLength())]
            for j in range(op.OutputsLength()):
                self.makers[op.Outputs(j)] = name, inputs, op

    def output(self, name: str) -> int:
        """The tensor of one output."""
        for tensor in self.graph.OutputsAsNumpy():
            if self.graph.Tensors(tensor).Name().decode() == name:
                return int(tensor)
        raise SystemExit(f"the file has no output {name!r}")

    def values(self, tensor: int) -> NDArray[Any]:
        """A stored array; one of 16 bits may be reached through its conversion to 32."""
        stored = self.graph.Tensors(tensor)
        buffer = self.model.Buffers(stored.Buffer())
        if buffer.DataLength() == 0:
            return self.values(self.makers[tensor][1][0])
        kind = {0: np.float32, 1: np.float16, 2: np.int32}[stored.Type()]
        return np.frombuffer(buffer.DataAsNumpy().tobytes(), kind).reshape(stored.ShapeAsNumpy())

    def path(self, tensor: int) -> list[tuple[str, list[int]]]:
        """Convolutions and PReLUs from the input, or from the cut of a region, to a tensor."""
        steps: list[tuple[str, list[int]]] = []
        while tensor in self.makers:
            name, inputs, _ = self.makers[tensor]
            if name == "TransformTensorBilinear":
                break
            if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "PRELU"):
                steps.append((name, inputs[1:]))
            main = inputs[0]
            if name == "ADD":  # the pointwise convolution, not the short cut
                main = next(i for i in inputs if self.makers[i][0] == "CONV_2D")
            tensor = main
        return steps[::-1]

    def concatenated(self, name: str) -> list[int]:
        """The tensors that an output puts together."""
        return self.makers[self.output(name)][1]

    def options(self, custom: str) -> list[dict[str, Any]]:
        """The parameters of each custom operation of one name, in order."""
        flexbuffers = importlib.import_module("flatbuffers.flexbuffers")

        found = [op for name, _, op in self.makers.values() if name == custom]
        return [flexbuffers.Loads(bytes(op.CustomOptionsAsNumpy())) for op in found]


def fill(graph: Graph, tensor: int, *parts: nn.Module) -> None:
    """Put what stands on the path to a tensor into the last layers of that path."""
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.PReLU)]
    path = graph.path(tensor)
    if len(path) < len(layers):
        raise SystemExit(f"{len(layers)} layers, but only {len(path)} in the file")
    for layer, (name, inputs) in zip(layers, path[-len(layers) :], strict=True):
        stored = [torch.from_numpy(graph.values(i).copy()) for i in inputs]
        if name == "PRELU":
            stored = [stored[0].flatten()]
        else:  # output, height, width, input to output, input, height, width; depthwise: 1, height, width, channel
            stored[0] = stored[0].permute((3, 0, 1, 2) if name == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2))
        for parameter, value in zip(layer.parameters(), stored, strict=True):
            if parameter.shape != value.shape:
                raise SystemExit(f"{name}: {tuple(value.shape)} in the file, {tuple(parameter.shape)} in the network")
            parameter.data = value.contiguous()


def blazeface(content: bytes) -> BlazeFace:
    """The detector, filled."""
    graph, network = Graph(content), BlazeFace()
    fine_scores, coarse_scores = graph.concatenated("classificators")
    fine_boxes, coarse_boxes = graph.concatenated("regressors")
    fill(graph, fine_scores, network.stem, network.fine, network.fine_scores)
    fill(graph, fine_boxes, network.fine_boxes)
    fill(graph, coarse_scores, network.coarse, network.coarse_scores)
    fill(graph, coarse_boxes, network.coarse_boxes)
    return network


def face_mesh(content: bytes) -> FaceMesh:
    """The mesh, filled."""
    graph, network = Graph(content), FaceMesh()
    fill(graph, graph.output("output_mesh_identity"), network.stem, network.fine, network.trunk, network.mesh)
    fill(graph, graph.output("conv_faceflag"), network.presence)
    regions = (network.lips, "lips"), (network.left_eye, "left_eye"), (network.right_eye, "right_eye")
    for (region, name), cut in zip(regions, graph.options("Landmarks2TransformMatrix"), strict=True):
        if (cut["left_rotation_idx"], cut["right_rotation_idx"]) != region.corners:
            raise SystemExit(f"{name}: corners {region.corners} in the network, others in the file")
        region.indices.copy_(torch.tensor(cut["subset_idxs"]))
        fill(graph, graph.output(f"output_{name}"), region.trunk, region.outline)
        if region.iris is not None:
            fill(graph, graph.output(f"output_{name.replace('eye', 'iris')}"), region.iris)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/mien/face/weights"))
    given = parser.parse_args()
    with zipfile.ZipFile(given.wheel) as wheel:
        detector = blazeface(wheel.read(f"{FOLDER}/face_detection/face_detection_short_range.tflite"))
        mesh = face_mesh(wheel.read(f"{FOLDER}/face_landmark/face_landmark_with_attention.tflite"))
    for name, network in (("blazeface", detector), ("face_mesh", mesh)):
        state = network.state_dict()
        small = {k: v.half() if v.is_floating_point() else v.to(torch.int16) for k, v in state.items()}
        path = given.out / f"{name}.safetensors"
        save_file(split_bytes(small), path)
        path.chmod(0o644)  # safetensors writes for the owner alone
        print(f"{path}: {sum(v.numel() for v in small.values()):,} numbers, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
