"""Two models run side by side, their hidden states blended after every block (Ben Chaliah and Dellagi 2025).

The published code differs from the paper's first algorithm: it does not merge weights, it runs both models. This is
what it runs; two models' FLOPs and memory, and an autoencoder besides.
Shape suffixes: B sequences, T time, D model width; R = B T rows.
"""

from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ModelConfig
from moelaws.models import RouterStatistics, Transformer
from moelaws.reshape.blend import blended_config
from moelaws.reshape.upcycle import ReshapeError


class Reconstruction(nn.Module):
    """An autoencoder on the residual stream, added to what comes in: at first it changes nothing.

    Args:
        width: of the stream.
        narrow: of the code; the paper takes three quarters of the width.
        kernel: positions that one output sees: 1, the token's own; 3, as published, the one before and **the one
            after** too, whose token is what the model is asked for.
        causal: whether a wider kernel looks back only.
    """

    def __init__(self, width: int, narrow: int, kernel: int = 1, causal: bool = True) -> None:
        super().__init__()
        self.encode = nn.Linear(width, narrow)
        self.mix = nn.Conv1d(narrow, width, kernel)
        self.padding = (kernel - 1, 0) if causal else (kernel // 2, kernel // 2)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The stream as it is rebuilt."""
        code_BTN = F.gelu(self.encode(x_BTD))
        return x_BTD + self.mix(F.pad(code_BTN.transpose(1, 2), self.padding)).transpose(1, 2)


class Superposition(nn.Module):
    """Two frozen models whose states are blended: h = (1 - a) block_1(h) + a block_2(h), one a for each place.

    Args:
        one, other: dense models of one shape and vocabulary; copied, and frozen.
        kernel: of the autoencoders after every block, see ``Reconstruction``; 0 for none.
        causal: whether they look back only; ``False`` is what was published, and leaks the next token.
        rebuild: weight of the distance to the hidden states of the model that a text is from.
        seed: draws the autoencoders.

    Raises:
        ReshapeError: the models are not alike, or have experts.

    Attributes:
        logits: of a, for the embeddings, each block, and what comes after.
        vocabulary: token ids.

    Example:
        >>> import moelaws as ml
        >>> shape = ml.ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, context=16)
        >>> both = Superposition(ml.Transformer(shape), ml.Transformer(shape, seed=1), kernel=1)
        >>> tuple(both(torch.arange(16)[None]).shape)
        (1, 16, 64)
    """

    def __init__(
        self, one: Transformer, other: Transformer, kernel: int = 0, causal: bool = True, rebuild: float = 3.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        config = blended_config(one.config, other.config)
        if one.config.is_moe or other.config.is_moe:
            raise ReshapeError("n_experts > 1: expected two dense models to be run side by side")
        self.one, self.other = (deepcopy(each).requires_grad_(False) for each in (one, other))
        self.logits = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in range(config.n_layers + 2))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.rebuilt = nn.ModuleList(
                Reconstruction(config.d_model, max(1, 3 * config.d_model // 4), kernel, causal)
                for _ in range(config.n_layers if kernel else 0)
            )
        self.vocabulary, self._rebuild = config.vocab_size, rebuild

    @property
    def config(self) -> ModelConfig:
        """The shape of either model."""
        return self.one.config

    @property
    def embedding(self) -> Tensor:
        """The first model's; it says where the weights are."""
        return self.one.embedding

    @property
    def shares(self) -> list[Tensor]:
        """a, from 0 to 1, of each place. A clamp, as published, would leave a share that reaches an end no way back."""
        return [torch.sigmoid(each) for each in self.logits]

    @property
    def extra_parameters(self) -> int:
        """Parameters besides the two models'."""
        return sum(p.numel() for p in [*self.logits, *self.rebuilt.parameters()])

    def states(self, ids_BT: Tensor) -> list[Tensor]:
        """The blended stream after each block."""
        turn_TJ = self.one.turns(ids_BT.shape[1])
        shares = self.shares
        x_BTD = torch.lerp(_embed(self.one, ids_BT), _embed(self.other, ids_BT), shares[0])
        found = []
        for layer, (mine, theirs) in enumerate(zip(self.one.blocks, self.other.blocks, strict=True)):
            x_BTD = torch.lerp(mine(x_BTD, turn_TJ)[0], theirs(x_BTD, turn_TJ)[0], shares[layer + 1])
            if self.rebuilt:
                x_BTD = self.rebuilt[layer](x_BTD)
            found.append(x_BTD)
        return found

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits of the next token, B x T x V: those of the two outputs, blended as well."""
        last = self.states(ids_BT)[-1]
        mine, theirs = (model.final_norm(last) @ model.output_weight.t() for model in (self.one, self.other))
        return torch.lerp(mine, theirs, self.shares[-1])

    @torch.no_grad()
    def token_losses(self, ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Cross-entropy of each next token in nats, B x T; for ``validate``."""
        logits_RV = self(ids_BT).flatten(0, 1)
        return F.cross_entropy(logits_RV, targets_BT.flatten(), reduction="none").view(ids_BT.shape), []

    def objective(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """What is made small, and the cross-entropy alone, on a batch whose first half is of the first model's text.

        With autoencoders the distance to the states that the right model has of the same text, over their variance,
        is added: the text's label is used in training, never afterwards.
        """
        ids, targets = windows[:, :-1], windows[:, 1:]
        loss = F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())
        if not self.rebuilt:
            return loss, loss
        return loss + self._rebuild * self.distances(ids)[0], loss

    def distances(self, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared distance of the states to the right model's and to the wrong one's, over their variance.

        Args:
            ids_BT: the first half is of the first model's text.
        """
        half = len(ids_BT) // 2
        near, far = [], []
        mine, theirs = (_states(model, ids_BT) for model in (self.one, self.other))
        for state, a, b in zip(self.states(ids_BT), mine, theirs, strict=True):
            right, wrong = torch.cat([a[:half], b[half:]]), torch.cat([b[:half], a[half:]])
            scale = right.var()
            near.append((state - right).square().mean() / scale)
            far.append((state - wrong).square().mean() / scale)
        return torch.stack(near).mean(), torch.stack(far).mean()


def _embed(model: Transformer, ids_BT: Tensor) -> Tensor:
    x_BTD = F.embedding(ids_BT, model.embedding)
    return x_BTD if model.shift is None else model.shift(x_BTD)


@torch.no_grad()
def _states(model: Transformer, ids_BT: Tensor) -> list[Tensor]:
    """A model's own stream after each block."""
    x_BTD, turn_TJ = _embed(model, ids_BT), model.turns(ids_BT.shape[1])
    found = []
    for block in model.blocks:
        x_BTD, _ = block(x_BTD, turn_TJ)
        found.append(x_BTD)
    return found


def likelier(losses_JBT: Tensor) -> Tensor:
    """Loss of a branch-train-merge of models: each token's probability is the models' mean, weighted by the context.

    A model's weight is the probability that the tokens read so far are its own, from even odds at the start of each
    sequence: Bayes' rule, no training, and no look at the next token. It runs all the models.

    Args:
        losses_JBT: cross-entropy of each next token under each of J models, nats.

    Returns:
        That of the merged models, B x T.

    Source: Li et al. 2022 (Branch-Train-Merge, remembered, not read again), there with a prior from training text.

    Example:
        >>> float(likelier(torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]]]))[0, 1])
        1.0
    """
    before = F.pad(losses_JBT.double().cumsum(-1)[..., :-1], (1, 0))
    weights = torch.log_softmax(-before, dim=0)
    return -torch.logsumexp(weights - losses_JBT, dim=0)
