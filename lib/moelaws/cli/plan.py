"""``moelaws plan``: what to train and what it costs to serve, under several laws; or what a published model costs."""

import argparse

from moelaws.cli.instrument.plotting import add_plot, check_plot, write_plot
from moelaws.cli.served.hardware_options import add_hardware, copies_of, deployment_of, refuse
from moelaws.cli.values import number, path, whole, wholes
from moelaws.document import check_json, write_json
from moelaws.serving.cost import Traffic
from moelaws.serving.forecasters import FAMILIES
from moelaws.serving.planning import model_plan
from moelaws.serving.planning.plan import EXPERTS, Plan
from moelaws.serving.planning.planner import HARDWARE, LAWS, plan

_MOST_EXPERTS = 1_000_000
_OF_LAWS = ("laws", "law_fit", "family", "experts", "top_k", "base_experts", "loss")
"""Options of a plan under laws, which a model that is there already does not need."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--train-flops", type=number(1, 1e40), metavar="C", help="training budget, in FLOPs")
    parser.add_argument(
        "--model", metavar="CONFIG|FOLDER|NAME", help="plan for this published model (moelaws count), under no law"
    )
    parser.add_argument("--train-tokens", type=number(0, 1e30), metavar="D", help="with --model: tokens to train it on")
    parser.add_argument(
        "--serve-tokens",
        type=number(0, 1e30, low_allowed=True),
        default=0.0,
        metavar="T",
        help="output tokens to serve",
    )
    add_hardware(parser, f"{HARDWARE}; {model_plan.HARDWARE} with --model", 8)
    parser.add_argument("--laws", metavar="NAME,...", help=f"default {','.join(LAWS)}; and 'ours'")
    parser.add_argument("--law-fit", action="append", type=path, metavar="FILE", help="from moelaws fit")
    parser.add_argument("--family", choices=FAMILIES, help="sizes of the models (default: each law's own)")
    parser.add_argument("--experts", type=wholes(1, _MOST_EXPERTS), metavar="E,...", help="default 1,2,4,...,64")
    parser.add_argument("--top-k", type=whole(1, _MOST_EXPERTS), metavar="K", help="experts per token (default 1)")
    parser.add_argument(
        "--base-experts", type=whole(1, _MOST_EXPERTS), metavar="E", help="of the base (default 1, dense)"
    )
    parser.add_argument("--loss", type=number(0, 1e6), help="loss to reach (default: the base's at the budget)")
    parser.add_argument(
        "--prompt-tokens", type=number(1e-3, 1e9), default=Traffic().prompt_tokens, help="mean (default 161.31)"
    )
    parser.add_argument(
        "--output-tokens", type=number(1e-3, 1e9), default=Traffic().output_tokens, help="mean (default 337.99)"
    )
    parser.add_argument("--json", type=path, metavar="OUT", help="write the plan to this file too")
    add_plot(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Plan and print."""
    if options.model is not None:
        return _model(options)
    if options.train_flops is None:
        raise ValueError("moelaws plan: expected --train-flops C, or --model with a published model")
    refuse(options, ("train_tokens",), "goes with --model; under laws the budget --train-flops says how many")
    refuse(options, ("precision",), "goes with --model; under laws a number takes two bytes")
    check_json(options.json, "plan")
    check_plot(options.plot)
    found, calibrated = _plan(options)
    picture = found.plot() if options.plot else None
    if options.json:
        write_json(options.json, "plan", found.to_dict())
    if options.plot:
        write_plot(options.plot, picture)
    print(f"{calibrated}{found}")
    return 0


def _plan(options: argparse.Namespace) -> tuple[Plan, str]:
    traffic = Traffic(options.prompt_tokens, options.output_tokens)
    where, calibrated = deployment_of(options, traffic, HARDWARE, copies_of(options.gpus))
    laws = LAWS if options.laws is None else filter(None, options.laws.split(","))
    names = {name: name for name in laws}
    found = plan(
        options.train_flops, options.serve_tokens, where,
        names | {file.stem: file for file in options.law_fit or ()},
        FAMILIES[options.family]() if options.family else None, experts=options.experts or EXPERTS,
        top_k=options.top_k or 1, base_experts=options.base_experts or 1, loss=options.loss,
    )  # fmt: skip
    return found, calibrated


def _model(options: argparse.Namespace) -> int:
    refuse(options, _OF_LAWS, "is for a plan under laws, and --model has one size and one number of experts")
    refuse(options, ("train_flops",), "with --model it is --train-tokens, from which the FLOPs follow")
    refuse(options, ("plot",), "draws the options of a plan under laws, and --model has one")
    check_json(options.json, "model plan")
    traffic = Traffic(options.prompt_tokens, options.output_tokens)
    where, calibrated = deployment_of(options, traffic, model_plan.HARDWARE, copies_of(options.gpus))
    found = model_plan.plan_model(options.model, options.serve_tokens, options.train_tokens or 0.0, where)
    if options.json:
        write_json(options.json, "model plan", found.to_dict())
    print(f"{calibrated}{found}")
    return 0
