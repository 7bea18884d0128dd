"""``moelaws blend``: put two checkpoints together as one mixture, with gates learned on text of both kinds."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from moelaws.cli.reshaping.checkpoints import (
    add_folders,
    add_loss,
    held_out_losses,
    open_model,
    require_one_tokenizer,
    text_for,
    tokenizer_of,
)
from moelaws.cli.values import path, seed, whole
from moelaws.document import check_json, write_json

if TYPE_CHECKING:
    from moelaws.config import ModelConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_folders(parser, "a model")
    parser.add_argument("other", type=path, metavar="OTHER", help="another, of the same shape and vocabulary")
    parser.add_argument("--top-k", type=whole(2, 65_536), metavar="K", help="experts a token (default: all)")
    parser.add_argument(
        "--text", default="sotu+docstrings", help="of both kinds, for the gates to learn on (default sotu+docstrings)"
    )
    parser.add_argument(
        "--steps", type=whole(0, 1_000_000), default=200, help="of learning; 0: half of each everywhere (default 200)"
    )
    parser.add_argument("--sequences", type=whole(1, 4096), default=16, help="read in a step (default 16)")
    add_loss(parser)
    parser.add_argument("--seed", type=seed, default=0, help="of new routers and of the order of the text")
    parser.add_argument("--json", type=path, metavar="OUT", help="write the shares to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Blend, learn, save."""
    check_json(options.json, "blend")
    one = open_model(options, copies=4)
    other = open_model(options, copies=4, folder=options.other)
    require_one_tokenizer(options.model, options.other)
    from moelaws.counting import count_parameters, forward_flops_per_token
    from moelaws.models.checkpoint import save_checkpoint
    from moelaws.reshape.blend import blend, blended_config, spread
    from moelaws.reshape.gates import GateRecipe, learn_gates

    config = blended_config(one.config, other.config, options.top_k)
    if options.steps:
        batches = _batches(options, config)
        found = learn_gates(one, other, batches, GateRecipe(options.steps), options.top_k, options.seed)
        mixture, shares = found.model, list(found.shares)
    else:
        mixture, shares = blend(one, other, 0.5, options.top_k, options.seed), spread(0.5, config)
    losses = held_out_losses(options, {"one": one, "other": other, "blend": mixture})
    save_checkpoint(mixture, options.out, tokenizer_of(options.model))
    before, after = count_parameters(one.config), count_parameters(config)
    times = forward_flops_per_token(config) / forward_flops_per_token(one.config)
    print(
        f"{options.out}: E = {config.n_experts}, K = {config.top_k}; {after.total:.4g} parameters, of "
        f"{before.total:.4g} of {options.model}; {times:.2f} times its FLOPs a token; share of {options.other}, from "
        f"embeddings to end: {', '.join(f'{share:.2f}' for share in shares)}"
    )
    if options.json:
        write_json(
            options.json, "blend",
            {"shares": shares, "n_experts": config.n_experts, "top_k": config.top_k, "parameters": after.total,
             "flops_per_token": forward_flops_per_token(config)}
            | {f"loss_{name}": loss for name, loss in losses.items()},
        )  # fmt: skip
    return 0


def _batches(options: argparse.Namespace, config: "ModelConfig") -> Iterator[Any]:
    """Training text in the models' tokens."""
    text = text_for(options, config, options.steps * options.sequences * config.context)
    text.require(options.sequences, config.context)
    return text.batches(options.sequences, config.context, options.seed)
