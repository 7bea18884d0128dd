"""Configurations: what is refused, with which words, and what makes two runs the same."""

from dataclasses import replace

import pytest

from moelaws.config import ConfigError, ModelConfig, RunConfig, TrainConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_experts": 4, "top_k": 5}, "top_k = 5: expected at most n_experts = 4"),
        ({"d_model": 30, "n_heads": 4}, "n_heads = 4: expected a divisor of d_model = 30"),
        ({"d_model": 12, "n_heads": 4}, "expected an even head width d_model / n_heads, found 3"),
        ({"granularity": 3}, "granularity = 3: expected a divisor of d_ff = 256"),
        ({"n_layers": 0}, "n_layers = 0: expected a whole number >= 1"),
        ({"n_experts": True}, "n_experts = True: expected a whole number >= 1"),
        ({"shared_experts": -1, "n_experts": 4}, "shared_experts = -1: expected a whole number >= 0"),
        ({"shared_experts": 1}, "shared_experts = 1: expected 0 with n_experts = 1"),
        ({"granularity": 2}, "granularity = 2: expected 1 with n_experts = 1"),
        ({"moe_every": 2, "n_layers": 3}, "moe_every = 2: expected a divisor of n_layers = 3"),
        ({"n_experts": 4, "renormalize_top_k": True}, "renormalize_top_k = True: expected False with top_k = 1"),
        ({"router_scores": "hash", "n_experts": 4}, "router_scores = 'hash': expected 'softmax' or 'sigmoid'"),
        ({"router_scores": None, "n_experts": 4}, "router_scores = None: expected 'softmax' or 'sigmoid'"),
        ({"router_scores": "sigmoid"}, "router_scores = 'sigmoid': expected 'softmax' with n_experts = 1"),
        ({"rope_theta": 1.0}, "rope_theta = 1.0: expected a number > 1"),
    ],
)
def test_a_model_that_cannot_be_is_refused_by_field(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        ModelConfig(**fields)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokens": 0}, "tokens = 0: expected a whole number >= 1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0: expected a number > 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: expected a number > 0"),
        ({"warmup_fraction": 1.5}, "warmup_fraction = 1.5: expected a number from 0 to 1"),
        ({"load_balance": -0.1}, "load_balance = -0.1: expected a number >= 0"),
        ({"seed": -1}, "seed = -1: expected a whole number >= 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_field(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        TrainConfig(**fields)
    assert message in str(refusal.value)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="ModelConfig has no field 'experts'"):
        ModelConfig.from_dict({"experts": 8})


def test_a_configuration_survives_its_dictionary() -> None:
    model = ModelConfig(n_experts=8, top_k=2, granularity=2)
    assert ModelConfig.from_dict(model.to_dict()) == model


def test_every_field_that_changes_the_computation_changes_the_run_id() -> None:
    run = RunConfig()
    others = [
        replace(run, model=replace(run.model, n_experts=2)),
        replace(run, train=replace(run.train, seed=1)),
        replace(run, train=replace(run.train, learning_rate=1e-3)),
        replace(run, corpus="novel.txt"),
        replace(run, corpus_sha256="ab"),
    ]
    assert len({run.run_id, *(other.run_id for other in others)}) == 6


def test_a_field_that_came_later_leaves_recorded_ids_alone_at_its_default_only() -> None:
    run = RunConfig()
    assert replace(run, model=replace(run.model, token_shift=False)).run_id == "7a05cd31309e3528"
    assert replace(run, model=replace(run.model, token_shift=True)).run_id != run.run_id


def test_a_whole_number_in_the_place_of_a_fraction_is_the_same_run() -> None:
    """A table holds no 0 where a field has fractions: it would give back another run than the one it was given."""
    whole, fraction = (
        RunConfig(train=TrainConfig(weight_decay=zero, clip_norm=one)) for zero, one in ((0, 1), (0.0, 1.0))
    )
    assert whole.run_id == fraction.run_id
    assert whole == fraction
    assert repr(whole.train.weight_decay) == "0.0"


def test_the_run_id_is_that_of_what_is_computed() -> None:
    run = RunConfig()
    one_token_more = replace(run, train=replace(run.train, tokens=run.train.tokens + 1))
    moved = replace(run, corpus="/somewhere/else", corpus_sha256="ab")
    assert one_token_more.run_id == run.run_id
    assert moved.run_id == replace(run, corpus="here", corpus_sha256="ab").run_id
    # Recorded tables carry these ids: a change here makes every recorded run a stranger to the sweep that made it.
    assert run.run_id == "7a05cd31309e3528"
