import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.errors import UsageError
from mathlete.prompts import Prompt, load_prompt, prompt_names

HEAD = "---\nkind: tir\n---\n"


def write(folder, content, name="mine.txt"):
    path = folder / name
    path.write_bytes(content.encode())
    return path


def refusal(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", prompt_names())
def test_a_packaged_prompt_loads_describes_itself_and_fills(name):
    prompt = load_prompt(name)
    assert prompt.name == name
    assert prompt.description
    assert name.endswith(prompt.kind) or f"{prompt.kind}-" in name
    assert prompt.names == {"problem"}
    filled = prompt.fill(problem="What is {{this}}?")
    assert filled.count("What is {{this}}?") == 1
    assert "{{problem}}" not in filled


def test_the_packaged_prompts():
    assert {
        "chatml-cot", "chatml-tir", "cot-fewshot", "numina-cot", "numina-tir", "tir-fewshot"
    } <= set(prompt_names())  # fmt: skip


def test_numina_is_the_template_of_its_tokenizer_to_the_letter():
    # chat_template of AI-MO/NuminaMath-7B-TIR, with add_generation_prompt
    for name in ("numina-cot", "numina-tir"):
        assert load_prompt(name).fill(problem="P") == "### Problem: P\n### Solution: "


def test_chatml_ends_where_the_assistant_begins():
    for name in ("chatml-cot", "chatml-tir"):
        prompt = load_prompt(name)
        assert prompt.fill(problem="P").endswith(
            "<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n"
        )
        assert "<|im_end|>" in prompt.stop


@pytest.mark.parametrize("name", [n for n in prompt_names() if load_prompt(n).kind == "tir"])
def test_the_examples_of_a_tir_prompt_end_with_the_output_they_show(name):
    text = load_prompt(name).text
    outputs = re.findall(r"```output\n(.*?)\n```\n.*?\\boxed\{(.*?)\}", text)
    assert len(outputs) == text.count("```output\n")
    for output, boxed in outputs:
        assert output == boxed


def test_a_file_of_ones_own(tmp_path):
    path = write(
        tmp_path,
        "---\nkind: cot\nstop: END\ndescription: mine\nprelude: import math\n---\n"
        "{{hint}}\n{{problem}} \n\n",
    )
    prompt = load_prompt(path)
    assert prompt == Prompt(
        name=str(path), kind="cot", text="{{hint}}\n{{problem}} \n", stop=("END",),
        description="mine", prelude="import math",
    )  # fmt: skip
    assert prompt.fill(problem="P", hint="H") == "H\nP \n"


def test_line_ends_of_windows_are_read(tmp_path):
    path = write(tmp_path, HEAD.replace("\n", "\r\n") + "a\r\n{{problem}}\r\n")
    assert load_prompt(path).text == "a\n{{problem}}"


@given(st.text(), st.text())
def test_what_is_filled_in_stays_as_it_is(problem, hint):
    prompt = Prompt(name="p", kind="cot", text="<{{problem}}|{{hint}}|{{problem}}>")
    assert prompt.fill(problem=problem, hint=hint) == f"<{problem}|{hint}|{problem}>"


def test_single_braces_and_other_double_braces_are_text():
    prompt = Prompt(name="p", kind="cot", text=r"\boxed{1} {{1}} {{ x }} {{problem}}")
    assert prompt.fill(problem="P") == r"\boxed{1} {{1}} {{ x }} P"


def test_an_unknown_prompt_names_the_nearest():
    message = refusal(lambda: load_prompt("tir-fewshots"))
    assert "'tir-fewshots'" in message
    assert "did you mean 'tir-fewshot'?" in message
    assert "numina-cot" in message


def test_an_unknown_name_names_the_nearest():
    prompt = Prompt(name="p", kind="cot", text="{{problem}} {{subject}}")
    message = refusal(lambda: prompt.fill(problem="P", sugject="S"))
    assert "{{sugject}}" in message
    assert "did you mean 'subject'?" in message


def test_a_missing_name_is_named():
    prompt = Prompt(name="p", kind="cot", text="{{problem}} {{subject}}")
    assert "{{subject}} is not filled" in refusal(lambda: prompt.fill(problem="P"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{{problem}}", "front matter"),
        ("", "front matter"),
        ("---\nkind: [\n---\n{{problem}}", "no YAML"),
        ("---\njust text\n---\n{{problem}}", "keys and values"),
        ("---\nkind: sc-tir\n---\n{{problem}}", "'sc-tir'"),
        ("---\n---\n{{problem}}", "keys and values"),
        ("---\nstop: x\n---\n{{problem}}", "kind is None"),
        ("---\nkind: cot\nstops: x\n---\n{{problem}}", "did you mean 'stop'?"),
        ("---\nkind: cot\nstop: [1]\n---\n{{problem}}", "stop must be"),
        ("---\nkind: cot\nstop: ['']\n---\n{{problem}}", "stop must be"),
        ("---\nkind: cot\ndescription: 3\n---\n{{problem}}", "description must be text"),
        ("---\nkind: tir\nprelude: import (\n---\n{{problem}}", "no Python"),
        ("---\nkind: cot\n---\n{{probem}}", "did you mean 'probem'?"),
        ("---\nkind: cot\n---\nno place", "no {{problem}}"),
    ],
)
def test_what_is_no_prompt_is_refused_in_one_line(tmp_path, content, part):
    path = write(tmp_path, content)
    message = refusal(lambda: load_prompt(path))
    assert str(path) in message
    assert part in message


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refusal(lambda: load_prompt(path))
