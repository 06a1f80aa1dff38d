"""No module reaches itself through its imports: not inside a package, not lazily, not for types.

import-linter orders packages. This test looks at modules: an import inside a function, or under
``TYPE_CHECKING``, hides a circle from Python and not from a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["argo_mw", *sorted(p.name for p in ROOT.glob("plugins/*/argo_mw_*"))]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one circle in *graph*, each importing the next, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def imports_of(package: str) -> dict[str, set[str]]:
    """Return what each module of *package* imports from the package."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_through_others(package: str) -> None:
    assert [] == circle(imports_of(package))


def test_lazy_and_type_checking_imports_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lazy.py").write_text("def load():\n    from circular import typed\n")
    (package / "typed.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from circular import lazy\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"circular.lazy", "circular.typed"} == set(circle(imports_of("circular")))
