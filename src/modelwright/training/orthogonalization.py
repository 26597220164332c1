"""Orthogonalization: the nearest matrix with equal singular values, by Newton-Schulz iterations on a batch of matrices.

Legend: N matrices, P rows, Q columns.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Coefficients = Literal["jordan", "polar_express"]

_SAFETY = 1.01
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
ITERATIONS: dict[Coefficients, tuple[tuple[float, float, float], ...]] = {
    "jordan": ((3.4445, -4.7750, 2.0315),) * 5,
    "polar_express": tuple((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR_EXPRESS),
}
"""Coefficients (a, b, c) of each iteration's X <- a X + b XX'X + c XX'XX'X.

`jordan`: Jordan et al. (2024), kellerjordan.github.io/posts/muon; singular values end in about 0.7 to 1.2. `polar_express`: Amsel et al. (2025),
arXiv:2505.16932, algorithm 1, for singular values from 0.001; they end nearer to 1.
"""


def orthogonalize(matrices: Tensor, coefficients: Coefficients = "jordan", iterations: int = 5, epsilon: float = 1e-7) -> Tensor:
    """U V' of the singular value decomposition U S V' of each matrix, nearly; computed in the format of the matrices.

    Args:
        matrices: (N, P, Q) with P <= Q, for speed.
        coefficients: which row of `ITERATIONS`.
        iterations: of five; the time is proportional to them.
        epsilon: least norm that a matrix is divided by.
    """
    norm = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True, dtype=torch.float32).clamp_(min=epsilon)
    x = (matrices / norm).to(matrices.dtype)
    for a, b, c in ITERATIONS[coefficients][:iterations]:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
