"""One shared check for every family that grows: the same outputs, and gradients reach every parameter."""

from __future__ import annotations

import torch
from harness.families import Case, inputs

from modelwright.growth.channels import NOISE
from modelwright.growth.network import Grown, compare_outputs, grow_network
from modelwright.models.network import Network, build_network
from modelwright.nn.head import HeadConfig

EXACT = 1e-10


def trained(case: Case, head: HeadConfig) -> Network:
    """The case's network in float64, with every parameter and statistic moved from where it starts."""
    network = build_network(case.schema, case.family, case.outputs, stem=case.stem, head=head).double().eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand(buffer.shape, generator=random))
    return network


def grown(case: Case, *, width: float = 1, depth: float = 1, head: HeadConfig | None = None, noise: float = NOISE) -> tuple[Network, Grown]:
    """The case's network and what it grows to."""
    head = head or HeadConfig()
    network = trained(case, head)
    batches = [{name: _double(tensor) for name, tensor in inputs(case.schema, 32).items()}]
    return network, grow_network(
        network, case.schema, case.family, width=width, depth=depth, stem=case.stem, head=head, batches=batches, noise=noise
    )


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def check_grows(case: Case, *, width: float = 1, depth: float = 1, head: HeadConfig | None = None) -> None:
    """The outputs are the same but for rounding, and the network is larger."""
    network, larger = grown(case, width=width, depth=depth, head=head)
    equality = compare_outputs(network, larger.network, [inputs(case.schema, 16)])
    assert equality.holds
    assert equality.difference < EXACT * max(1.0, equality.largest)
    assert equality.agreement == 1
    assert equality.largest > 0.01
    assert sum(p.numel() for p in larger.network.parameters()) > sum(p.numel() for p in network.parameters())
    built = build_network(case.schema, larger.family, case.outputs, stem=case.stem, head=head or HeadConfig())
    built.load_state_dict(larger.network.state_dict())


def check_learns(case: Case, *, width: float = 1, depth: float = 1) -> None:
    """Within a few steps gradients reach every parameter."""
    _, larger = grown(case, width=width, depth=depth)
    network = larger.network.float().train()
    given = inputs(case.schema)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    gradients: dict[str, float] = {name: 0.0 for name, _ in network.named_parameters()}
    for _ in range(4):
        output = network(given).flatten(0, -2)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(output, torch.arange(len(output)) % case.outputs).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            gradients[name] += parameter.grad.abs().sum().item()
        optimizer.step()
    assert [name for name, gradient in gradients.items() if not gradient] == []
