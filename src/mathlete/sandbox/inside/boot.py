"""The program behind every sandbox: `python -sP boot.py CONTROL_FD CONFIG`.

It loads the modules beside it without running `mathlete/__init__.py`, so that the zygote carries
nothing but the standard library and what it is told to preload.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def _load_without_parents() -> None:
    root = Path(__file__).resolve().parents[2]
    for name, folder in (("mathlete", root), ("mathlete.sandbox", root / "sandbox")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    _load_without_parents()
    from mathlete.sandbox.inside.zygote import main

    main(int(sys.argv[1]), sys.argv[2])
