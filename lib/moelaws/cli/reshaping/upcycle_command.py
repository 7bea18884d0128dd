"""``moelaws upcycle``: make a mixture of experts of a dense checkpoint."""

import argparse

from moelaws.cli.reshaping.checkpoints import add_folders, open_model, tokenizer_of
from moelaws.cli.values import number, seed, whole
from moelaws.stages import stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_folders(parser, "a dense model")
    parser.add_argument("--experts", type=whole(2, 65_536), default=8, metavar="E", help="per layer (default 8)")
    parser.add_argument("--top-k", type=whole(1, 65_536), default=2, metavar="K", help="per token (default 2)")
    parser.add_argument(
        "--noise", type=number(0, 100, low_allowed=True), default=0.0, metavar="SHARE",
        help="added to each copy, as a share of the weights' spread (default 0: the dense model's own logits)",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="of router and noise")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Copy, compare, save."""
    dense = open_model(options, copies=options.experts + 1)
    from moelaws.counting import count_parameters
    from moelaws.models.checkpoint import save_checkpoint
    from moelaws.reshape.upcycle import largest_difference, upcycle

    with stage("copying the layers"):
        mixture = upcycle(dense, options.experts, options.top_k, options.noise, options.seed)
        apart = largest_difference(dense, mixture)
        save_checkpoint(mixture, options.out, tokenizer_of(options.model))
    before, after = count_parameters(dense.config), count_parameters(mixture.config)
    print(
        f"{options.out}: E = {options.experts}, K = {options.top_k}; {after.total:.4g} parameters, {after.active:.4g} "
        f"active, of {before.total:.4g}; logits within {apart:.2g} of the dense model's"
    )
    return 0
