"""Experts: feed-forward layers side by side, a few of which each token is sent to by a learned router.

B batch, T time, D width, I width inside an expert, E experts, N tokens, A experts of a token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.core.device import has_values
from modelwright.nn.dropout import Dropout
from modelwright.nn.feedforward import Inner, bend, maps_in, role_in
from modelwright.nn.initialization import Fill, ending_branch, with_role


class Experts(nn.Module):
    """A sparse mixture of experts that drops no token (Shazeer et al. 2017; Gale et al. 2023, MegaBlocks).

    In training it leaves in `penalty` what keeps the experts in use, a mean over tokens: `balance` times the load-balancing loss of Fedus et
    al. 2022 (Switch Transformers, equation 4), plus `z_loss` times the router's z-loss of Zoph et al. 2022 (ST-MoE, equation 5).

    Args:
        width: D.
        hidden: I of each expert.
        experts: E.
        per_token: A, of E. One expert's output is weighted by its probability; the weights of several sum to 1.
        inner: the nonlinearity inside.
        balance: coefficient of the load-balancing loss, which is 1 when all experts are used alike.
        z_loss: coefficient of the mean square of the logarithm of the router's partition function.
        dropout: probability that a hidden value is dropped in training.
        output_scale: factor on the initial weights of each expert's second map.
    """

    penalty: Tensor | None

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int,
        per_token: int,
        *,
        inner: Inner = "gelu",
        balance: float = 0.01,
        z_loss: float = 0.0,
        dropout: float = 0.0,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        assert 1 <= per_token <= experts, (per_token, experts)
        self.router = with_role(nn.Linear(width, experts, bias=False), "linear")
        self.expand = nn.Parameter(torch.zeros(experts, maps_in(inner) * hidden, width))
        self.output = nn.Parameter(torch.zeros(experts, width, hidden))
        self.inner: Inner = inner
        self.per_token, self.balance, self.z_loss = per_token, balance, z_loss
        self.dropout, self.output_scale = Dropout(dropout), output_scale
        self.penalty = None
        ending_branch(self, "output")

    def initialize(self, fill: Fill) -> None:
        """Draw the maps of all experts."""
        fill(self.expand, role_in(self.inner), fan_in=self.expand.shape[2])
        fill(self.output, "linear", fan_in=self.output.shape[2], scale=self.output_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        x_ND = x.flatten(0, -2)
        logit_NE = self.router(x_ND)
        logit_NE = logit_NE.to(torch.promote_types(logit_NE.dtype, torch.float32))
        probability_NE = logit_NE.softmax(-1)
        weight_NA, expert_NA = probability_NE.topk(self.per_token, dim=-1)
        if self.per_token > 1:
            weight_NA = weight_NA / weight_NA.sum(-1, keepdim=True)
        if torch.compiler.is_exporting():
            return self._by_all(x_ND, weight_NA, expert_NA).view_as(x)
        order = expert_NA.flatten().argsort(stable=True)
        token = order // self.per_token
        sent = torch.bincount(expert_NA.flatten(), minlength=len(self.expand)) if has_values(x) else None
        self.penalty = self._penalty(logit_NE, probability_NE, expert_NA) if self.training else None
        given_ND = self._work(x_ND[token], sent)  # type: ignore[call-arg]
        given_ND = given_ND * weight_NA.flatten()[order, None].to(given_ND.dtype)
        return torch.zeros_like(x_ND).index_add(0, token, given_ND.to(x.dtype)).view_as(x)

    def _by_all(self, x_ND: Tensor, weight_NA: Tensor, expert_NA: Tensor) -> Tensor:
        """Every token through every expert, those that it isn't sent to with weight 0: a graph can't tell how many come to each."""
        weight_NE = weight_NA.new_zeros(x_ND.shape[0], len(self.expand)).scatter(1, expert_NA, weight_NA).to(x_ND.dtype)
        hidden_ENI = bend(torch.matmul(x_ND, self.expand.transpose(1, 2)), self.inner)
        given_END = torch.matmul(hidden_ENI, self.output.transpose(1, 2))
        return torch.einsum("end,ne->nd", given_END, weight_NE)

    def _penalty(self, logit_NE: Tensor, probability_NE: Tensor, expert_NA: Tensor) -> Tensor:
        share_E = F.one_hot(expert_NA, logit_NE.shape[1]).to(probability_NE.dtype).mean((0, 1))
        penalty = self.balance * len(self.expand) * (share_E * probability_NE.mean(0)).sum()
        if self.z_loss:
            penalty = penalty + self.z_loss * logit_NE.logsumexp(-1).square().mean()
        return penalty

    # Not torch.compiler.disable, which imports the compiler at once: a second of every command.
    @torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage]
    def _work(self, x_ND: Tensor, sent_E: Tensor | None) -> Tensor:
        """Each expert to its own run of the sorted tokens; without data, on the meta device, all runs are alike."""
        experts = len(self.expand)
        runs = [len(part) for part in torch.arange(len(x_ND)).tensor_split(experts)] if sent_E is None else sent_E.tolist()
        given = []
        for expert, run_ND in enumerate(x_ND.split(runs)):
            hidden = self.dropout(bend(F.linear(run_ND, self.expand[expert]), self.inner))
            given.append(F.linear(hidden, self.output[expert]))
        return torch.cat(given)
