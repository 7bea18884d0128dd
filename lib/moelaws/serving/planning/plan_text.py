"""A plan as text for people, and as plain values for files."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd

from moelaws import __version__
from moelaws.serving.planning.plan import LawPlan, Plan, Row

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


def plan_text(plan: Plan) -> str:
    """What ``moelaws plan`` prints: options and recommendation of each law, and how far the laws disagree."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    request, deployment = plan.request, plan.deployment
    yield (
        f"C = {request.train_flops:.3g} FLOPs to train, {request.serve_tokens:.3g} tokens to serve on up to "
        f"{max(deployment.gpus)} x {deployment.name} at ${deployment.dollars_per_hour:g} an hour each"
    )
    for each in plan.laws:
        yield from _of_law(each)
    for name, reason in plan.refused.items():
        yield f"\n{name}: {reason}"
    if plan.disagreement:
        yield "\nThe laws' cheapest options lie apart by a factor of"
        for one in plan.disagreement:
            yield f"  {one.ratio:.2f} in {one.field} ({one.low:.4g} to {one.high:.4g})"


def _of_law(each: LawPlan) -> Iterator[str]:
    yield f"\n{each.law}: loss to reach {each.target:.4f}"
    for note in each.notes:
        yield f"  note: {note}"
    for kind in ("loss-optimal", "cheapest", "best at cost"):
        rows = [row for row in each.rows if row.kind == kind]
        if rows:
            yield f"  {kind}"
            yield from (f"    {line}".rstrip() for line in _table(rows).to_string(index=False).splitlines())
    for what, row in (("to save", each.cheapest), ("to improve", each.best)):
        yield f"  {what}: {_sentence(row)}"


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


def plan_record(plan: Plan) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "request": asdict(plan.request),
        "hardware": plan.deployment.name,
        "gpus": list(plan.deployment.gpus),
        "dollars_per_hour": plan.deployment.dollars_per_hour,
        "traffic": asdict(plan.deployment.traffic),
        "laws": [
            {
                "law": each.law,
                "target_loss": each.target,
                "cheapest": asdict(each.cheapest),
                "best_at_cost": asdict(each.best),
                "notes": list(each.notes),
                "rows": [asdict(row) for row in each.rows],
            }
            for each in plan.laws
        ],
        "refused": dict(plan.refused),
        "disagreement": [asdict(one) | {"ratio": one.ratio} for one in plan.disagreement],
        "versions": {"moelaws": __version__},
    }
