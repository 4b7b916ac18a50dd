"""Run the commands that README and docs show, so that no page shows one that does not work.

Every ```bash and ```python block of a page is run as it stands, the blocks of one page in order
and in one folder. It holds `problems.jsonl` (three easy problems), `sc-tir.yaml` (Numina's recipe)
and `model.gguf` (the packaged weights), and a server of the OpenAI protocol listens at
127.0.0.1:8765. A block under a comment `<!-- command: NAME -->` runs in the checkout's folder;
under `<!-- not run: REASON -->` it is not run, and the reason is printed.

    python .ci/commands.py README.md docs/*.md      every page
    python .ci/commands.py --only NAME README.md    one named block
    python .ci/commands.py --skip NAME …            all but a named block
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 8765
BLOCK = re.compile(
    r"(?:^<!-- (?P<key>command|not run): (?P<value>.*?) -->\n+)?"
    r"^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A block of commands, or of Python, on a page."""

    page: str
    line: int
    language: str
    code: str
    name: str
    reason: str


def blocks(path: Path) -> Iterator[Block]:
    """Every block of a page that can be run."""
    text = path.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        key, value = match["key"], match["value"] or ""
        yield Block(
            page=path.name,
            line=text.count("\n", 0, match.start("code")),
            language=match["language"],
            code=match["code"],
            name=value if key == "command" else "",
            reason=value if key == "not run" else "",
        )


def run(block: Block, folder: Path) -> bool:
    """Run one block; whether it ended well."""
    print(f"\n--- {block.page}:{block.line}\n{block.code}", flush=True)
    if block.reason:
        print(f"(not run: {block.reason})")
        return True
    started = time.monotonic()
    bash = ["bash", "-euo", "pipefail", "-c"]
    program = bash if block.language == "bash" else [sys.executable, "-c"]
    done = subprocess.run([*program, block.code], cwd=folder, stdin=subprocess.DEVNULL)
    print(f"({time.monotonic() - started:.0f} s, exit code {done.returncode})", flush=True)
    return done.returncode == 0


@contextmanager
def scene() -> Iterator[Path]:
    """The folder and the server that the pages' commands find."""
    folder = Path(tempfile.mkdtemp(prefix="mathlete-docs-"))
    easy = (ROOT / "src/mathlete/sets/easy.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "problems.jsonl").write_text("\n".join(easy[:3]) + "\n", encoding="utf-8")
    shutil.copy(ROOT / "recipes/numina/solve.yaml", folder / "sc-tir.yaml")
    weights = subprocess.check_output(["mathlete", "models", "path"], text=True).strip()
    (folder / "model.gguf").symlink_to(weights)
    command = [sys.executable, "-m", "mathlete.engines.scripted", "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder)


def main() -> int:
    """Run what was asked for; 1 when a command failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--only", metavar="NAME")
    parser.add_argument("--skip", metavar="NAME")
    options = parser.parse_args()
    todo = [block for page in options.pages for block in blocks(page)]
    if options.only:
        todo = [block for block in todo if block.name == options.only]
        if not todo:
            print(f"no block is named {options.only!r}", file=sys.stderr)
            return 1
        return 0 if all(run(block, ROOT) for block in todo) else 1
    os.environ["MATHLETE_API_KEY"] = "any"
    with scene() as folder:
        ended = [
            (block, run(block, ROOT if block.name else folder))
            for block in todo
            if block.name != options.skip
        ]
    failed = [f"{block.page}:{block.line}" for block, well in ended if not well]
    print(f"\n{len(ended)} blocks run, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
