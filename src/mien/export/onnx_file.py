"""Exported files, read back: predictions by onnxruntime, and what a file says about itself."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, install_extra

if TYPE_CHECKING:
    import onnxruntime

Inputs = NDArray[np.float32]


class OnnxClassifier:
    """An exported file, ready to predict.

    Args:
        source: The file, or its content.
        threads: Of onnxruntime; 0 takes all cores.

    Attributes:
        classes: Class names, in the order of the probabilities.
        shape: Shape of one input.
        metadata: What the file says about itself: `system`, `classes`, `recipes`, `axes`, `range`, `card`, `precision`,
            `largest_difference`.

    Raises:
        MienError: onnxruntime is not installed, or the file is not one of ours.
    """

    def __init__(self, source: Path | bytes, threads: int = 0) -> None:
        ort = needed("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        given = source if isinstance(source, bytes) else str(source)
        try:
            self.session: onnxruntime.InferenceSession = ort.InferenceSession(
                given, options, providers=["CPUExecutionProvider"]
            )
            self.metadata: Mapping[str, str] = self.session.get_modelmeta().custom_metadata_map
            self.classes: tuple[str, ...] = tuple(json.loads(self.metadata["classes"]))
            (self._input,) = self.session.get_inputs()
            self.shape = tuple(int(n) for n in self._input.shape[1:])
        except Exception as error:  # onnxruntime's own errors share no base class of their own.
            shown = "what was given" if isinstance(source, bytes) else repr(str(source))
            raise MienError(
                f"{shown} cannot be read ({str(error).splitlines()[0]}).",
                "an .onnx file that `mien export` wrote.",
                "`mien export model.safetensors --onnx model.onnx`.",
            ) from None

    def predict_proba(self, x: NDArray[Any], batch_size: int = 64) -> Inputs:
        """Class probabilities (N, C) of clips (N, *shape), as their recipe makes them (copy 0).

        Raises:
            MienError: Clips of another shape.
        """
        x = np.asarray(x, np.float32)
        if x.ndim == 0 or x.shape[1:] != self.shape:
            raise MienError(
                f"The input has the shape {x.shape}.",
                f"(clips, {', '.join(str(n) for n in self.shape)}): {self.metadata.get('axes', '')}.",
                f"`mien prepare` with the recipe of {self.metadata.get('system', 'the system')}, or `x[None]` for one.",
            )
        if not len(x):
            return np.empty((0, len(self.classes)), np.float32)
        parts = [
            self.session.run(None, {self._input.name: x[i : i + batch_size]})[0] for i in range(0, len(x), batch_size)
        ]
        return np.concatenate(parts)


def require_packages() -> None:
    """Refuses where the extra `onnx` is not installed.

    Raises:
        MienError: A package of it is missing.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        needed(name)


def needed(name: str) -> Any:
    """A package of the extra `onnx`.

    Raises:
        MienError: It is not installed.
    """
    # onnxruntime collects data on its use, to send them to its makers, unless it is told not to before it is loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MienError(
            f"ONNX files need {name}, which is not installed.",
            "the extra `onnx`.",
            f"{install_extra('onnx')}.",
        ) from None
