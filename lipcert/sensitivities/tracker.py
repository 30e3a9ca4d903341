"""``SensitivityTracker``: the sensitivities of a model in training, step by step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from lipcert.certification.normalization import Normalization
from lipcert.graph import Graph
from lipcert.onnx_import.followed import followed
from lipcert.operators import Shape
from lipcert.sensitivities.analysis import Analysis, sensitivity
from lipcert.sensitivities.groups import noise_groups
from lipcert.sensitivities.losses import Loss
from lipcert.sensitivities.memory import Memory
from lipcert.sensitivities.privacy import PrivacySettings, account

if TYPE_CHECKING:
    from lipcert.api import Model


class SensitivityTracker:
    """Sensitivities of one model whose weights change between calls.

    >>> tracker = SensitivityTracker(module, loss="cross-entropy", input_bound="clip:4",
    ...                              input_shape=(64,))                      # doctest: +SKIP
    >>> for batch in batches:                                                # doctest: +SKIP
    ...     delta = tracker.update().sensitivities.global_delta

    Every update is proved for the weights as they are then, as :func:`lipcert.sensitivity` does.
    The first one imports the model; later ones only take the new weights where these alone have
    changed, and where each of them is one parameter's element as it is (dense and convolution
    layers).  Any other change (a module's structure, a buffer, a parameter of a normalisation, an
    attribute that its forward pass reads) is noticed, and the model imported again.

    Parameters
    ----------
    model : a ``torch.nn.Module`` in evaluation mode, the path of an ONNX file that is written
        again, or a graph.
    tightest : also what costs more than the norms of the layers.

    Other parameters as for :func:`lipcert.sensitivity`.
    """

    def __init__(
        self,
        model: Model,
        *,
        loss: str | Loss = "",
        loss_lipschitz: float | None = None,
        input_bound: float | str,
        pixels: tuple[float, float] = (0.0, 1.0),
        normalize: str | Normalization | None = None,
        plain: bool = False,
        tightest: bool = False,
        frozen: Collection[str] = (),
        spectral: str = "auto",
        device: str = "cpu",
        time_limit: float = 30.0,
        input_shape: Shape | None = None,
        output: str | None = None,
    ) -> None:
        self._model = followed(model, input_shape=input_shape, output=output)
        self.loss, self.loss_lipschitz, self.input_bound = loss, loss_lipschitz, input_bound
        self.pixels, self.normalize, self.frozen = pixels, normalize, frozen
        self.plain, self.tightest, self.time_limit = plain, tightest, time_limit
        self.spectral, self.device = spectral, device
        self._memory = Memory()
        self._imports = 0
        self._last: tuple[Graph, Analysis] | None = None

    @property
    def imports(self) -> int:
        """How often the model had to be imported so far."""
        return self._model.imports

    def update(self, *, privacy: PrivacySettings | None = None) -> Analysis:
        """The sensitivities of the model as it is now.

        Parameters
        ----------
        privacy : the run whose noise or ε is asked for with them.

        Raises what :func:`lipcert.sensitivity` raises.
        """
        graph = self._model.graph()
        if self._last is None or self._last[0] is not graph:
            if self._model.imports != self._imports:
                self._imports, self._memory = self._model.imports, self._memory.for_another()
            self._last = graph, self._found(graph)
        found = self._last[1]
        if privacy is None:
            return found
        return replace(found, privacy=account(privacy, noise_groups(found.sensitivities)))

    def _found(self, graph: Graph) -> Analysis:
        return sensitivity(
            graph,
            loss=self.loss,
            loss_lipschitz=self.loss_lipschitz,
            input_bound=self.input_bound,
            pixels=self.pixels,
            normalize=self.normalize,
            plain=self.plain,
            tightest=self.tightest,
            frozen=self.frozen,
            spectral=self.spectral,
            device=self.device,
            time_limit=self.time_limit,
            memory=self._memory,
        )
