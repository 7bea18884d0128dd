"""A count as text for people."""

from collections.abc import Iterator, Sequence

from moelaws.exchange.model_count import ModelCount
from moelaws.exchange.precision import PRECISIONS


def count_text(count: ModelCount, contexts: Sequence[int]) -> str:
    """What ``moelaws count`` prints of one model."""
    return "\n".join(_lines(count, contexts))


def _lines(count: ModelCount, contexts: Sequence[int]) -> Iterator[str]:
    built, p = count.architecture, count.parameters
    yield f"{count.name} ({count.family}): {_shape(count)}"
    yield f"  parameters   {p.total:>20,} total{p.active:>19,} active ({p.active / p.total:.1%})"
    for what, total, active in (
        ("embeddings", p.embedding + p.unembedding, p.embedding + p.unembedding),
        ("attention", p.attention, p.attention),
        ("dense, shared", p.feed_forward, p.feed_forward),
        ("routed experts", p.experts, p.active_experts),
        ("router, norms", p.router + p.norms, p.router + p.norms),
    ):
        if total:
            yield f"    {what:15}{total:>16,}      {active:>19,}"
    yield "  weights      " + ", ".join(f"{count.weight_bytes(name) / 1e9:,.4g} GB in {name}" for name in PRECISIONS)
    yield f"  cache        {count.kv_bytes_per_token():,.0f} bytes a token in bf16{_window(count)}"
    yield "  at a context of    FLOPs to train on a token    to decode one    cache of a request"
    for context in contexts:
        yield (
            f"    {context:>15,}{count.training_flops_per_token(context):>29.4g}"
            f"{count.decode_flops_per_token(context):>17.4g}{count.kv_bytes(context) / 1e6:>19,.4g} MB"
        )
    for note in built.notes:
        yield f"  note: {note}"


def _shape(count: ModelCount) -> str:
    built, experts = count.architecture, count.architecture.experts
    layers = f"{built.layers} layers of width {built.width}"
    if experts is None:
        return f"{layers}, dense"
    shared = " and shared ones" if experts.shared.total else ""
    where = "each" if built.expert_layers == built.layers else f"{built.expert_layers} of them"
    return f"{layers}, {where} with {experts.n_experts} experts, {experts.top_k} for a token{shared}"


def _window(count: ModelCount) -> str:
    built = count.architecture
    if not built.windowed_layers:
        return ""
    return f"; {built.windowed_layers} of {built.layers} layers keep the last {built.window:,} tokens alone"
