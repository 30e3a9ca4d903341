"""What the user must uphold for ε to hold: sentences for every report."""

from __future__ import annotations

from lipcert.sensitivities.privacy.settings import PrivacySettings

MEANING = {
    "add-remove": (
        "Neighbouring data sets differ by one example added or removed; ε says nothing directly "
        "about one example replaced by another."
    ),
    "replace-one": (
        "Neighbouring data sets have the same size and differ in one example replaced by another, "
        "which moves the summed gradient by up to 2Δ; the noise multiplier is noise/Δ."
    ),
}


def assumptions(settings: PrivacySettings) -> tuple[str, ...]:
    """One sentence for each condition on the training run, and warnings about the settings."""
    b, n = settings.batch_size, settings.dataset_size
    meaning = MEANING[settings.adjacency]
    return (*_sampling(settings), *_conditions(b, n), meaning, *_warnings(settings))


def _sampling(settings: PrivacySettings) -> tuple[str, ...]:
    b, n = settings.batch_size, settings.dataset_size
    if b == n:
        return ("Every step uses the whole data set, each example once.",)
    return (
        f"Every batch is a Poisson sample: each example enters it independently with probability "
        f"{b}/{n}, anew at each of {settings.total_steps} steps. Shuffling into batches of fixed "
        "size is not that: its accounting is unproven, and audits found up to 4 times the ε.",
    )


def _conditions(b: int, n: int) -> tuple[str, ...]:
    return (
        f"Standard deviations are for the sum of the per-example gradients; for a mean, divide the "
        f"sum and the noise by the fixed, public batch size {b}, never by the size of the batch "
        f"drawn. The size of the data set, {n}, is taken to be public.",
        "Noise is drawn anew at every step, independently for every parameter, also when the batch "
        "drawn is empty.",
        "Inputs stay in the bound, and parameters are projected after each step, so that the "
        "sensitivities hold.",
        "Sensitivities hold for this checkpoint only: recompute them, and the standard deviations "
        "from them, after each update. ε covers the whole run only if that is done at every step.",
        "Nothing else is computed from the data: not the architecture, the number of steps, batch "
        "statistics, nor the choice of a checkpoint by its score on them.",
        "The proof is about real numbers: float noise from an ordinary generator is not exactly "
        "Gaussian, and its low bits or a guessable seed can reveal the data.",
    )


def _warnings(settings: PrivacySettings) -> tuple[str, ...]:
    if settings.delta * settings.dataset_size < 1.0:
        return ()
    return (
        f"Warning: delta {settings.delta:g} is not below 1/{settings.dataset_size}: publishing one "
        "example at random would count as private. Choose a delta well below it.",
    )
