"""Norms of convolutions: torus, explicit, the SVD of the explicit matrix, power iteration.

    python benchmarks/convolutions.py
"""

from __future__ import annotations

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


def dev_convolutions() -> list[tuple[str, Convolution]]:
    """Every convolution of the development models with a name."""
    found = []
    for entry in manifest():
        graph = lipcert.load(dev_folder() / "models" / entry["file"])
        for node in graph.nodes:
            if isinstance(node.operation, Affine) and isinstance(
                node.operation.operator, Convolution
            ) and node.onnx_type == "Conv":
                found.append((f"{entry['file']}: {node.name}", node.operation.operator))
    return found


def example() -> Convolution:
    """The 64×64×5×5 kernel on 12×12 with padding 2 (torch.manual_seed(42), randn / 8)."""
    torch.manual_seed(42)
    weight = (torch.randn(64, 64, 5, 5) / 8).double()
    return Convolution(
        weight, (12, 12), stride=(1, 1), dilation=(1, 1), pads_begin=(2, 2), pads_end=(2, 2)
    )


def row(name: str, operator: Convolution) -> dict[str, object]:
    """Every way to a convolution's norm, its value and its time."""
    operator = one_group(operator)
    side = min(operator.in_size, operator.out_size)
    svd, gram = NormSettings(spectral="svd"), NormSettings(spectral="gram")
    torus = torus_bound(operator, svd).value
    result: dict[str, object] = {
        "convolution": name,
        "kernel": "×".join(map(str, operator.weight.shape)),
        "stride": operator.stride[0],
        "side": side,
        "torus": torus,
        "torus ms": 1e3 * median_seconds(lambda: torus_bound(operator, svd), 3),
        "gram ms": 1e3 * median_seconds(lambda: torus_bound(operator, gram), 3),
        "power-100": power_estimate(operator, 100),
        "power ms": 1e3 * median_seconds(lambda: power_estimate(operator, 100), 1),
    }
    if side <= 10_000:
        repeats = 3 if side <= 1100 else 1
        explicit = explicit_bound(operator, svd).value
        result["explicit"] = explicit
        result["explicit ms"] = 1e3 * median_seconds(lambda: explicit_bound(operator, svd), repeats)
        result["torus/explicit"] = torus / explicit
    if side <= SVD_SIDE:
        matrix = explicit_matrix(operator)
        result["svd"] = float(torch.linalg.svdvals(matrix)[0])
        result["svd ms"] = 1e3 * median_seconds(lambda: torch.linalg.svdvals(matrix), 1)
        for way in ("torus", "gram", "explicit"):
            result[f"svd/{way}"] = result["svd ms"] / result[f"{way} ms"]  # type: ignore[operator]
    result["power/torus"] = result["power ms"] / result["torus ms"]  # type: ignore[operator]
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
        "convolution", "kernel", "stride", "side", "torus", "explicit", "torus/explicit",
        "power-100", "svd", "torus ms", "gram ms", "explicit ms", "power ms", "svd ms",
        "svd/torus", "svd/gram", "svd/explicit", "power/torus",
    ]
    save(
        "convolutions", rows, columns,
        "Proven spectral norms of convolutions (torus: per-frequency eigenvalues and proof; gram: "
        "Gram iteration; explicit: Gram matrix of the zero-padded operator and proof) beside "
        "estimates: 100 steps of power iteration and the SVD of the explicit matrix. Ratios of "
        "times are from the same run; above 1 means that the proven way is faster.",
    )


if __name__ == "__main__":
    main()
