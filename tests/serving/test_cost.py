"""Batch, throughput and dollars by hand (Yun et al. 2024, Eq. 5 and 6), and profiled latencies."""

from dataclasses import dataclass

import numpy as np
import pytest

from moelaws.optimum.family import alternating
from moelaws.serving.cost import Deployment, Roofline, Traffic, deploy, largest_batch, serve, serve_on
from moelaws.serving.hardware import accelerator, node
from moelaws.serving.roofline import decode_work, prefill_work, step_seconds
from moelaws.serving.served import served_family
from moelaws.serving.shape import ShapeRule

SHAPE = ShapeRule(mu=0.04, aspect=100.0)  # h l = 0.04 N^(2/3): 40,000 for a billion parameters


@dataclass(frozen=True)
class Fixed:
    """Latencies anyone can follow: reading a prompt takes a tenth of a second, a step 10 ms and 1 ms a request."""

    def prefill(self, model, prompts, gpus):
        return 0.1 * prompts / gpus

    def decode(self, model, batch, gpus):
        return (0.01 + 0.001 * batch) / gpus


def at(**changes) -> Deployment:
    values = dict(
        name="box", latency=Fixed(), gpus=(1,), memory_bytes=10e9, train_flops_per_second=1e14, dollars_per_hour=3.6,
        traffic=Traffic(200, 400),
    )  # fmt: skip
    return Deployment(**(values | changes))


def model(n: float = 1e9, e: int = 1, k: int = 1):
    return served_family(alternating(), n, e, k, SHAPE, 0.5)


def test_the_largest_batch_by_hand():
    # 10 GB hold 5e9 values; 4e9 beside the weights; (2 x 200 + 400) x 40,000 = 3.2e7 values a request.
    assert largest_batch(at(), model(), 1) == pytest.approx(125)
    assert largest_batch(at(), model(), 2) == pytest.approx((10e9 - 1e9) / 3.2e7)
    assert largest_batch(at(memory_share=0.5), model(), 1) == pytest.approx(1.5e9 / 3.2e7)
    assert largest_batch(at(max_batch=64), model(), 1) == 64
    # 8 experts: (1 + 7/3) N to hold, the same cache.
    assert largest_batch(at(), model(e=8, k=2), 1) == pytest.approx((5e9 - 10 / 3 * 1e9) / 3.2e7)


def test_throughput_and_cost_by_hand():
    found = serve_on(at(), model(), 1)
    seconds = 0.01 + 0.125 + 0.1 * 125 / 400
    assert found.step_seconds == pytest.approx(seconds)
    assert found.tokens_per_second == pytest.approx(125 / seconds)
    # $3.60 an hour is a tenth of a cent a second.
    assert found.dollars_per_token == pytest.approx(0.001 * seconds / 125)
    assert at().training_dollars(1e14 * 7200) == pytest.approx(7.2)


def test_equation_6_as_it_is_printed():
    # T = (G M0 - N) / (k h l [L_P((G M0 - N) / (k n h l)) + L_D((G M0 - N) / (k h l))]), k = 2p + n, in values.
    p, n, gpus, values = 200, 400, 2, 5e9
    room, khl = gpus * values - 1e9, (2 * p + n) * 0.04 * 1e6
    printed = room / (khl * (Fixed().prefill(None, room / (khl * n), gpus) + Fixed().decode(None, room / khl, gpus)))
    assert serve_on(at(), model(), gpus).tokens_per_second == pytest.approx(printed)


def test_the_cheapest_number_of_processors_is_taken_for_each_model():
    sizes = np.array([1e9, 4.9e9, 6e9, 30e9])
    found = serve(at(gpus=(1, 2, 8)), model(sizes))
    each = [serve_on(at(), model(sizes), g).dollars_per_token for g in (1, 2, 8)]
    assert found.dollars_per_token == pytest.approx(np.min(each, axis=0))
    assert found.gpus.tolist() == [(1, 2, 8)[int(np.argmin([each[0][i], each[1][i], each[2][i]]))] for i in range(4)]
    assert found.gpus[3] == 8  # 60 GB of weights


def test_what_does_not_fit_costs_infinitely_much():
    found = serve(at(gpus=(1, 2)), model(np.array([1e9, 1e12])))
    assert np.isfinite(found.dollars_per_token[0])
    assert np.isinf(found.dollars_per_token[1])
    assert (found.gpus[1], found.batch[1], found.tokens_per_second[1]) == (0, 0, 0)


def test_a_roofline_is_steps_of_the_machine():
    device, traffic = accelerator("a100-40gb"), Traffic(200, 400)
    latency = Roofline({2: node(device, 2)}, traffic)
    served = model(e=8, k=2)
    assert latency.decode(served, 30, 2) == pytest.approx(step_seconds(node(device, 2), decode_work(served, 30, 400)))
    one = step_seconds(node(device, 2), prefill_work(served, 1, 200))
    assert latency.prefill(served, 1, 2) == pytest.approx(one)
    assert latency.prefill(served, 0.25, 2) == pytest.approx(one / 4)  # every fourth iteration admits a prompt


def test_deploy_takes_the_preset_and_changes():
    found = deploy(accelerator("h100"), (1, 8), dollars_per_hour=9.0)
    assert (found.name, found.gpus, found.memory_bytes, found.dollars_per_hour) == ("h100", (1, 8), 80e9, 9.0)
    assert found.train_flops_per_second == pytest.approx(0.4 * 989e12)
    assert deploy(accelerator("h100")).dollars_per_hour == 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpus": ()}, r"gpus = \(\), expected whole numbers"),
        ({"dollars_per_hour": -1}, "dollars_per_hour = -1"),
        ({"dollars_per_hour": 0}, "expected > 0"),
    ],
)
def test_deployments_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        at(**change)
    with pytest.raises(ValueError, match="output_tokens = 0, expected a number > 0"):
        Traffic(1, 0)
