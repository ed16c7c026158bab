"""Answers in words that say "not there". Read only where an answer holds no entry at all.

"Not there" is a result a robot acts on, so doubt counts as unreadable: the words must deny the object, not the picture, the
task or the ability.
"""

import re

LOOKED_AT = 400  # characters at the beginning; a longer text is no refusal but may begin or end with an empty list
PICTURE = r"(?:the |this |an? |any )?(?:image|picture|photo|scene)"

FENCE = re.compile(r"```[a-z]{0,10}")
EMPTY = re.compile(
    r'\[\s*\]|\{\s*\}|\[\s*\{\s*\}\s*\]|\{\s*"?\w+"?\s*:\s*(?:\[\s*\]|null)\s*\}|null|none|nothing|n/a|no|<\|rej\|>', re.I
)
EMPTY_LINE = re.compile(r"^[ \t]{0,8}\[\s?\][ \t]{0,8}$", re.M)
EMPTY_AT_END = re.compile(r":\s{0,4}\[\s?\]\W{0,4}$")
ABLE = "help|assist|process|view|access|open|load|segment"
SHOWN = "visible|present|found|detected|seen|shown|located|identified|exists?"
SHOWS = "contain|show|include|depict|have|see|find|locate|detect|identify|appear"
UNABLE = re.compile(
    rf"as an ai|language model|(?:can(?:no|['’])?t|unable to) (?:{ABLE})|(?:see|find|view|locate) {PICTURE}\b|"
    r"no (?:image|picture|photo|bounding|box|boxes|coordinates|doubt|problem|need|other|more|further|additional)\b|"
    r"\b(?:i (?:can )?(?:see|found)|there (?:is|are)) (?:an?|the|one|two|three|some|several|\d+)\b",  # says also what is there
    re.I,
)
DENIED = re.compile(
    r"\bthere (?:is|are|was|were|appears? to be|seems? to be)(?:n['’]t| not)? ?(?:no|not|none|any)\b|"
    r"\bthere(?: i|['’])s no\b|\bthere (?:is|are)n['’]t\b|"
    rf"\b(?:no|none of|not any|neither|nothing)\b[^.\n]{{0,80}}\b(?:{SHOWN}|in (?:the|this) (?:image|picture|photo|scene))\b|"
    r"\b(?:does|do|did|is|are|was|were|could|can)(?:n['’]t| not|not|['’]t) (?:\w+ ){0,3}?"
    rf"(?:{SHOWS}|{SHOWN}|in (?:the|this))\b|"
    r"\bunable to (?:see|find|locate|detect|identify)\b|\b(?:is|are) (?:absent|missing)\b|没有|不存在|未检测到|未发现|找不到",
    re.I,
)


def says_absent(text: str) -> bool:
    """True for an empty list, "None", "There are no hammers in the image" and the like; False where that is not certain."""
    words = FENCE.sub(" ", text[: 2 * LOOKED_AT]).strip().rstrip(".!").strip()
    if EMPTY.fullmatch(words) and len(text) <= 2 * LOOKED_AT:
        return True
    if any(EMPTY_LINE.search(part) for part in (text[:LOOKED_AT], text[-LOOKED_AT:])) or EMPTY_AT_END.search(text[-LOOKED_AT:]):
        return True
    return len(text) <= LOOKED_AT and UNABLE.search(text) is None and DENIED.search(text) is not None
