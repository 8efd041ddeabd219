"""From the framework that trained a model to the format that serves it, with a check that both say the same."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from casebook import validate

if TYPE_CHECKING:
    import onnxruntime
    import torch

__all__ = ["ExportMismatch", "export_onnx", "onnx_session"]


class ExportMismatch(Exception):
    """The exported model does not compute what the trained one does."""


def onnx_session(path: Path) -> "onnxruntime.InferenceSession":
    """An ONNX Runtime session on one CPU thread: a service scores many small requests at once, not one large one.

    Raises:
        ValueError: no such file.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise ValueError(f"path is {str(path)!r}: expected an existing ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def export_onnx(
    module: "torch.nn.Module",
    example: Sequence["torch.Tensor"],
    path: Path,
    *,
    inputs: Sequence[str],
    tolerance: float = 1e-5,
) -> float:
    """Writes a PyTorch module as ONNX, then scores with both and compares.

    The comparison is made on the example and on its first row alone: an exporter that baked the number of rows into the
    graph passes the first and fails the second. The module is left in evaluation mode, as it is served.

    Args:
        module: takes the tensors of ``example``, returns one tensor; rows are independent of each other.
        example: inputs of at least two rows each, with realistic values.
        path: the file to write.
        inputs: a name for each input.
        tolerance: the largest absolute difference accepted.

    Returns:
        The largest absolute difference between the two outputs.

    Raises:
        ValueError: names and inputs that don't match, fewer than two rows, a tolerance that is not positive.
        ExportMismatch: a larger difference, a different shape, or a model that can't take another number of rows.
    """
    import torch

    tolerance = validate.number("tolerance", tolerance, above=0)
    if not inputs or len(inputs) != len(example):
        raise ValueError(f"inputs has {len(inputs)} names and example {len(example)} tensors: expected one name each")
    for name, tensor in zip(inputs, example, strict=True):
        if tensor.ndim == 0 or len(tensor) < 2:
            raise ValueError(f"example for {name!r} has shape {tuple(tensor.shape)}: expected at least two rows")
    module.eval()
    with warnings.catch_warnings():
        # The older exporter announces its successor, which needs seconds for what this one does in a twentieth of one.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(example),
            str(path),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_axes={name: {0: "rows"} for name in (*inputs, "output")},
            dynamo=False,
        )

    session = onnx_session(path)
    worst = 0.0
    for rows in (len(example[0]), 1):
        part = [tensor[:rows] for tensor in example]
        with torch.no_grad():
            expected = module(*part).numpy()
        feed = {name: tensor.numpy() for name, tensor in zip(inputs, part, strict=True)}
        try:
            actual = np.asarray(session.run(None, feed)[0])
        except Exception as error:  # the runtime's own classes have no common public base
            raise ExportMismatch(f"the exported model refuses {rows} row(s): {error}") from error
        if actual.shape != expected.shape:
            raise ExportMismatch(f"output has shape {actual.shape} for {rows} row(s): expected {expected.shape}")
        worst = max(worst, float(np.abs(actual - expected).max()))
    if not worst <= tolerance:
        raise ExportMismatch(f"outputs differ by {worst:.3g}: expected at most {tolerance:g}")
    return worst
