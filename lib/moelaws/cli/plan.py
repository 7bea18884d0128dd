"""``moelaws plan``: what to train and what it costs to serve, under several laws."""

import argparse

from moelaws.cli.values import number, path, whole, wholes
from moelaws.document import check_json, write_json
from moelaws.serving.cost import Deployment, Traffic, deploy, deploy_measured
from moelaws.serving.forecasters import FAMILIES
from moelaws.serving.hardware import ACCELERATORS, accelerator
from moelaws.serving.plan import EXPERTS, Plan
from moelaws.serving.planner import HARDWARE, LAWS, plan

_MOST_EXPERTS = 1_000_000
_CHEAP = 0.1
"""Dollars an hour of a machine of one's own, where none are given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "--train-flops", type=number(1, 1e40), required=True, metavar="C", help="training budget, in FLOPs"
    )
    parser.add_argument(
        "--serve-tokens",
        type=number(0, 1e30, low_allowed=True),
        default=0.0,
        metavar="T",
        help="output tokens to serve",
    )
    parser.add_argument(
        "--hardware", default=HARDWARE, metavar="NAME", help=f"{', '.join(ACCELERATORS)} (default {HARDWARE})"
    )
    parser.add_argument("--timings", type=path, metavar="FILE", help="serve on the machine that made this timing table")
    parser.add_argument("--memory-gb", type=number(0, 1e9), default=8.0, help="of that machine (default 8)")
    parser.add_argument("--gpus", type=whole(1, 1024), default=8, help="at most so many for one copy (default 8)")
    parser.add_argument(
        "--dollars-per-hour", type=number(0, 1e9), metavar="X", help="rent of one device (default: a round one)"
    )
    parser.add_argument("--laws", default=",".join(LAWS), metavar="NAME,...", help="and 'ours'")
    parser.add_argument("--law-fit", action="append", type=path, default=[], metavar="FILE", help="from moelaws fit")
    parser.add_argument("--family", choices=FAMILIES, help="sizes of the models (default: each law's own)")
    parser.add_argument(
        "--experts", type=wholes(1, _MOST_EXPERTS), default=EXPERTS, metavar="E,...", help="default 1,2,4,...,64"
    )
    parser.add_argument(
        "--top-k", type=whole(1, _MOST_EXPERTS), default=1, metavar="K", help="experts per token (default 1)"
    )
    parser.add_argument(
        "--base-experts", type=whole(1, _MOST_EXPERTS), default=1, metavar="E", help="of the base (default 1, dense)"
    )
    parser.add_argument("--loss", type=number(0, 1e6), help="loss to reach (default: the base's at the budget)")
    parser.add_argument(
        "--prompt-tokens", type=number(1e-3, 1e9), default=Traffic().prompt_tokens, help="mean (default 161.31)"
    )
    parser.add_argument(
        "--output-tokens", type=number(1e-3, 1e9), default=Traffic().output_tokens, help="mean (default 337.99)"
    )
    parser.add_argument("--json", type=path, metavar="OUT", help="write the plan to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Plan and print."""
    check_json(options.json, "plan")
    where, calibrated = _deployment(options)
    found = _plan(options, where)
    if options.json:
        write_json(options.json, "plan", found.to_dict())
    print(f"{calibrated}{found}")
    return 0


def _plan(options: argparse.Namespace, where: Deployment) -> Plan:
    names = {name: name for name in filter(None, options.laws.split(","))}
    return plan(
        options.train_flops, options.serve_tokens, where, names | {file.stem: file for file in options.law_fit},
        FAMILIES[options.family]() if options.family else None, experts=options.experts, top_k=options.top_k,
        base_experts=options.base_experts, loss=options.loss,
    )  # fmt: skip


def _deployment(options: argparse.Namespace) -> tuple[Deployment, str]:
    """Where to serve, and what to say about how well it is known."""
    traffic = Traffic(options.prompt_tokens, options.output_tokens)
    if options.timings is None:
        gpus = tuple(2**i for i in range(options.gpus.bit_length()) if 2**i <= options.gpus)
        device = accelerator(options.hardware)
        return deploy(device, gpus, traffic=traffic, dollars_per_hour=options.dollars_per_hour), ""
    # Only this path needs SciPy's optimisers; every other command starts faster without them.
    from moelaws.runs.timings import read_timings
    from moelaws.serving.calibration import calibrate

    found = calibrate(read_timings(options.timings))
    calibrated = (
        f"{options.timings.name}: decode steps of unseen configurations predicted within "
        f"{found.held_out.median:.0%} (median) and {found.held_out.p90:.0%} (nine in ten)\n"
    )
    rent = _CHEAP if options.dollars_per_hour is None else options.dollars_per_hour
    machine = deploy_measured(options.timings.stem, found.machine, options.memory_gb * 1e9, rent, traffic)
    return machine, calibrated
