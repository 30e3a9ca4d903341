"""Train a small network privately, without clipping a gradient: seconds on one core.

python docs/examples/private_digits.py [STEPS]

Every step: a Poisson sample of the data, the sum of its gradients plus noise in proportion to the
sensitivity that lipcert proves for the weights of that step, then a projection that keeps the
weights' norms, and with them the next sensitivity, small.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import lipcert

DATA = Path(__file__).resolve().parents[2] / "sample_models" / "digits_test.npz"
LOSS = "cross-entropy,temperature=multiplies,tau=8"
BATCH, DELTA, NOISE, RATE = 96, 1e-4, 1.0, 0.02


def project(model: torch.nn.Sequential) -> None:
    """Spectral norms of at most 1 and biases of at most 1/2, by rescaling."""
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, torch.nn.Linear):
                layer.weight /= torch.linalg.matrix_norm(layer.weight, 2).clamp(min=1.0)
                layer.bias /= (2.0 * layer.bias.norm()).clamp(min=1.0)


def accuracy(model: torch.nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of correct predictions."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def main(steps: int = 150) -> float:
    """Train, and return the accuracy on what was held back."""
    stored = np.load(DATA)
    x, y = torch.from_numpy(stored["x"]), torch.from_numpy(stored["y"])
    (x, held_x), (y, held_y) = x.split(360), y.split(360)
    torch.manual_seed(0)  # for the example; real noise needs a seed that nobody knows
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ).eval()
    project(model)
    run = lipcert.PrivacySettings(
        batch_size=BATCH,
        dataset_size=len(x),
        steps=steps,
        delta=DELTA,
        noise_multiplier=NOISE,
    )
    loss = lipcert.parse_loss(LOSS)
    tracker = lipcert.SensitivityTracker(model, loss=loss, input_bound="clip:4", input_shape=(64,))
    epsilon = tracker.update(privacy=run).privacy.epsilon
    for _ in range(steps):
        noise = NOISE * tracker.update().sensitivities.global_delta
        batch = torch.rand(len(x)) < BATCH / len(x)
        inputs = x[batch] * (4.0 / x[batch].norm(dim=1, keepdim=True)).clamp(max=1.0)
        model.zero_grad()
        loss.per_example(model(inputs), y[batch]).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                gradient = parameter.grad + noise * torch.randn_like(parameter)
                parameter -= RATE / BATCH * gradient
        project(model)
    reached = accuracy(model, held_x, held_y)
    print(f"{reached:.1%} of {len(held_y)} held-out digits, epsilon {epsilon:.2f}, delta {DELTA}")
    return reached


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
