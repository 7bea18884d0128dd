"""``moelaws export``: a checkpoint in a format that other programs read."""

import argparse
from typing import get_args

from moelaws.cli.values import path
from moelaws.exchange.gguf.gguf_file import NumberType, export_gguf


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("format", choices=("gguf",), help="gguf: what llama.cpp and what is made of it read")
    parser.add_argument("checkpoint", type=path, help="folder of a model in the OLMoE layout")
    parser.add_argument("out", type=path, help="the file to write")
    parser.add_argument(
        "--type", choices=get_args(NumberType), default="f32", help="of matrices; gains and routers stay in f32"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export, and say what was written."""
    found = export_gguf(options.checkpoint, options.out, options.type)
    words = "with its tokenizer" if found.vocabulary else "without a tokenizer: it takes and gives token ids"
    print(f"{found.path}: {found.tensors} tensors, {found.size / 1e6:,.4g} MB, {words}")
    return 0
