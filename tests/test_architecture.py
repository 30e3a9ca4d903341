"""The house rules: imports flow one way, the library is silent, files are short."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import lipcert
from lipcert.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "lipcert"
COMMANDS = ROOT / "cli"

ORDER = (
    ("checker",),
    ("errors", "versions", "display"),
    ("registry",),
    ("rounding",),
    ("operators",),
    ("spectral",),
    ("conic",),
    ("nonlinear",),
    ("graph",),
    ("onnx_import",),
    ("signals", "head", "composition"),
    ("bounds",),
    ("certification",),
    ("inspection",),
    ("api",),
    ("proof",),
    ("sensitivities",),
    ("certifying",),
    ("gating",),
    ("reports",),
    ("",),
)
"""Packages and modules from the ground up; each may import from its own line and those above."""

MOST_LINES = 320
MANY_LINES = 250

FORBIDDEN_CALLS = {
    "print",
    "exit",
    "quit",
    "sys.exit",
    "os._exit",
    "input",
    "breakpoint",
    "torch.manual_seed",
    "torch.seed",
    "np.random.seed",
    "numpy.random.seed",
    "random.seed",
    "torch.set_num_threads",
    "torch.set_num_interop_threads",
    "torch.set_default_dtype",
    "torch.set_default_device",
    "torch.set_default_tensor_type",
    "torch.use_deterministic_algorithms",
    "np.seterr",
    "numpy.seterr",
    "logging.basicConfig",
    "os.environ.setdefault",
    "os.putenv",
    "os.chdir",
    "warnings.filterwarnings",
}

CHECKER_IMPORTS = {
    "__future__",
    "base64",
    "binascii",
    "collections",
    "dataclasses",
    "fractions",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "numpy",
    "pathlib",
    "struct",
    "sys",
    "typing",
    "warnings",
    "zipfile",
}
"""The standard library's modules that the checker uses, and numpy."""

OWN_PROCESSES = {
    "certification/execution/worker.py": {"torch.set_num_threads"},
    "checker/__main__.py": {"sys.exit"},
}
"""What modules may call that run in processes of their own alone."""


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def part_of(path: Path) -> str:
    """The package or module of the library that a file belongs to; empty for the top."""
    first = path.relative_to(LIBRARY).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def level(part: str) -> int:
    for height, parts in enumerate(ORDER):
        if part in parts:
            return height
    raise AssertionError(f"say in ORDER where lipcert.{part} stands")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, inside functions too, type checking apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner) for node in ast.walk(tree) if _is_type_checking(node) for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join((*package, base)).rstrip(".")
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def part_imported(name: str) -> str | None:
    pieces = name.split(".")
    if pieces[0] != "lipcert":
        return None
    return pieces[1] if len(pieces) > 1 and _is_part(pieces[1]) else ""


def _is_part(name: str) -> bool:
    return (LIBRARY / name).is_dir() or (LIBRARY / f"{name}.py").is_file()


@pytest.mark.parametrize("path", modules(LIBRARY), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    own = part_of(path)
    for line, name in imports_of(path):
        part = part_imported(name)
        if part is None:
            continue
        assert level(part) <= level(own), f"{path.relative_to(ROOT)}:{line} imports upward: {name}"
        if level(part) == level(own):
            assert part == own or part in ORDER[level(own)], f"{path}:{line}: {name}"


def test_library_does_not_know_its_commands() -> None:
    for path in modules(LIBRARY):
        for line, name in imports_of(path):
            assert name.split(".")[0] not in ("cli", "lipcert_cli"), f"{path}:{line}"


@pytest.mark.parametrize("path", modules(LIBRARY / "checker"), ids=lambda path: path.name)
def test_the_checker_imports_numpy_and_itself_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            own = node.level == 1
            assert own or node.module.split(".")[0] in CHECKER_IMPORTS, (path.name, node.module)
        elif isinstance(node, ast.Import):
            assert all(alias.name in CHECKER_IMPORTS for alias in node.names), path.name


def test_operators_and_norms_know_nothing_of_models() -> None:
    """The mathematics stands without ONNX and without the command line."""
    grounded = ("errors", "registry", "rounding", "operators", "spectral", "nonlinear")
    for path in modules(LIBRARY):
        if part_of(path) in grounded:
            found = {name.split(".")[0] for _, name in imports_of(path)}
            assert not found & {"onnx", "onnxruntime", "click", "rich"}, path


def test_only_commands_use_the_terminal() -> None:
    for path in modules(LIBRARY):
        found = {name.split(".")[0] for _, name in imports_of(path)}
        assert "click" not in found, path


@pytest.mark.parametrize("path", modules(LIBRARY), ids=lambda p: str(p.relative_to(ROOT)))
def test_library_neither_prints_nor_exits_nor_touches_global_state(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = FORBIDDEN_CALLS - OWN_PROCESSES.get(path.relative_to(LIBRARY).as_posix(), set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in forbidden, f"{path.relative_to(ROOT)}:{node.lineno} {called}"
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                text = ast.unparse(target)
                assert not text.startswith(("os.environ", "torch.backends", "sys.")), (
                    f"{path.relative_to(ROOT)}:{node.lineno} sets {text}"
                )
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "SystemExit" not in ast.unparse(node.exc), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "path", [*modules(LIBRARY), *modules(COMMANDS)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: more than one noun?"
    if lines > MANY_LINES:
        warnings.warn(f"{path.relative_to(ROOT)} has {lines} lines", stacklevel=1)


def registries() -> Iterator[tuple[str, Registry[object]]]:
    """Every registry of the library, after all of it has been imported."""
    for found in pkgutil.walk_packages(lipcert.__path__, "lipcert."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if isinstance(value, Registry):
                yield f"{found.name}.{name}", value


def test_registered_functions_have_greppable_names() -> None:
    seen = 0
    for place, registry in registries():
        for name in registry:
            entry = registry[name]
            if callable(entry):
                written = getattr(entry, "__name__", type(entry).__name__)
                assert len(written) > 2 and written not in ("_", "<lambda>"), f"{place}[{name!r}]"
                assert written.strip("_"), f"{place}[{name!r}] is called {written!r}"
                seen += 1
    assert seen > 100


def test_functions_are_not_called_underscore() -> None:
    for path in (*modules(LIBRARY), *modules(COMMANDS)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name.strip("_"), f"{path}:{node.lineno}"


def test_registering_twice_is_an_error_and_unknown_names_list_the_known() -> None:
    from lipcert.errors import InputError

    table: Registry[int] = Registry("thing")
    table.register("one")(1)
    with pytest.raises(ValueError, match="twice"):
        table.register("one")(2)
    with pytest.raises(InputError, match="one"):
        table["two"]
    assert list(table) == ["one"] and len(table) == 1 and "one" in table


def test_errors_are_raised_with_a_place() -> None:
    """No bare ``raise Exception`` anywhere."""
    for path in (*modules(LIBRARY), *modules(COMMANDS)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert ast.unparse(node.exc.func) not in ("Exception", "BaseException"), (
                    f"{path}:{node.lineno}"
                )


def test_no_bare_norm() -> None:
    """Names separate proofs from guesses: a public function says bound or estimate."""
    for path in modules(LIBRARY / "spectral"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                assert node.name not in ("norm", "spectral_norm", "lipschitz"), (
                    f"{path}:{node.lineno}"
                )


def test_importing_the_package_is_cheap() -> None:
    """``import lipcert`` alone brings in neither torch nor onnx."""
    tree = ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", "") or ""
            assert (
                not module.startswith("lipcert.") and "torch" not in names and "onnx" not in names
            )
