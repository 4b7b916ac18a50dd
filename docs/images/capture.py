"""Make `solve.svg`: what a real terminal shows while `mathlete solve` runs.

    python docs/images/capture.py [--seconds 6] [mathlete solve's arguments …]

Runs the command in tmux, takes the screen with its colours after some seconds, and draws it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 112, 34
DEFAULT = ["What is the remainder when 7^2024 is divided by 1000?"]


def main() -> None:
    """Run, capture, draw."""
    arguments = sys.argv[1:]
    seconds = 6.0
    if arguments[:1] == ["--seconds"]:
        seconds, arguments = float(arguments[1]), arguments[2:]
    command = shlex.join(["mathlete", "solve", *(arguments or DEFAULT)])
    session = f"capture-{time.monotonic_ns()}"
    with tempfile.TemporaryDirectory() as folder:
        tmux = ["tmux", "-L", session]
        shell = f"cd {folder} && {command}; sleep 600"
        size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
        subprocess.run([*tmux, "new-session", "-d", *size, shell], check=True)
        try:
            time.sleep(seconds)
            screen = subprocess.check_output([*tmux, "capture-pane", "-e", "-p"], text=True)
        finally:
            subprocess.run([*tmux, "kill-server"], check=True)
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {command}\n{screen.rstrip()}"))
    out = Path(__file__).with_name("solve.svg")
    svg = console.export_svg(title="mathlete solve")
    # No fonts from elsewhere: the picture must look the same without a network.
    out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
