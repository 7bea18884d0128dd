"""``moelaws compress``: write a checkpoint's weights in few bits, its experts by what they matter."""

import argparse
from typing import TYPE_CHECKING, Any

from moelaws.cli.reshaping.checkpoints import add_folders, add_loss, held_out_losses, open_model, text_for, tokenizer_of
from moelaws.cli.values import number, path, whole, wholes
from moelaws.document import check_json, write_json
from moelaws.quote import number_of
from moelaws.stages import stage

if TYPE_CHECKING:
    from moelaws.config import ModelConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_folders(parser, "a model")
    parser.add_argument(
        "--bits", type=number(0, 8), default=8.0, metavar="B",
        help="of an expert's weight: 8, 4, 3, 2 or 1 for all alike, or a mean such as 2.5, shared out by importance",
    )  # fmt: skip
    parser.add_argument(
        "--choices",
        type=wholes(1, 8),
        metavar="B,...",
        help="bits that are shared out by importance, also to a whole mean (for a fraction 1,2,3)",
    )
    parser.add_argument(
        "--rest-bits", type=whole(1, 32), default=8, help="of attention and embeddings; 32: as they are"
    )
    parser.add_argument("--group", type=whole(1, 65_536), default=32, help="weights that share a scale (default 32)")
    parser.add_argument("--keep", type=whole(1, 65_536), metavar="E", help="leave only so many experts in each layer")
    parser.add_argument("--merge", action="store_true", help="with --keep: put the others together with those kept")
    parser.add_argument("--text", default="sotu", help="what the experts are judged on (default sotu)")
    parser.add_argument("--sequences", type=whole(1, 4096), default=128, help="of that text (default 128)")
    add_loss(parser)
    parser.add_argument("--json", type=path, metavar="OUT", help="write bits and bytes to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge, round, save."""
    check_json(options.json, "compression")
    if options.merge and options.keep is None:
        raise ValueError("--merge: expected --keep as well, how many experts are left in each layer")
    model = open_model(options, copies=4)
    from moelaws.models.checkpoint import save_checkpoint
    from moelaws.reshape.compress import Widths, compress, stored_bytes
    from moelaws.reshape.fewer_experts import merge, prune

    widths = Widths(options.bits, options.choices, rest=options.rest_bits, group=options.group)
    before = stored_bytes(model.config)
    windows = None
    if options.keep is not None or widths.shared_out:
        windows = _windows(options, model.config)
    given = model
    with stage("compressing"):
        if options.keep is not None:
            model = (merge if options.merge else prune)(model, windows, options.keep)
        found = compress(model, windows, widths)
    losses = held_out_losses(options, {"before": given, "after": found.model})
    with stage("saving"):
        save_checkpoint(found.model, options.out, tokenizer_of(options.model), found.packed)
    shares = {int(bits): int((found.bits_LE == bits).sum()) for bits in sorted(set(found.bits_LE.flatten().tolist()))}
    said = ", ".join(_said(count, bits) for bits, count in shares.items()) or f"{options.bits:g} bits"
    print(f"{options.out}: {said}; weights of {found.bytes:,} bytes, {found.bytes / before:.3f} of {before:,}")
    if options.json:
        write_json(
            options.json, "compression",
            {"bits": found.bits_LE.tolist(), "bytes": found.bytes, "bytes_before": before}
            | {f"loss_{name}": loss for name, loss in losses.items()},
        )  # fmt: skip
    return 0


def _said(count: int, bits: int) -> str:
    return f"{number_of(count, 'expert')} of {number_of(bits, 'bit')}"


def _windows(options: argparse.Namespace, config: "ModelConfig") -> Any:
    """Training text in the model's tokens, to judge its experts by."""
    text = text_for(options, config, options.sequences * config.context)
    text.require(options.sequences, config.context)
    return next(text.batches(options.sequences, config.context, seed=0))
