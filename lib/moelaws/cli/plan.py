"""``moelaws plan``: what to train and what it costs to serve, under several laws."""

import argparse
from dataclasses import asdict
from typing import Any

import pandas as pd

from moelaws import __version__
from moelaws.cli.output import check_json, write_json
from moelaws.cli.values import number, path, whole, wholes
from moelaws.serving.cost import Deployment, Traffic, deploy, deploy_measured
from moelaws.serving.forecasters import FAMILIES, OURS, Forecaster, ours, published, read_fit
from moelaws.serving.hardware import ACCELERATORS, accelerator
from moelaws.serving.plan import EXPERTS, LawPlan, Plan, PlanError, Request, Row, plan

_MOST_EXPERTS = 1_000_000
_CHEAP = 0.1
"""Dollars an hour of a machine of one's own, where none are given."""

_COLUMNS = {
    "n_experts": ("E", "{:d}"),
    "top_k": ("K", "{:d}"),
    "total_params": ("N", "{:.3g}"),
    "active_params": ("N_a", "{:.3g}"),
    "tokens": ("D", "{:.3g}"),
    "loss": ("loss", "{:.4f}"),
    "train_dollars": ("$ train", "{:,.0f}"),
    "serve_dollars": ("$ serve", "{:,.0f}"),
    "memory_gb": ("GB", "{:.3g}"),
    "gpus": ("GPUs", "{:d}"),
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("plan", help="choose size, experts and hardware for training and serving")
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
        "--hardware", default="a100-40gb", metavar="NAME", help=f"{', '.join(ACCELERATORS)} (default a100-40gb)"
    )
    parser.add_argument("--timings", type=path, metavar="FILE", help="serve on the machine that made this timing table")
    parser.add_argument("--memory-gb", type=number(0, 1e9), default=8.0, help="of that machine (default 8)")
    parser.add_argument("--gpus", type=whole(1, 1024), default=8, help="at most so many for one copy (default 8)")
    parser.add_argument(
        "--dollars-per-hour", type=number(0, 1e9), metavar="X", help="rent of one device (default: a round one)"
    )
    parser.add_argument("--laws", default="abnar2025,ludziejewski2025", metavar="NAME,...", help="and 'ours'")
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
    request = Request(
        options.train_flops, options.serve_tokens, options.experts, options.top_k, options.base_experts, options.loss
    )
    deployment, calibrated = _deployment(options)
    forecasters, missing = _forecasters(options)
    if not forecasters:
        raise PlanError(next(iter(missing.values()), "no law to ask"))
    found = plan(request, deployment, forecasters)
    if options.json:
        write_json(options.json, "plan", _record(found, missing))
    print(calibrated, end="")
    _print(found, missing)
    return 0


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


def _forecasters(options: argparse.Namespace) -> tuple[dict[str, Forecaster], dict[str, str]]:
    family = FAMILIES[options.family]() if options.family else None
    chosen: dict[str, Forecaster] = {}
    missing = {}
    for name in filter(None, options.laws.split(",")):
        if name == "ours":
            own = ours(family)
            if own is None:
                missing[name] = (
                    f"no fit of the book's own runs: there is no {OURS}; make one with "
                    f"'moelaws fit TABLE --law abnar2025 --json {OURS}', or give --law-fit FILE"
                )
            else:
                chosen[name] = own
        else:
            chosen[name] = published(name, family)
    for file in options.law_fit:
        chosen[file.stem] = read_fit(file, family)
    return chosen, missing


def _print(found: Plan, missing: dict[str, str]) -> None:
    request, deployment = found.request, found.deployment
    print(
        f"C = {request.train_flops:.3g} FLOPs to train, {request.serve_tokens:.3g} tokens to serve on up to "
        f"{max(deployment.gpus)} x {deployment.name} at ${deployment.dollars_per_hour:g} an hour each"
    )
    for each in found.laws:
        _print_law(each)
    for name, reason in {**found.refused, **missing}.items():
        print(f"\n{name}: {reason}")
    if found.disagreement:
        print("\nThe laws' cheapest options lie apart by a factor of")
        for one in found.disagreement:
            print(f"  {one.ratio:.2f} in {one.field} ({one.low:.4g} to {one.high:.4g})")


def _print_law(each: LawPlan) -> None:
    print(f"\n{each.law}: loss to reach {each.target:.4f}")
    for note in each.notes:
        print(f"  note: {note}")
    for kind in ("loss-optimal", "cheapest", "best at cost"):
        rows = [row for row in each.rows if row.kind == kind]
        if rows:
            print(f"  {kind}")
            print("\n".join(f"    {line}".rstrip() for line in _table(rows).to_string(index=False).splitlines()))
    for what, row in (("to save", each.cheapest), ("to improve", each.best)):
        print(f"  {what}: {_sentence(row)}")


def _table(rows: list[Row]) -> pd.DataFrame:
    shown = {head: [form.format(getattr(row, name)) for row in rows] for name, (head, form) in _COLUMNS.items()}
    shown[""] = ["" if row.fits else "does not fit" for row in rows]
    return pd.DataFrame(shown)


def _sentence(row: Row) -> str:
    band = "" if row.loss_low != row.loss_low else f" [{row.loss_low:.4f}, {row.loss_high:.4f}]"
    return (
        f"E = {row.n_experts}, K = {row.top_k}, N = {row.total_params:.3g} ({row.active_params:.3g} active), "
        f"D = {row.tokens:.3g}, loss {row.loss:.4f}{band}, ${row.train_dollars:,.0f} to train, "
        f"${row.serve_dollars:,.0f} to serve (${row.dollars_per_million:.3g} per million tokens) on {row.gpus} GPU"
    )


def _record(found: Plan, missing: dict[str, str]) -> dict[str, Any]:
    return {
        "request": asdict(found.request),
        "hardware": found.deployment.name,
        "gpus": list(found.deployment.gpus),
        "dollars_per_hour": found.deployment.dollars_per_hour,
        "traffic": asdict(found.deployment.traffic),
        "laws": [
            {
                "law": each.law,
                "target_loss": each.target,
                "cheapest": asdict(each.cheapest),
                "best_at_cost": asdict(each.best),
                "notes": list(each.notes),
                "rows": [asdict(row) for row in each.rows],
            }
            for each in found.laws
        ],
        "refused": {**found.refused, **missing},
        "disagreement": [asdict(one) | {"ratio": one.ratio} for one in found.disagreement],
        "versions": {"moelaws": __version__},
    }
