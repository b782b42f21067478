import ast
import json
import re
from collections.abc import Iterator

from tests.source_tree import CHECKOUT, Module, modules

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 35
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools", "stuff"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_modules_are_short() -> None:
    long = [f"{m.name}: {count} lines" for m in modules() if (count := len(m.text.splitlines())) > MAX_MODULE_LINES]
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    long = [
        f"{module.name}:{function.lineno} {function.name}: {count} lines"
        for module in modules()
        for function in _functions(module)
        if (count := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_modules_are_named_after_what_they_do() -> None:
    vague = [module.name for module in modules() if {*module.path.with_suffix("").parts} & FORBIDDEN_NAMES]
    assert not vague


def test_every_module_says_where_it_stands() -> None:
    silent = [m.name for m in modules() if "migrations/versions" not in m.name and not ast.get_docstring(m.tree)]
    assert not silent, "\n".join(silent)


def test_every_public_name_has_a_docstring() -> None:
    silent = [f"{module.name}: {name}" for module in modules() for name in _undocumented(module)]
    assert not silent, "\n".join(silent)


def test_every_function_is_annotated() -> None:
    bare = [
        f"{module.name}:{function.lineno} {function.name}"
        for module in modules()
        for function in _functions(module)
        if function.returns is None or any(_bare(function))
    ]
    assert not bare, "\n".join(bare)


def test_lock_files_pin_hashes_and_name_no_place() -> None:
    for file in sorted((CHECKOUT / "requirements").glob("*.txt")):
        text = file.read_text()
        assert not re.search(r"--(index-url|extra-index-url|find-links)|https?://|file:|/opt/|/home/", text), file.name
        pins = re.findall(r"^[a-z0-9][^\n]*==", text, re.MULTILINE)
        assert pins
        for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
            assert "--hash=sha256:" in block, f"{file.name}: {block.splitlines()[0]}"


def test_a_deployment_runs_what_the_tests_ran_with() -> None:
    tested = _pins("dev.txt")
    for name in ("native.txt", "api.txt", "trainer.txt", "predictor.txt", "client.txt"):
        assert _pins(name).items() <= tested.items(), name


def test_the_replica_image_has_no_numerical_library() -> None:
    assert not {"numpy", "pandas", "scikit-learn", "onnxruntime"} & _pins("api.txt").keys()


def test_the_client_brings_nothing_of_the_services() -> None:
    assert not {"pika", "pydantic", "fastapi", "celery", "sqlalchemy", "numpy", "pandas"} & _pins("client.txt").keys()


def test_the_example_of_the_readme_is_there() -> None:
    assert json.dumps("docs/examples/customers.csv")[1:-1] in (CHECKOUT / "README.md").read_text()
    assert (CHECKOUT / "docs" / "examples" / "customers.csv").is_file()


def _pins(name: str) -> dict[str, str]:
    text = (CHECKOUT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE))


def _functions(module: Module) -> Iterator[Function]:
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def _bare(function: Function) -> Iterator[bool]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for place, argument in enumerate(named):
        if argument is not None and not (place == 0 and argument.arg in ("self", "cls")):
            yield argument.annotation is None


def _undocumented(module: Module) -> Iterator[str]:
    if "migrations/versions" in module.name:
        return
    body = module.tree.body
    for node, following in zip(body, [*body[1:], None], strict=False):
        yield from _undocumented_definitions(node)
        for name in _constants(node):
            if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)):
                yield name


def _undocumented_definitions(node: ast.stmt, prefix: str = "") -> Iterator[str]:
    if not isinstance(node, (ast.ClassDef, *Function.__args__)) or node.name.startswith("_"):
        return
    if not ast.get_docstring(node) and not _overloads(node):
        yield prefix + node.name
    if isinstance(node, ast.ClassDef) and not _overrides(node):
        for child in node.body:
            yield from _undocumented_definitions(child, f"{prefix}{node.name}.")


def _overloads(node: ast.ClassDef | Function) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id in ("overload", "override")
        for decorator in node.decorator_list
    )


def _overrides(node: ast.ClassDef) -> bool:
    """A class made to fit a library's or a protocol's shape says what its methods are by its base."""
    return any(isinstance(parent, (ast.Name, ast.Attribute, ast.Subscript)) for parent in node.bases)


def _constants(node: ast.stmt) -> Iterator[str]:
    """Public module constants: capitals at the top of a module."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_" and len(target.id) > 1:
            yield target.id
