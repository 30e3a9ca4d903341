"""``sensitivity``: from a model, a loss and an input bound to bounds, noise and their check."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipcert.api import load, norm_settings
from lipcert.bounds.context import Progress, silent
from lipcert.certification.data import Dataset, check_labels, check_layout, open_dataset
from lipcert.certification.normalization import Normalization
from lipcert.display import Tabular
from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.operators import Shape
from lipcert.sensitivities.comparison import Comparison, compare
from lipcert.sensitivities.engine import sensitivities
from lipcert.sensitivities.groups import noise_groups
from lipcert.sensitivities.input_options import PreparedSamples, read_inputs
from lipcert.sensitivities.losses import Loss, make_loss, parse_loss
from lipcert.sensitivities.memory import Memory
from lipcert.sensitivities.parts import QUICK, TIGHTEST
from lipcert.sensitivities.privacy import PrivacyResult, PrivacySettings, account
from lipcert.sensitivities.result import Sensitivities

if TYPE_CHECKING:
    from lipcert.api import Model


@dataclass(frozen=True, eq=False)
class Analysis(Tabular):
    """Sensitivities, and what was asked for beside them.

    Parameters
    ----------
    loss : what the bounds are of.
    privacy : the noise and the ε that it gives, None unless asked for.
    comparison : gradient norms of a data set, None without one.
    """

    sensitivities: Sensitivities
    loss: Loss
    privacy: PrivacyResult | None = None
    comparison: Comparison | None = None

    def __str__(self) -> str:
        return str(self.sensitivities)


def sensitivity(
    model: Model,
    *,
    loss: str | Loss = "",
    loss_lipschitz: float | None = None,
    input_bound: float | str,
    pixels: tuple[float, float] = (0.0, 1.0),
    normalize: str | Normalization | None = None,
    plain: bool = False,
    tightest: bool = True,
    frozen: Collection[str] = (),
    privacy: PrivacySettings | None = None,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    first: int | None = None,
    search: int = 0,
    spectral: str = "auto",
    device: str = "cpu",
    time_limit: float = 30.0,
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
    memory: Memory | None = None,
) -> Analysis:
    """Proven bounds of the gradient of one example's loss, for each parameter and in all.

    Parameters
    ----------
    loss : a name of ``LOSSES`` with its options ("cross-entropy,smoothing=0.1"), or a loss.
    loss_lipschitz : in place of it, the Lipschitz constant of a loss of one's own.
    input_bound : a norm, "pixels" for values in ``pixels`` behind ``normalize``, "clip:R" where
        training scales inputs down to norm R, or "data" for the largest norm in ``data``, which
        is no privacy guarantee.
    plain : Algorithm 8 of Béthune et al. (2024) as published, made sound, without tightenings.
    tightest : False leaves out what costs more than the norms of the layers, and the comparison
        of the tightenings: for every step of a training script.
    time_limit : seconds after which no optional work on the bounds is started, and LipSDP stops
        with what it has.
    frozen : initialisers that are not trained.
    privacy : the run whose noise or ε is asked for.
    data : a data set whose gradient norms are compared with the bounds.
    search : steps of gradient ascent over inputs that try to reach the bounds.
    memory : of the last call for the same graph with other weights; see
        :class:`lipcert.SensitivityTracker`.

    Other parameters as for :func:`bound`.  Raises InputError for options and data that do not fit,
    UnsupportedError for a parameter that cannot be bounded, UnboundedError for a model without a
    finite bound, ExceededError (a SoundnessError) where a gradient exceeds its bound.
    """
    graph = load(model, input_shape=input_shape, output=output)
    chosen = _loss(loss, loss_lipschitz)

    def constant(size: float) -> float:
        return chosen.lipschitz(graph.outputs, output_bound=size)

    if search and data is None:
        raise InputError("--search", "needs samples to start from", "pass --data")
    normalization = Normalization.parse(normalize) if isinstance(normalize, str) else normalize
    settings = norm_settings("l2", spectral, device, time_limit)
    with closing(_Samples(graph, data, labels, first)) as samples:
        inputs = read_inputs(
            input_bound,
            graph.sample_shape,
            pixels=pixels,
            normalization=normalization,
            dataset=samples.dataset,
        )
        found = sensitivities(
            graph,
            loss_lipschitz=constant,
            input_set=inputs.set,
            head=chosen.head_lipschitz,
            loss=chosen.describe(),
            plain=plain,
            frozen=frozen,
            methods=TIGHTEST if tightest else QUICK,
            compare=tightest,
            settings=settings,
            progress=progress,
            memory=memory,
        )
        accounted = None if privacy is None else account(privacy, noise_groups(found))
        comparison = None
        if samples.dataset is not None:
            progress("gradients of the data", 0.0)
            prepared = PreparedSamples(samples.dataset, inputs, graph.sample_shape)
            comparison = compare(
                graph.to(settings.device),
                found,
                chosen.per_example,
                Dataset(prepared, samples.dataset.y, "", samples.dataset.name),
                check_labels(samples.dataset, graph.outputs),
                frozen=frozen,
                search=search,
                radius=inputs.radius,
                box=inputs.box,
                constant=constant,
                origin=prepared,
            )
    return Analysis(found, chosen, accounted, comparison)


class _Samples:
    """The data set, where there is one, opened and held against the model."""

    def __init__(
        self,
        graph: Graph,
        data: str | Path | None,
        labels: str | Path | None,
        first: int | None,
    ) -> None:
        self.dataset: Dataset | None = None
        if data is not None:
            opened = open_dataset(data, labels=labels)
            self.dataset = opened if first is None else opened.first(first)
            check_layout(self.dataset, graph.sample_shape)

    def close(self) -> None:
        if self.dataset is not None:
            self.dataset.close()


def _loss(loss: str | Loss, constant: float | None) -> Loss:
    if (constant is None) == (not loss):
        raise InputError(
            "--loss, --loss-lipschitz", "exactly one is needed", "say which loss is trained with"
        )
    if constant is not None:
        return make_loss("custom", {"constant": constant})
    return parse_loss(loss) if isinstance(loss, str) else loss
