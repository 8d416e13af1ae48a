from __future__ import annotations

import pytest

from app.simulator.engine.sequence import Limits, Output, Sequence
from app.simulator.text.replies import Replies
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import END, Tokenizer

TOKENIZER = Tokenizer()
REPLIES = Replies(TOKENIZER)


def sequence(keyword="hello", tokens=1000, **limits) -> Sequence:
    prompt = Prompt(TOKENIZER.encode("hello"), "hello")
    script = REPLIES.chat(keyword, tools=False)
    return Sequence(prompt, script, Limits(tokens, **limits), lambda *_: None)


def play(subject: Sequence, most=2000) -> list[Output]:
    outputs = []
    while subject.finish is None and len(outputs) < most:
        outputs.append(subject.step())
    return outputs


def text(outputs) -> str:
    return "".join(output.text for output in outputs)


def test_ends_with_its_reply_and_counts_the_end_of_turn():
    outputs = play(sequence("short"))
    assert text(outputs) == "OK."
    assert (len(outputs), outputs[-1].finish, outputs[-1].stop) == (4, "stop", None)
    assert outputs[-1].tokens == [END]


def test_ends_at_its_limit():
    outputs = play(sequence("hello", 3))
    assert (text(outputs), outputs[-1].finish) == ("Hello!", "length")


def test_an_endless_reply_only_ends_at_its_limit():
    outputs = play(sequence("forever", 100))
    assert (len(outputs), outputs[-1].finish) == (100, "length")


def test_a_stop_string_is_cut_off_and_its_tokens_are_counted():
    subject = sequence("hello", strings=("random",))
    outputs = play(subject)
    assert text(outputs) == "Hello! I am a tiny "
    assert (outputs[-1].finish, outputs[-1].stop, subject.generated) == ("stop", "random", 12)


def test_a_stop_string_may_be_kept():
    assert text(play(sequence("hello", strings=("random",), keeps_stop=True))).endswith("random")


def test_the_first_of_several_stop_strings_counts():
    assert play(sequence("hello", strings=("tiny", "am")))[-1].stop == "am"


def test_text_that_might_be_a_stop_string_is_held_back():
    assert [output.text for output in play(sequence("hello", strings=("random",)))][:4] == ["", "", "H", "el"]


def test_text_held_back_for_nothing_is_said_at_the_end():
    assert text(play(sequence("short", strings=("never said",)))) == "OK."


def test_a_stop_token_names_itself():
    token = TOKENIZER.encode("K")[0].id
    outputs = play(sequence("short", ids=frozenset({token})))
    assert (outputs[-1].finish, outputs[-1].stop) == ("stop", token)


def test_ignoring_the_end_starts_the_reply_anew():
    outputs = play(sequence("short", 7, ignores_end=True))
    assert text(outputs) == "OK.OK.O"


def test_a_minimum_keeps_the_end_away():
    subject = sequence("short", minimum=9)
    assert text(play(subject)) == "OK." * 3
    assert subject.generated == 10


def test_a_minimum_keeps_stop_strings_away():
    assert text(play(sequence("short", minimum=6, strings=("K",)))) == "OK.OK."


def test_characters_are_never_split():
    outputs = play(sequence("unicode"))
    assert len(outputs) == 82
    assert text(outputs).startswith("你好,世界!🌍")
    assert "�" not in text(outputs)


def test_a_character_cut_by_the_limit_is_replaced():
    assert text(play(sequence("unicode", 1))) == "�"


def test_reads_only_when_nothing_is_to_be_generated():
    subject = sequence("hello", 0)
    assert play(subject) == [Output(finish="length")]
    assert subject.generated == 0


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_a_numbered_reply_has_that_many_tokens(count):
    assert len(play(sequence(f"{count} tokens"))) == count


def test_merged_outputs_keep_text_tokens_and_end():
    outputs = play(sequence("short"))
    whole = Output()
    for output in outputs:
        whole.merge(output)
    assert (whole.text, len(whole.tokens), whole.finish) == ("OK.", 4, "stop")
