import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.answers.extract import extract_answer, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $\boxed{42}$.", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (
            r"\boxed{\left\{x \mid x > \frac{1}{2}\right\}}",
            r"\left\{x \mid x > \frac{1}{2}\right\}",
        ),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{}", None),
        (r"\boxed{5} \boxed{ }", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed 5", "5"),
        (r"$\boxed5$", "5"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"\boxed {x^2}", "x^2"),
        (r"\boxed{\boxed{8}}", "8"),
        (r"\boxed{1}, \boxed{2} and \boxed{3}", "1, 2, 3"),
        (r"$\boxed{3}$, $\boxed{3}$", "3"),
        ("\\boxed{1}\n\n\\boxed{2}", "2"),
        (r"\boxed{k = 45} \quad \text{and} \quad \boxed{n = 2}", "k = 45, n = 2"),
        ("The answer is 43.", "43"),
        ("The final answer is $x = \\frac12$, as one sees.", r"x = \frac12"),
        ("the answer is: 3.5 apples. Then", "3.5 apples"),
        ("**Final Answer**\n\n$\\frac12$", r"\frac12"),
        ("**Answer:** 12", "12"),
        ("### Final Answer\n42", "42"),
        ("Answer: (1, 2)", "(1, 2)"),
        ("The answer is **42**.", "42"),
        (r"The answer is \(x^2\).", "x^2"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("48/2 = 24\n#### 1,234", "1,234"),
        ("The answer is 40 songs. #### 40", "40"),
        ("#### Step 2: add", None),
        ("#### 1. First, add", None),
        ("the answer is 1. No: the answer is 2.", "2"),
        (r"The answer is 7, so $\boxed{8}$", "8"),
        ("答案是 5。", "5"),
        ("It is $138. Then the answer is $140. So $1 more.", "$140"),
        ("The answer is 7. The answer is in the interval.", "7"),
        ("The answer is of the form $m/n$ with m > 1.", None),
        ("The answer is the number 7.", "the number 7"),
        ("The answer is a = 7.", "a = 7"),
        ("The answer is Tuesday.", "Tuesday"),
        ("```python\nanswer = f(3)\nprint(f'the answer is {answer}')\n```", None),
        ("The answer is 3.\n```python\n# the answer is 4\n", "3"),
        ("answer = f(3)", None),
        ("the answer = 3", "3"),
        ("there are 7 of them", None),
        ("", None),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("there are 7 or -8", "-8"),
        ("it costs $4,500.50 now.", "4,500.50"),
        ("a ratio of 3/4.", "3/4"),
        ("x1 and y2", None),
        ("no number", None),
        ("The answer is x, or 7", "x, or 7"),
        ("about 1e-3", "1e-3"),
        (r"\boxed{5} of 10", "5"),
    ],
)
def test_last_number_is_the_last_resort(text: str, answer: str | None) -> None:
    assert extract_answer(text, last_number=True) == answer


def test_window_counts_from_the_end() -> None:
    text = r"\boxed{5}" + "x" * 95
    assert extract_answer(text, window=95) == "5"
    assert extract_answer(text + "  \n", window=95) == "5"
    assert extract_answer(text, window=94) is None
    assert extract_answer(r"\boxed{5}. " + "x" * 200 + " The answer is 6", window=20) == "6"
    assert extract_answer("7" + "x" * 200, window=100, last_number=True) is None


contents = st.recursive(
    st.text(st.sampled_from("ab12+ ,^_"), min_size=1, max_size=4),
    lambda inner: (
        st.builds("{{{}}}".format, inner)
        | st.builds(r"\{{{}\}}".format, inner)
        | st.builds(r"\frac{{{}}}{{{}}}".format, inner, inner)
    ),
    max_leaves=6,
).filter(str.strip)


@given(contents, st.text(max_size=20), st.text(st.characters(exclude_characters="\\"), max_size=20))
def test_any_balanced_content_is_found(content: str, before: str, after: str) -> None:
    # a backslash or an open box before would change what the box is
    before = before.replace("\\", "").replace("{", "")
    found = last_boxed(f"{before}\\boxed{{{content}}}{after}")
    assert found is not None
    assert found[0] == content.strip()
    assert found[1] == len(before) + len(content) + len("\\boxed{}")


pieces = st.lists(
    st.sampled_from(
        ["\\boxed", "\\fbox", "{", "}", "\\{", "\\", "$", "answer is", "####", " ", "\n", "5", "x",
         ".", "**", "Answer:", "and", ",", "\\text{and}", "答案", "é", "\ud800"]
    )
).map("".join)  # fmt: skip


@given(st.text() | pieces, st.none() | st.integers(0, 200), st.booleans())
def test_extract_never_raises_and_gives_text_or_nothing(
    text: str, window: int | None, last_number: bool
) -> None:
    answer = extract_answer(text, window=window, last_number=last_number)
    assert answer is None or answer.strip()
    if answer is not None and window is not None:
        assert extract_answer(text, last_number=last_number) is not None
