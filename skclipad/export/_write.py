"""torch's two exporters: from a module to an ONNX file."""

import warnings
from inspect import signature

import torch

from skclipad._clip.backbone import quiet_root_logger
from skclipad._optional import import_optional

OPSET = 18  # read by onnxruntime 1.14 and later
NEEDED = "dynamic_shapes", "dynamic_axes"  # by which torch's exporters are told


def takes_dynamo(dynamo):
    """Say which exporter to use, and refuse the one that torch has not."""
    parameters = signature(torch.onnx.export).parameters
    has_dynamo, has_tracing = (name in parameters for name in NEEDED)
    if dynamo is None:
        dynamo = not has_tracing
    if dynamo and not has_dynamo:
        raise ValueError(
            "Got dynamo=True, but this torch exports by tracing alone. Use a newer "
            "torch (2.6 or later), or dynamo=None."
        )
    if dynamo:
        import_optional("onnxscript", "onnx")
    return dynamo


def write_graph(graph, pixels, path, dynamo):
    """Write a graph with one of torch's exporters.

    `pixels` are an example of what it reads.
    """
    write = _write_program if dynamo else _write_trace
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), torch.enable_grad(), quiet_root_logger():
        # The exporters warn about their own workings. With gradients the blocks run
        # in separate steps, not in place.
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no word for it
        try:
            write(graph.eval(), (torch.from_numpy(pixels),), str(path))
        except Exception as error:  # whatever the exporter meets in a model
            raise ValueError(
                "The image tower could not be exported by torch.onnx "
                f"({type(error).__name__}: {error}). Plain ViTs and ResNets can be; "
                "please report which model this was."
            ) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)


def _write_trace(graph, example, path):
    """Write what one run computes, which torch calls tracing."""
    # Where torch knows two exporters, it is to be told; older ones know no other.
    knows_others = "dynamo" in signature(torch.onnx.export).parameters
    torch.onnx.export(
        graph,
        example,
        path,
        input_names=["pixels"],
        output_names=graph.outputs,
        dynamic_axes=dict.fromkeys(["pixels", *graph.outputs], {0: "n"}),
        opset_version=OPSET,
        **({"dynamo": False} if knows_others else {}),
    )


def _write_program(graph, example, path):
    """Write what ``torch.export`` makes of the module, into one file.

    Of the exporter's optimization only constants are folded: to look for patterns takes
    most of its time, and onnxruntime, which looks for them again, computes no faster.
    """
    optimizer = import_optional("onnxscript.optimizer", "onnx")
    program = torch.onnx.export(
        graph,
        example,
        dynamo=True,
        input_names=["pixels"],
        output_names=graph.outputs,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        opset_version=OPSET,
        optimize=False,
        verbose=False,
    )

    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    program.save(path, external_data=False)
