"""Images for encoders, and a check of their ONNX models."""

import pytest
import torch


def images(n, channels, size):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def check_onnx(encoder, path):
    """The exported encoder gives the same features for batches of any size; skips if ONNX is not installed."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.onnx.export(
        encoder, (images(2, 3, 32),), path, dynamic_shapes=({0: torch.export.Dim("n")},), dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(path)
    for n in (1, 5):
        x = images(n, 3, 32)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), encoder(x), atol=1e-4, rtol=1e-4)
