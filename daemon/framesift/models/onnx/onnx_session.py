"""Starts onnxruntime on a network's file, with the first provider that works on this machine."""

from __future__ import annotations

import os
from typing import Any

from framesift.models.git_lfs import git_lfs_problem
from framesift.models.model import ModelLoadError
from framesift.models.onnx.embedding_output import network_for
from framesift.models.onnx.load_failures import load_problem
from framesift.models.onnx.onnx_settings import OnnxSettings


def start_session(settings: OnnxSettings) -> Any:
    """Returns an onnxruntime.InferenceSession.

    Raises ModelLoadError: no such file, no onnxruntime, no such provider, or none that can run the network.
    """
    if not settings.path.is_file():
        what = "is a folder, not a file" if settings.path.is_dir() else "no such file"
        raise ModelLoadError(f"model.path: {settings.path}: {what}")
    if (problem := git_lfs_problem(settings.path)) is not None:
        raise ModelLoadError(f"model.path: {problem}")
    # Since 1.29 onnxruntime sends telemetry, unless this is set before it is loaded.
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelLoadError(f"model.type: onnx needs onnxruntime ({error}): pip install 'framesift[onnx]'") from error
    known, available = onnxruntime.get_all_providers(), onnxruntime.get_available_providers()
    for provider in settings.providers:
        if provider not in known:
            raise ModelLoadError(f"model.providers: {provider!r} is not one of {', '.join(known)}")
    usable = [provider for provider in settings.providers if provider in available]
    if not usable:
        raise ModelLoadError(
            f"model.providers: none of {', '.join(settings.providers)} is in this onnxruntime, which has "
            f"{', '.join(available)}"
        )
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    session_options.intra_op_num_threads = settings.threads or 0
    # Threads that spin for the next picture would burn a core between the frames of a slow stream.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    network = network_for(settings)
    # Weights in files of their own lie beside the network's.
    session_options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(settings.path.absolute().parent)
    )
    failure: Exception | None = None
    for first in range(len(usable)):
        try:
            # Its own fallback prints to stdout, where the log is.
            session = onnxruntime.InferenceSession(
                network, session_options, providers=usable[first:], enable_fallback=0
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime and its providers raise what they like
            failure = error
            continue
        # onnxruntime skips a provider without its libraries or its device, without an error, down to the CPU.
        if session.get_providers()[0] in usable:
            return session
    if failure is None:
        raise ModelLoadError(f"model.providers: {', '.join(usable)} can't be started on this machine")
    problem = load_problem(settings.path, str(failure), onnxruntime.__version__)
    raise ModelLoadError(f"model.path: {problem}") from failure
