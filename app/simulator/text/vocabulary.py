"""The replies of the recorded tiny model, cut into the tokens they were recorded with (`|` between them)."""

from __future__ import annotations

HELLO = (
    "Hel|lo|!| I| a|m| a| t|in|y| r|andom| test| mode|l| ser|ved| by| v|LLM|.| I| can| only| s|ay| a| f|ew| fix|ed"
    "| sent|en|ces|,| and| this| is| one| of| them|.| H|ave| a| n|ice| day|."
)
SHORT = "O|K|."
THINK = (
    "<think>|\n|The| user| want|s| me| to| th|in|k|,| so| I| th|in|k| st|ep| by| st|ep|:| first| this|,| then| that"
    "|,| and| finally| the| ans|w|er|.|\n|</think>|\n|\n|The| ans|w|er| is| 4|2|."
)
FOREVER = "and| on"
UNICODE = "你|好|,|世|界|!|🌍| |这|是|一|个|测|试|。|П|р|и|в|е|т|,| |м|и|р|!| |こ|ん|に|ち|は| |😀| n|a|ï|ve| ca|f|é|."
COUNT = "|".join(
    ("1", *(f" {number}" for number in range(2, 14)), *(f" {n // 10}|{n % 10}" for n in range(14, 61)))
)
COUNT += "| done|."
CALL_HEAD = '<tool_call>|\n|{"|name|":| "'
CALL_ARGUMENTS = '",| "|arg|um|ents|":| '
CALL_TAIL = "}\n|</tool_call>"
WEATHER = {"Paris": '{|"|c|ity|":| "|Par|is|"|}', "Berlin": '{|"|c|ity|":| "|B|er|lin|"|}'}
WEATHER_NAME = "get|_|we|ather"

_PROMPTS = (
    "user|system|ass|ist|ant|hel|lo|short|unicode|w|iz|ard|or|ld|h|i| w|word|ord|Y| Y|ou| are| a| c|are|f|ul| helper"
    "|c|ount| to| ten| pl|ease|we|ather| in| Par|is| both|ities|th|in|k|\n\n"
)

SPECIALS = {
    "<|endoftext|>": 0,
    "<|im_start|>": 1,
    "<|im_end|>": 2,
    "<think>": 4090,
    "</think>": 4091,
    "<tool_call>": 4092,
    "</tool_call>": 4093,
}

RECORDED_IDS = {
    "user": 1505,
    "ass": 3601,
    "ist": 433,
    "ant": 745,
    "hel": 3568,
    "Hel": 2794,
    "lo": 365,
    " w": 311,
    "or": 271,
    "ld": 1382,
    "short": 2168,
}

PIECES: frozenset[str] = frozenset(
    piece
    for script in (HELLO, THINK, FOREVER, COUNT, CALL_HEAD, CALL_ARGUMENTS, CALL_TAIL, WEATHER_NAME, _PROMPTS)
    for piece in (*script.split("|"), *WEATHER["Paris"].split("|"), *WEATHER["Berlin"].split("|"))
    if piece and piece.isascii()
) - {"<|im_start|>"}
