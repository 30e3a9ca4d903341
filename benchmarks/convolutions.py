"""Norms of convolutions: torus, explicit, the SVD of the explicit matrix, power iteration.

python benchmarks/convolutions.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from common import dev_folder, manifest, median_seconds, save

import lipcert
from lipcert.graph import Affine
from lipcert.operators import Convolution, flat_identity
from lipcert.spectral import NormSettings, explicit_bound, torus_bound
from lipcert.spectral.estimates import power_estimate
from lipcert.spectral.norms import one_group

SVD_SIDE = 2100
"""Largest smaller side whose SVD is computed for comparison."""
EXPLICIT_SIDE = 10_000
"""Largest smaller side whose explicit Gram matrix is proved."""


def dev_convolutions() -> list[tuple[str, Convolution]]:
    """Every convolution of the development models with a name."""
    found = []
    for entry in manifest():
        graph = lipcert.load(dev_folder() / "models" / entry["file"])
        for node in graph.nodes:
            if (
                isinstance(node.operation, Affine)
                and isinstance(node.operation.operator, Convolution)
                and node.onnx_type == "Conv"
            ):
                found.append((f"{entry['file']}: {node.name}", node.operation.operator))
    return found


def example() -> Convolution:
    """The 64×64×5×5 kernel on 12×12 with padding 2 (torch.manual_seed(42), randn / 8)."""
    torch.manual_seed(42)
    weight = (torch.randn(64, 64, 5, 5) / 8).double()
    return Convolution(
        weight, (12, 12), stride=(1, 1), dilation=(1, 1), pads_begin=(2, 2), pads_end=(2, 2)
    )


def timed(call: Callable[[], float], *, slow: bool) -> tuple[float, float]:
    """A call's value and its time in milliseconds: one run when slow, else the median of three."""
    start = time.perf_counter()
    value = call()
    first = 1e3 * (time.perf_counter() - start)
    return value, first if slow else 1e3 * median_seconds(call, 3)


def row(name: str, operator: Convolution) -> dict[str, object]:
    """Every way to a convolution's norm, its value and its time."""
    operator = one_group(operator)
    side = min(operator.in_size, operator.out_size)
    svd, gram = NormSettings(spectral="svd"), NormSettings(spectral="gram")
    ways: dict[str, Callable[[], float]] = {
        "torus": lambda: torus_bound(operator, svd).value,
        "gram": lambda: torus_bound(operator, gram).value,
        "power": lambda: power_estimate(operator, 100),
    }
    if side <= EXPLICIT_SIDE:
        ways["explicit"] = lambda: explicit_bound(operator, svd).value
    if side <= SVD_SIDE:
        matrix = explicit_matrix(operator)
        ways["svd"] = lambda: float(torch.linalg.svdvals(matrix)[0])
    result: dict[str, object] = {
        "convolution": name,
        "kernel": "×".join(map(str, operator.weight.shape)),
        "stride": operator.stride[0],
        "side": side,
    }
    times = {}
    for way, call in ways.items():
        slow = way in ("power", "svd") or side > 1100
        result[way], times[way] = timed(call, slow=slow)
        result[f"{way} ms"] = times[way]
    if "explicit" in ways:
        result["torus/explicit"] = result["torus"] / result["explicit"]  # type: ignore[operator]
    if "svd" in ways:
        for way in ("torus", "gram", "explicit"):
            result[f"svd/{way}"] = times["svd"] / times[way]
    result["power/torus"] = times["power"] / times["torus"]
    return result


def explicit_matrix(operator: Convolution) -> torch.Tensor:
    """The convolution as a dense matrix."""
    columns = operator.apply(flat_identity(0, operator.in_size, operator.in_shape, None))
    return columns.reshape(operator.in_size, -1).T


def main() -> None:
    rows = []
    for name, operator in [*dev_convolutions(), ("random 5×5 on 12×12, padding 2", example())]:
        rows.append(row(name, operator))
        print(rows[-1], flush=True)
    columns = [
        "convolution",
        "kernel",
        "stride",
        "side",
        "torus",
        "explicit",
        "torus/explicit",
        "power",
        "svd",
        "torus ms",
        "gram ms",
        "explicit ms",
        "power ms",
        "svd ms",
        "svd/torus",
        "svd/gram",
        "svd/explicit",
        "power/torus",
    ]
    save(
        "convolutions",
        rows,
        columns,
        "Proven spectral norms of convolutions (torus: per-frequency eigenvalues and proof; gram: "
        "Gram iteration; explicit: Gram matrix of the zero-padded operator and proof) beside "
        "estimates: 100 steps of power iteration and the SVD of the explicit matrix. Ratios of "
        "times are from the same run; above 1 means that the proven way is faster.",
    )


if __name__ == "__main__":
    main()
