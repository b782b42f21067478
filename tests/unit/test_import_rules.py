import ast
import subprocess
import sys

import pytest

from tests.source_tree import CHECKOUT, PACKAGES, Module, modules

MAY_IMPORT = {
    "api": {"wire"},
    "trainer": {"wire", "tables", "model_store"},
    "predictor": {"wire", "tables", "model_store"},
    "wire": set(),
    "tables": set(),
    "model_store": set(),
    "deploy": {"wire", "model_store"},
    "warren": set(),
}
PICKLES = {"pickle", "_pickle", "cPickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}
MAY_EXPORT = {"trainer/export.py"}
MAY_READ_THE_ENVIRONMENT = {"wire/settings.py", "warren/profiles.py"}
MAY_TELL_A_LIBRARY = {"model_store/runtime/onnx_graph.py"}
HEAVY = ("numpy", "pandas", "sklearn", "scipy", "onnxruntime", "onnx", "pyarrow", "skops")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_whom_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{module.name} imports {name}"
        for module in modules()
        if module.package == package
        for name in module.imports()
        if name.split(".")[0] in {*PACKAGES, "tests"} - allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_settings_reads_the_environment() -> None:
    wrong = [
        f"{module.name}:{line}"
        for module in modules()
        if module.name not in MAY_READ_THE_ENVIRONMENT | MAY_TELL_A_LIBRARY and module.package != "deploy"
        for line in _environment_reads(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_export_touches_a_pickle() -> None:
    wrong = [
        f"{module.name} imports {name}"
        for module in modules()
        if module.name not in MAY_EXPORT
        for name in module.imports()
        if name.split(".")[0] in PICKLES
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("entry", ["api.serve", "api.app", "api.jobs.worker"])
def test_a_replica_and_a_worker_load_no_numerical_library(entry: str) -> None:
    code = f"import sys, {entry}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("entry", ["predictor.__main__", "model_store.runtime"])
def test_a_predictor_loads_neither_trainer_nor_api_code(entry: str) -> None:
    code = f"import sys, {entry}; print(*[name for name in sys.modules if name.split('.')[0] in ('api', 'trainer')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_client_and_the_command_load_nothing_they_may_not_need() -> None:
    names = (*HEAVY, "polars", "pika", "pydantic", "celery", "fastapi", "sqlalchemy")
    code = f"import sys, warren, warren.command; print(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def _environment_reads(module: Module) -> list[int]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    lines = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.value, ast.Name):
            lines.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            lines.append(node.lineno)
    return lines
