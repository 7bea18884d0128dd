"""One optimiser step: loss, gradients, clipping, AdamW, balance."""

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from moelaws.config import TrainConfig
from moelaws.models import Transformer
from moelaws.models.router import RouterStatistics


class TrainingStep:
    """Takes steps of one model: fp32 on the CPU, bf16 autocast on CUDA.

    Args:
        model: the model, on its device.
        config: the recipe; the learning rate comes with each step.
        compiled: whether CUDA runs a compiled model; the CPU has layers of its own and compiles nothing.

    Attributes:
        optimiser: ``Optimiser``, with rates of their own for embeddings and routers, and no weight decay on gains.
    """

    def __init__(self, model: Transformer, config: TrainConfig, compiled: bool = False) -> None:
        self._model, self._config = model, config
        self._device = model.embedding.device
        on_cuda = self._device.type == "cuda"
        self._autocast = torch.autocast("cuda", torch.bfloat16, enabled=on_cuda)
        self._compute_loss = torch.compile(model.loss) if on_cuda and compiled else model.loss
        self._parameters = list(model.parameters())
        self.optimiser = _optimiser(model, config)

    def __call__(self, windows: Tensor, learning_rate: float) -> tuple[float, float]:
        """Take a step.

        Args:
            windows: token ids, sequences x (context + 1).
            learning_rate: of this step; groups scale it by their factor.

        Returns:
            Cross-entropy of the batch in nats per token, and the gradient's norm before clipping. Where either is
            not finite, the weights are left as they were.
        """
        config = self._config
        loss, total_norm, routers = self._gradients(windows.to(self._device, non_blocking=True))
        cross_entropy, norm = float(loss), float(total_norm)
        if not math.isfinite(cross_entropy) or not math.isfinite(norm):
            return cross_entropy, norm
        if norm > config.clip_norm:  # most steps need no scaling, which is a pass over every gradient
            torch.nn.utils.clip_grads_with_norm_(self._parameters, config.clip_norm, total_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["lr_factor"] * learning_rate
        self.optimiser.step()
        if config.balance_bias_rate:
            self._model.balance(routers, config.balance_bias_rate)
        return cross_entropy, norm

    def without_waiting(self, ids: Tensor, learning_rate: Tensor) -> tuple[Tensor, Tensor]:
        """The same step on CUDA, of which the host learns nothing: one that can be recorded as a graph.

        Args:
            ids: token ids on the device, sequences x (context + 1).
            learning_rate: on the device, a scalar.

        Returns:
            Cross-entropy and norm as scalars on the device. Where either is not finite, the weights are left as they
            were.
        """
        loss, total_norm, routers = self._gradients(ids)
        torch.nn.utils.clip_grads_with_norm_(self._parameters, self._config.clip_norm, total_norm)
        failed = (~(loss + total_norm).isfinite()).float()
        self.optimiser.step(learning_rate, failed)
        if self._config.balance_bias_rate:
            self._model.balance(routers, self._config.balance_bias_rate)
        return loss, total_norm

    def _gradients(self, ids: Tensor) -> tuple[Tensor, Tensor, list[RouterStatistics]]:
        """Cross-entropy of a batch, the norm of its gradients, which the parameters then hold, and its routers."""
        config = self._config
        self.optimiser.zero_grad(set_to_none=True)
        with self._autocast:
            loss, routers = self._compute_loss(ids[:, :-1], ids[:, 1:])
        objective = loss
        for router in routers:
            layers = len(routers)
            objective = objective + config.load_balance / layers * router.load_balance
            objective = objective + config.router_z / layers * router.router_z
        objective.backward()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        return loss.detach(), torch.nn.utils.get_total_norm(gradients), routers


class Optimiser(torch.optim.AdamW):
    """torch's fused AdamW, without what torch puts around it for optimisers that are compiled.

    At the first call that would import torch's compiler and, with it, 800 modules: more than a second at the start of
    each worker of a sweep, longer than a tiny run takes. The kernel and its numbers are the same.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)

    @torch.no_grad()
    def step(self, learning_rate: Tensor | None = None, failed: Tensor | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient.

        Args:
            learning_rate: on the parameters' device, instead of the groups' rates; groups scale it by their factor.
            failed: on that device: 1 leaves the parameters as they are.
        """
        for group in self.param_groups:
            lists: list[list[Tensor]] = [[] for _ in range(6)]
            self._init_group(group, *lists)
            parameters, gradients, means, squares, maxima, steps = lists
            if parameters:
                torch._foreach_add_(steps, 1)
                beta1, beta2 = group["betas"]
                rate = group["lr"] if learning_rate is None else learning_rate * group["lr_factor"]
                torch._fused_adamw_(
                    parameters, gradients, means, squares, maxima, steps, lr=rate, beta1=beta1, beta2=beta2,
                    weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
                    found_inf=failed,
                )  # fmt: skip


def _optimiser(model: Transformer, config: TrainConfig) -> Optimiser:
    groups: dict[str, dict[str, Any]] = {
        kind: {"params": [], "weight_decay": 0.0 if kind == "gain" else config.weight_decay, "lr_factor": factor}
        for kind, factor in {
            "matrix": 1.0,
            "gain": 1.0,
            "router": config.router_lr_factor,
            "embedding": config.embedding_lr_factor,
            "unembedding": config.embedding_lr_factor,
        }.items()
    }
    for name, parameter in model.named_parameters():
        kind = name.rpartition(".")[2]
        groups[kind if kind in groups else "matrix"]["params"].append(parameter)
    return Optimiser(
        [group for group in groups.values() if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )
