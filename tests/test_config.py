"""Settings: layers, defaults, and one clear line for whatever is wrong."""

from pathlib import Path

import pytest

from mathlete.config import Recipe, SolveConfig, resolve_solve
from mathlete.errors import UsageError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_go_before_the_recipe_and_the_recipe_before_the_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.yaml", "job: solve\nsettings: {n: 4, temperature: 0.5, model: m.gguf}"
    )
    config = resolve_solve({"n": 8, "seed": None}, Recipe.load(path, job="solve"))
    assert (config.n, config.temperature, config.depth, config.seed) == (8, 0.5, 4, 0)


def test_sc_tir_has_numinas_values_for_a_model_of_ones_own() -> None:
    config = resolve_solve({"model": "http://127.0.0.1:1"})
    assert (config.strategy, config.n, config.depth) == ("sc-tir", 16, 4)
    assert (config.temperature, config.max_tokens, config.answer_window) == (0.8, 2048, 100)
    assert config.restart_on_fail
    assert config.require_output


@pytest.mark.parametrize(("strategy", "n"), [("cot", 1), ("tir", 1), ("sc-tir", 16)])
def test_the_number_of_samples_follows_the_strategy(strategy: str, n: int) -> None:
    assert resolve_solve({"strategy": strategy}).n == n
    assert resolve_solve({"strategy": strategy, "n": 5}).n == 5


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"n": 0}, ["n = 0", "greater than or equal to 1"]),
        ({"temperature": -1}, ["temperature = -1"]),
        ({"strategy": "sc-tri"}, ["'sc-tri'", "did you mean 'sc-tir'"]),
        ({"temprature": 1}, ["unknown setting 'temprature'", "did you mean 'temperature'"]),
        ({"answer_space": "integr"}, ["'integr'", "integer:LOW..HIGH", "'integer'"]),
        ({"answer_space": "integer:9..1"}, ["lower bound is above"]),
        ({"max_tokens": "many"}, ["max_tokens = 'many'"]),
    ],
)
def test_bad_settings_are_named_in_one_line(flags: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_solve(flags)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "must hold keys and values"),
        ("job: [", "is no YAML"),
        ("job: fly", "job = 'fly'"),
        ("job: solve\nsetings: {}", "did you mean 'settings'"),
        ("job: solve\nsettings: {depht: 3}", "did you mean 'depth'"),
    ],
)
def test_bad_recipes_are_named_in_one_line(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_solve({}, Recipe.load(write(tmp_path / "r.yaml", text), job="solve"))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.load(tmp_path / "none.yaml")


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_recipe_parses_and_resolves(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.description
    assert isinstance(resolve_solve({}, recipe), SolveConfig)


def test_identity_leaves_out_what_changes_no_result() -> None:
    here = resolve_solve({"model": "http://127.0.0.1:1", "concurrency": 3})
    there = resolve_solve({"model": "http://127.0.0.1:2"})
    assert here.identity("m", "p") == there.identity("m", "p")
    assert here.identity("m", "p") != here.identity("m", "another prompt")
    assert here.identity("m", "p") != here.identity("another model", "p")
