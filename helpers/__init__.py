"""What the notebooks share, one module or package per subject; see each one's first lines.

Importing the package loads nothing heavy: `torch` and `transformers` come with the modules that
use them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

if "OMP_WAIT_POLICY" not in os.environ:
    # torch's threads wait for one another by counting; beside another busy process that takes
    # minutes for seconds. GNU's OpenMP reads this when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def face(package: str, **modules: str) -> tuple[Callable[[str], Any], list[str]]:
    """A package's `__getattr__` and `__all__`: its public names, each loaded when first asked for.

    So importing one name from a package does not load the whole of it.

    Args:
        package: the package's `__name__`.
        modules: module of the package to the names that it hands on, with spaces between.
    """
    where = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{where[name]}"), name)

    return get, sorted(where)
