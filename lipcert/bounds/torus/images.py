"""The images of a stretch of a model, and the shift-invariant maps between them.

Where two maps follow one another with no activation between, the image between them is cut off at
its window, which the torus does not do by itself.  That makes no difference where the second map
reads nothing outside the window, or where there is nothing but zeros: then the composition on the
torus is exact, and the image needs no coordinates.  Elsewhere the cutting off is a stage of its
own: ``dz = dv`` inside the window and 0 outside, both with a slope in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lipcert.bounds.torus.maps import ImageMap, image_map, is_image
from lipcert.bounds.torus.signals import mask
from lipcert.bounds.torus.windows import Windowed
from lipcert.operators import (
    LinearOperator,
    Shape,
    Sum,
    add,
    compose,
    factors_of,
    identity,
)
from lipcert.signals import SignalForm, Stage, Terms

MOST_FACTORS = 3
"""Of one map: a pooling between two reshapes."""

Reads = dict[int, dict[int, list[ImageMap]]]
"""By image in order, the maps from each earlier one."""


@dataclass(frozen=True, eq=False)
class Images:
    """A stretch whose maps are all shift-invariant but for what they cut off.

    Parameters
    ----------
    form : the stretch, with a stage wherever an image between two maps must be cut off.
    reads : the maps into each signal of the form, and into the output under the number beyond the
        last; images that are linear in signals have negative numbers.
    shapes : of all images.
    before : by stage that selects or averages in windows, the image that it reads.
    """

    form: SignalForm
    reads: Reads
    shapes: dict[int, Shape]
    before: dict[int, int]

    def signals_read(self, number: int) -> tuple[int, ...]:
        """The signals that an image reads, through images that are linear in them."""
        found: set[int] = set()
        for source in self.reads[number]:
            found |= {source} if source >= 0 else set(self.signals_read(source))
        return tuple(sorted(found))


@dataclass(frozen=True, eq=False)
class _Place:
    """An image, and the operators from signals that make it."""

    number: int
    terms: Terms


@dataclass(eq=False)
class _Read:
    """What one image reads: maps by image, operators by signal."""

    maps: dict[int, list[ImageMap]] = field(default_factory=dict)
    terms: dict[int, LinearOperator] = field(default_factory=dict)

    def add(self, at: _Place, single: ImageMap, operator: LinearOperator) -> None:
        """One more map, from an image."""
        self.maps.setdefault(at.number, []).append(single)
        for signal, term in at.terms.items():
            whole = compose(operator, term)
            self.terms[signal] = add(self.terms[signal], whole) if signal in self.terms else whole


def images_of(form: SignalForm) -> Images | None:
    """The images of a form; None where something is none, or is read by something else."""
    if not is_image(form.input_shape) or not is_image(form.output_shape):
        return None
    if not all(_is_image_stage(stage) for stage in form.stages):
        return None
    weaver = _Weaver(form)
    for old, stage in enumerate(form.stages, start=1):
        read = weaver.read(stage.terms)
        if read is None:
            return None
        weaver.stage(old, stage, read)
    read = weaver.read(form.output_terms)
    if read is None:
        return None
    return weaver.finished(form, read)


def _is_image_stage(stage: Stage) -> bool:
    if not is_image(stage.shape) or len(stage.input_shapes) != 1 or not stage.terms:
        return False
    return isinstance(stage.nonlinearity, Windowed) or stage.input_shapes == (stage.shape,)


class _Weaver:
    """Numbers the images and their maps, stage by stage."""

    def __init__(self, form: SignalForm) -> None:
        self.stages: list[Stage] = []
        self.reads: Reads = {}
        self.shapes = {0: form.input_shape}
        self.before: dict[int, int] = {}
        self.ends_in_zeros = {0: True}
        self.places = {0: _Place(0, {0: identity(form.input_shape)})}
        self.known: dict[tuple[int, ...], _Place] = {}
        self.masks: dict[int, _Place] = {}

    def read(self, terms: Terms) -> _Read | None:
        """What an image reads through operators from the form's signals."""
        found = _Read()
        fine = all(self._follow(A, self.places[j], found) for j, A in terms.items())
        return found if fine and found.maps else None

    def _follow(self, operator: LinearOperator, at: _Place, into: _Read) -> bool:
        """Adds the maps of an operator that acts on an image; whether there are such."""
        if isinstance(operator, Sum):
            return all(self._follow(part, at, into) for part in operator.summands)
        single = image_map(operator)
        if single is not None:
            into.add(self._as_seen(at, single), single, operator)
            return True
        factors = factors_of(operator)
        for count in range(min(MOST_FACTORS, len(factors) - 1), 0, -1):
            inner = compose(*factors[-count:])
            if image_map(inner) is not None or isinstance(inner, Sum):
                middle = self._linear(inner, at)
                return middle is not None and self._follow(compose(*factors[:-count]), middle, into)
        return False

    def _linear(self, operator: LinearOperator, at: _Place) -> _Place | None:
        """The image that an operator makes of another, once for each operator."""
        key = (at.number, *(id(factor) for factor in factors_of(operator)))
        if key not in self.known:
            read = _Read()
            if not is_image(operator.out_shape) or not self._follow(operator, at, read):
                return None
            self.known[key] = self._image(read, operator.out_shape)
        return self.known[key]

    def _image(self, read: _Read, shape: Shape) -> _Place:
        """One more image that is linear in others."""
        number = min(self.shapes) - 1
        self.shapes[number], self.reads[number] = shape, read.maps
        self.ends_in_zeros[number] = all(
            self.ends_in_zeros[source] and all(single.keeps_zeros for single in maps)
            for source, maps in read.maps.items()
        )
        return _Place(number, read.terms)

    def _as_seen(self, at: _Place, by: ImageMap) -> _Place:
        """The image itself, or what is left of it where the next map would look outside."""
        if self.ends_in_zeros[at.number] or by.stays_inside:
            return at
        if at.number not in self.masks:
            shape = self.shapes[at.number]
            stage = mask("mask", shape, at.terms)
            self.masks[at.number] = self._signal(stage, {at.number: [ImageMap()]})
        return self.masks[at.number]

    def stage(self, old: int, stage: Stage, read: _Read) -> None:
        """The next stage of the form."""
        own = replace(stage, terms=read.terms)
        if isinstance(stage.nonlinearity, Windowed):
            before = self._image(read, stage.input_shapes[0]).number
            window = ImageMap(stage.nonlinearity.window)
            self.places[old] = self._signal(own, {before: [window]})
            self.before[self.places[old].number] = before
        else:
            self.places[old] = self._signal(own, read.maps)

    def _signal(self, stage: Stage, maps: dict[int, list[ImageMap]]) -> _Place:
        self.stages.append(stage)
        number = len(self.stages)
        self.shapes[number], self.reads[number] = stage.shape, maps
        self.ends_in_zeros[number] = True
        return _Place(number, {number: identity(stage.shape)})

    def finished(self, form: SignalForm, read: _Read) -> Images:
        """All images, and the output."""
        last = len(self.stages) + 1
        self.shapes[last], self.reads[last] = form.output_shape, read.maps
        woven = SignalForm(form.input_shape, tuple(self.stages), read.terms, form.output_shape)
        return Images(woven, self.reads, self.shapes, self.before)
