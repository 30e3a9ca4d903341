"""Attention and transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case

PRODUCTS = frozenset({"MatMul", "Mul", "Einsum"})


class Heads(nn.Module):
    """nn.MultiheadAttention of a signal with itself."""

    def __init__(self, *, batch_first: bool, weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.batch_first, self.weights = batch_first, weights

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_first:
            x = x.transpose(0, 1)
        y = self.attention(x, x, x, need_weights=self.weights)[0]
        return y if self.batch_first else y.transpose(0, 1)


class ScaledDot(nn.Module):
    """scaled_dot_product_attention."""

    def __init__(self, *, causal: bool, masked: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.causal, self.masked = causal, masked

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.reshape(x.shape[0], 5, 2, 4).transpose(1, 2)
            for part in self.project(x).chunk(3, -1)
        )
        mask = torch.ones(5, 5).tril().bool() if self.masked else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return y.transpose(1, 2).reshape(x.shape[0], 5, 8)


class ByHand(nn.Module):
    """Attention through einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.einsum("bid,bjd->bij", self.q(x), self.k(x)) / 8**0.5
        return torch.einsum("bij,bjd->bid", scores.softmax(-1), self.v(x))


class Patches(nn.Module):
    """A small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(2, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 13, 8))
        self.block = nn.TransformerEncoderLayer(
            8, 2, 16, batch_first=True, norm_first=True, activation="gelu"
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.place
        return self.head(self.norm(self.block(x))[:, 0])


class Mixer(nn.Module):
    """A mixer block, which has no attention."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.Linear(10, 5))
        self.channels = nn.Sequential(nn.Linear(8, 10), nn.GELU(), nn.Linear(10, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.one(x).transpose(1, 2)).transpose(1, 2)
        return (x + self.channels(self.two(x))).mean(1)


def encoder(**options: object) -> nn.Module:
    """One layer of nn.TransformerEncoder."""
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)


NO_UNFLATTEN = "aten::unflatten needs opset 13"
NO_DOT = "aten::scaled_dot_product_attention needs opset 14"
UNEXPORTED = {
    "attention": {"legacy-11": NO_UNFLATTEN, "legacy-13": NO_DOT},
    "attention_weights": {"legacy-11": NO_UNFLATTEN},
    "attention_tokens_first": {"legacy-11": NO_UNFLATTEN, "legacy-13": NO_DOT},
    "scaled_dot": {"legacy-11": NO_DOT, "legacy-13": NO_DOT},
    "scaled_dot_causal": {"legacy-11": NO_DOT, "legacy-13": NO_DOT},
    "scaled_dot_masked": {"legacy-11": NO_DOT, "legacy-13": NO_DOT},
    "attention_einsum": {"legacy-11": "aten::einsum needs opset 12"},
    "encoder_layer": {"legacy": "traces is_causal as a tensor"},
    "encoder_layer_gelu": {"legacy": "traces is_causal as a tensor"},
    "vision_transformer": {"legacy-11": NO_UNFLATTEN, "legacy-13": NO_DOT},
}
SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: Heads(batch_first=True, weights=False),
    "attention_weights": lambda: Heads(batch_first=True, weights=True),
    "attention_tokens_first": lambda: Heads(batch_first=False, weights=False),
    "scaled_dot": lambda: ScaledDot(causal=False),
    "scaled_dot_causal": lambda: ScaledDot(causal=True),
    "scaled_dot_masked": lambda: ScaledDot(causal=False, masked=True),
    "attention_einsum": ByHand,
    "encoder_layer": encoder,
    "encoder_layer_gelu": lambda: encoder(activation="gelu", norm_first=True),
}

CASES = [
    *(
        Case(name, make, (5, 8), PRODUCTS, unexported=UNEXPORTED.get(name, {}))
        for name, make in SEQUENCES.items()
    ),
    Case(
        "vision_transformer",
        Patches,
        (2, 8, 6),
        PRODUCTS,
        unexported=UNEXPORTED["vision_transformer"],
    ),
    Case("mixer", Mixer, (5, 8)),
]
