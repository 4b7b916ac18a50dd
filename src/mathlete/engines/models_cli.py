"""`mathlete models`: which packaged models there are, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mathlete.engines.weights import Progress

app = typer.Typer(no_args_is_help=True, help="The models that come as Python packages.")

_Name = Annotated[str, typer.Argument(help="A name that `mathlete models list` shows.")]


@app.command("list")
def list_models() -> None:
    """Show the packaged models: size, licence, and where they lie on this machine."""
    from mathlete.engines.weights import PACKAGED, local_path

    for weights in PACKAGED.values():
        typer.echo(
            f"{weights.name}  {weights.wheel_bytes / 1e6:.0f} MB to fetch, "
            f"{weights.file_bytes / 1e6:.0f} MB on disk, {weights.licence}"
        )
        typer.echo(f"    {weights.about}")
        typer.echo(f"    {local_path(weights) or 'not on this machine yet'}")


@app.command()
def pull(name: _Name = "") -> None:
    """Fetch a packaged model (the default one unless named), and print its path."""
    from mathlete.engines.weights import DEFAULT, ensure

    with progress_bar() as progress:
        path = ensure(name or DEFAULT, progress)
    typer.echo(path)


@app.command("path")
def show_path(name: _Name = "") -> None:
    """Print where a packaged model lies; fails when it is not on this machine."""
    from mathlete.engines.weights import DEFAULT, find, local_path
    from mathlete.errors import ModelMissing

    weights = find(name or DEFAULT)
    path = local_path(weights)
    if path is None:
        raise ModelMissing(
            f"{weights.name} is not on this machine: run `mathlete models pull {weights.name}`"
        )
    typer.echo(path)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on standard error that appears with the first progress, and goes when done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, visible=False)

    def show(what: str, done: int, total: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, description=what, completed=done, total=total, visible=True)

    try:
        yield show
    finally:
        bar.stop()
