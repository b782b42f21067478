"""The project's own code as the house-rule tests see it: files and syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("api", "deploy", "model_store", "predictor", "tables", "trainer", "warren", "wire")


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(CHECKOUT))

    @property
    def package(self) -> str:
        return self.path.relative_to(CHECKOUT).parts[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def imports(self) -> Iterator[str]:
        """The dotted names of everything imported, in functions too; relative imports are absolute here."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(self.path.relative_to(CHECKOUT).parts[: -node.level]) if node.level else ""
                yield ".".join(part for part in (base, node.module or "") if part)


@lru_cache(maxsize=1)
def modules() -> tuple[Module, ...]:
    """Every Python file of every package that somebody wrote; `make protos` writes the others."""
    files = (path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py")))
    return tuple(Module(path) for path in files if not path.name.endswith("_pb2.py"))
