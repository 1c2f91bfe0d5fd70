"""What the measurements on crops share: their arguments, and the recogniser that judges."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
from streamgate.quality.weights import default_weights_path

__all__ = ["judge_of", "parser_of"]


def parser_of(module: str, description: str | None, results: Path) -> argparse.ArgumentParser:
    """Return a parser for the crops, the judge, the weights and the file of results.

    Args:
        module: what `python -m` runs.
        results: where they are written if nothing else is said.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--crops", type=Path, required=True, help="aligned crops, folder or tar")
    parser.add_argument("--split", help="use only this split of the index")
    parser.add_argument("--recogniser", type=Path, required=True, help="ONNX file of the judge")
    parser.add_argument("--color", choices=["rgb", "bgr"], default="rgb")
    parser.add_argument("--mean", type=float, default=0.0)
    parser.add_argument("--std", type=float, default=1.0)
    parser.add_argument("--weights", type=Path, default=default_weights_path())
    parser.add_argument("--output", type=Path, default=results)
    return parser


def judge_of(arguments: argparse.Namespace) -> OnnxRecogniser:
    """Return the recogniser that such arguments name."""
    return OnnxRecogniser(
        arguments.recogniser, Preprocessing(112, arguments.color, arguments.mean, arguments.std)
    )
