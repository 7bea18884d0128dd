"""``moelaws count``: parameters, FLOPs, cache and bytes of published models, from their ``config.json``."""

import argparse

from moelaws.cli.values import path, wholes
from moelaws.document import check_json, write_json
from moelaws.exchange.count_text import count_text
from moelaws.exchange.model_count import CONTEXT, count, count_record
from moelaws.exchange.published_models import PUBLISHED

_MOST_CONTEXT = 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "models", nargs="*", metavar="CONFIG|FOLDER|NAME",
        help="a config.json of Hugging Face, its folder, or a published model's name; the names, if none is given",
    )  # fmt: skip
    parser.add_argument(
        "--context", type=wholes(1, _MOST_CONTEXT), default=(CONTEXT,), metavar="T,...",
        help=f"tokens of context at which costs are stated (default {CONTEXT})",
    )  # fmt: skip
    parser.add_argument("--json", type=path, metavar="OUT", help="write the counts to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Count, a paragraph a model."""
    check_json(options.json, "count")
    if not options.models:
        if options.json:
            raise ValueError("--json: name a model to count")
        for each in PUBLISHED:
            print(f"{each.name:34}{each.config['model_type']:14}{each.maker}")
        return 0
    counts = [count(model) for model in options.models]
    if options.json:
        write_json(options.json, "count", count_record(counts, options.context))
    print("\n\n".join(count_text(each, options.context) for each in counts))
    return 0
