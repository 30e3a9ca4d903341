"""Operators that move elements."""

from __future__ import annotations

import numpy as np

from .single import Single, any_axis, floats, integers, makes, sizes


@makes("Dropout")
def dropout(rng: np.random.Generator, opset: int, name: str) -> Single:
    if opset < 12:
        return Single(sizes(rng, 2), attributes={"ratio": 0.3})
    forms = [["x"], ["x", np.float32(0.3)], ["x", "", np.array(False)]]
    return Single(sizes(rng, 2), forms[int(rng.integers(3))])


@makes("Dropout", since=12)
def dropout_training(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 3), ["x", np.float32(0.5), np.array(True)], refused="training mode")


@makes("Cast")
def cast(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), attributes={"to": 1})


@makes("Cast")
def cast_to_integer(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 3), attributes={"to": int(rng.choice([6, 7, 10]))}, refused="rounds")


@makes("CastLike", since=15)
def cast_like(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), ["x", floats(rng, 1)], reference=True)


@makes("CastLike", since=15)
def cast_like_narrow(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2,), ["x", np.zeros(1, np.float16)], refused="rounds")


@makes("Reshape")
def reshape(rng: np.random.Generator, opset: int, name: str) -> Single:
    targets = [(2, 3, 4), (0, -1), (4, 6), (-1,), (2, -1, 0, 1)]
    return Single((2, 3, 4), ["x", integers(*targets[int(rng.integers(5))])])


@makes("Flatten")
def flatten(rng: np.random.Generator, opset: int, name: str) -> Single:
    axis = int(rng.integers(0 if opset < 11 else -3, 4))
    return Single(sizes(rng, 3), attributes={"axis": axis} if rng.random() < 0.8 else {})


@makes("Squeeze")
def squeeze(rng: np.random.Generator, opset: int, name: str) -> Single:
    forms = [[0], [2], [0, 2], None]
    axes = forms[int(rng.integers(4))]
    if axes and opset >= 11 and rng.random() < 0.5:
        axes = [axis - 4 for axis in axes]
    if axes is None:
        return Single((1, 3, 1, 2))
    if opset < 13:
        return Single((1, 3, 1, 2), attributes={"axes": axes})
    return Single((1, 3, 1, 2), ["x", integers(*axes)])


@makes("Unsqueeze")
def unsqueeze(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes = [[0], [1, 3], [4, 0], [2]][int(rng.integers(4))]
    if opset >= 11 and axes != [4, 0] and rng.random() < 0.5:
        axes = [axis - 3 - len(axes) for axis in axes]
    if opset < 13:
        return Single((2, 3, 2), attributes={"axes": axes})
    return Single((2, 3, 2), ["x", integers(*axes)])


@makes("Transpose")
def transpose(rng: np.random.Generator, opset: int, name: str) -> Single:
    order = [int(axis) for axis in rng.permutation(4)]
    return Single(sizes(rng, 4), attributes={"perm": order} if rng.random() < 0.8 else {})


@makes("Expand", since=8)
def expand(rng: np.random.Generator, opset: int, name: str) -> Single:
    target = [(2, 3, 4), (5, 1, 3, 1), (1,), (3, 4)][int(rng.integers(4))]
    return Single((3, 1), ["x", integers(*target)])


@makes("Slice", until=9)
def slice_attributes(rng: np.random.Generator, opset: int, name: str) -> Single:
    starts, ends = [int(rng.integers(-4, 2)), 1], [int(rng.integers(2, 9)), 1 << 31]
    axes = {"axes": [2, 0]} if rng.random() < 0.5 else {}
    return Single((3, 4, 5), attributes={"starts": starts, "ends": ends, **axes})


@makes("Slice", since=10)
def slice_inputs(rng: np.random.Generator, opset: int, name: str) -> Single:
    steps = [int(rng.choice([-2, -1, 1, 2, 3])) for _ in range(2)]
    starts, ends = [], []
    for step in steps:
        low, high = int(rng.integers(-7, 3)), int(rng.choice([3, 5, 9, (1 << 63) - 1]))
        if step < 0:
            low, high = int(rng.integers(1, 9)), int(rng.choice([-9, 0, -(1 << 62)]))
        starts.append(low)
        ends.append(high)
    inputs = ["x", integers(*starts), integers(*ends)]
    if rng.random() < 0.7:
        inputs.append(integers(-1, 1))
        inputs.append(integers(*steps))
    elif min(steps) < 0:
        inputs += ["", integers(*steps)]
    return Single((3, 4, 5), inputs)


@makes("Gather")
def gather(rng: np.random.Generator, opset: int, name: str) -> Single:
    low = 0 if opset < 11 else -3
    shape = [(), (4,), (2, 3)][int(rng.integers(3))]
    indices = rng.integers(low, 3, shape).astype(rng.choice([np.int32, np.int64]))
    return Single((3, 3, 3), ["x", indices], {"axis": any_axis(rng, 3)})


@makes("GatherElements", since=11)
def gather_elements(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((3, 4), ["x", rng.integers(-3, 3, (3, 4))], {"axis": any_axis(rng, 2)})


@makes("GatherND", since=11)
def gather_nd(rng: np.random.Generator, opset: int, name: str) -> Single:
    if opset >= 12 and rng.random() < 0.4:
        return Single((3, 4, 2), ["x", rng.integers(0, 2, (3, 2, 1))], {"batch_dims": 1})
    return Single((3, 4, 2), ["x", rng.integers(0, 2, (2, 5, int(rng.integers(1, 4))))])


@makes("DepthToSpace")
def depth_to_space(rng: np.random.Generator, opset: int, name: str) -> Single:
    attributes = {"blocksize": 2}
    if opset >= 11 and rng.random() < 0.7:
        attributes["mode"] = str(rng.choice(["DCR", "CRD"]))
    return Single((1, 8, 2, 3), attributes=attributes)


@makes("SpaceToDepth")
def space_to_depth(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 2, 4, 6), attributes={"blocksize": 2})


@makes("Tile")
def tile(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 1, 3), ["x", rng.integers(1, 4, 3)])


@makes("Trilu", since=14)
def trilu(rng: np.random.Generator, opset: int, name: str) -> Single:
    inputs = ["x", np.array(int(rng.integers(-3, 4)))] if rng.random() < 0.7 else ["x"]
    return Single((2, 4, 3), inputs, {"upper": int(rng.integers(2))} if rng.random() < 0.7 else {})


@makes("Split")
def split(rng: np.random.Generator, opset: int, name: str) -> Single:
    axis = any_axis(rng, 2) if opset >= 11 else int(rng.integers(2))
    pieces = [2, 1, 3]
    chosen = int(rng.integers(3))
    if rng.random() < 0.5:
        if opset < 13:
            return Single((6, 6), ["x"], {"axis": axis, "split": pieces}, 3, chosen)
        return Single((6, 6), ["x", integers(*pieces)], {"axis": axis}, 3, chosen)
    if opset >= 18:
        return Single((7, 7), ["x"], {"axis": axis, "num_outputs": 3}, 3, chosen)
    return Single((6, 6), ["x"], {"axis": axis}, 3, chosen)


@makes("Concat")
def concat(rng: np.random.Generator, opset: int, name: str) -> Single:
    axis = any_axis(rng, 3) if opset >= 11 else int(rng.integers(3))
    shape = [2, 3, 2]
    shape[axis] = int(rng.integers(1, 4))
    parts = ["x", "x", floats(rng, *shape)]
    return Single((2, 3, 2), [parts[k] for k in rng.permutation(3)], {"axis": axis})


@makes("Pad")
def pad(rng: np.random.Generator, opset: int, name: str) -> Single:
    modes = ["constant", "reflect", "edge"] + (["wrap"] if opset >= 19 else [])
    mode = str(rng.choice(modes))
    pads = [int(p) for p in rng.integers(-1 if mode == "constant" else 0, 3, 6)]
    value = float(np.float32(rng.uniform(-1, 1)))
    if opset < 11:
        return Single((4, 5, 4), attributes={"pads": pads, "mode": mode, "value": value})
    inputs = ["x", integers(*pads)]
    if mode == "constant" and rng.random() < 0.6:
        inputs.append(np.float32(value))
    if opset >= 18 and rng.random() < 0.5:
        inputs = [*inputs[:1], integers(*pads[:4]), *(inputs[2:] or [""]), integers(-1, 0)]
    return Single((4, 5, 4), inputs, {"mode": mode})


@makes("CumSum", since=11)
def cumulative_sum(rng: np.random.Generator, opset: int, name: str) -> Single:
    options = {key: int(rng.integers(2)) for key in ("exclusive", "reverse")}
    return Single((3, 4, 2), ["x", np.array(any_axis(rng, 3))], options)


@makes("Upsample", until=9)
def upsample(rng: np.random.Generator, opset: int, name: str) -> Single:
    scales = [1.0, 1.0, 2.0, 3.0]
    mode = {"mode": str(rng.choice(["nearest", "linear"]))}
    if opset < 9:
        return Single((1, 2, 3, 4), ["x"], {"scales": scales, **mode})
    return Single((1, 2, 3, 4), ["x", np.float32(scales)], mode)


@makes("Resize", since=10, until=10)
def resize_old(rng: np.random.Generator, opset: int, name: str) -> Single:
    mode = {"mode": str(rng.choice(["nearest", "linear"]))}
    return Single((1, 2, 3, 4), ["x", np.float32([1.0, 1.0, 2.0, 3.0])], mode)


@makes("Resize", since=11)
def resize(rng: np.random.Generator, opset: int, name: str) -> Single:
    mode = str(rng.choice(["nearest", "linear", "cubic"]))
    names = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    if opset >= 19:
        names.append("half_pixel_symmetric")
    attributes = {"mode": mode, "coordinate_transformation_mode": str(rng.choice(names))}
    if mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if rng.random() < 0.5:
            attributes |= {"coordinate_transformation_mode": "half_pixel"}
            attributes |= {"nearest_mode": str(rng.choice(["round_prefer_floor", "ceil"]))}
    if mode == "cubic":
        attributes["cubic_coeff_a"] = float(rng.choice([-0.5, -0.75]))
        attributes["exclude_outside"] = int(rng.integers(2))
    roi = "" if opset >= 13 else np.zeros(0, np.float32)
    if rng.random() < 0.5:
        scales = np.float32([1.0, 1.0, *rng.choice([0.5, 2.0, 2.5, 1.5], 2)])
        return Single((1, 2, 6, 8), ["x", roi, scales], attributes)
    empty = "" if opset >= 13 else np.zeros(0, np.float32)
    target = [int(n) for n in rng.choice([4, 6, 8, 12, 16], 2)]
    if mode != "nearest":
        target = [int(n) for n in rng.integers(3, 17, 2)]
    if opset >= 18 and rng.random() < 0.5:
        attributes["axes"] = [-2, 3]
        return Single((1, 2, 6, 8), ["x", roi, empty, integers(*target)], attributes)
    return Single((1, 2, 6, 8), ["x", roi, empty, integers(1, 2, *target)], attributes)


@makes("GatherElements", "GatherND", since=11)
def gather_out_of_range(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((3, 4), ["x", np.array([[7, 0]])], refused="do not fit")
