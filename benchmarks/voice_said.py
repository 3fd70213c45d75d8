"""What is said in the benchmark of the voice, and how two ways to write the same words are told from an error."""

from __future__ import annotations

import re

SAID = (
    "Can you explain what this function does?",
    "Please write a test for the new parser.",
    "Why does the build fail on the second machine?",
    "Summarise the last three messages for me.",
    "Open the session we had about the garden yesterday.",
    "What is the difference between a list and a tuple?",
    "Remind me to call my sister on Thursday evening.",
    "Translate that paragraph into simple English.",
    "How many people live in the capital of Portugal?",
    "Read me the error message once more, slowly.",
    "The meeting starts at nine thirty in the small room.",
    "I would like to know how photosynthesis works.",
    "Stop reading and show me only the code.",
    "Is there a faster way to sort a million numbers?",
    "Send my answer to the whole team before noon.",
    "She bought twelve apples and a loaf of bread.",
    "Which of the two designs would you choose, and why?",
    "Give me four reasons to keep the old database.",
    "The river was frozen from one bank to the other.",
    "Rename the variable to something people understand.",
    "What happened in the year nineteen sixty nine?",
    "Our server answers in less than forty milliseconds.",
    "Turn the volume down a little, please.",
    "Who wrote the play about the prince of Denmark?",
    "Nobody expected the experiment to work the first time.",
    "Compare both answers and tell me which is better.",
    "It took them seven hours to reach the summit.",
    "Delete the branch when the review is finished.",
    "Could you spell that name for me again?",
    "The train to the coast leaves from platform six.",
    "Draw a simple table with two columns.",
    "I forgot to save the file before closing the window.",
    "Explain it as if I were ten years old.",
    "How do I undo the last change I made?",
    "A good question is worth more than a quick answer.",
    "Keep the answer short and leave out the examples.",
    "The price went up by twenty percent since last summer.",
    "Start a new conversation with the careful reviewer.",
    "My flight was cancelled because of heavy snow.",
    "Where is the nearest pharmacy that is open tonight?",
    "The old clock in the hall stopped at midnight.",
    "Search for every message that mentions the budget.",
    "Memory use grows until the process is killed.",
    "We moved the chairs outside and waited for the music.",
    "Do not change anything until I say so.",
    "What should I cook with rice, beans and an onion?",
    "The first version was smaller but much harder to read.",
    "Tell me a short story about a lighthouse keeper.",
    "Check the logs for warnings and count them.",
    "Thank you, that is all for today.",
)

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SAME = {"cancelled": "canceled", "summarise": "summarize", "ok": "okay"}
TIME = re.compile(r"\b(\d{1,2})[:.](\d\d)\b")
YEAR = re.compile(r"\b(1[1-9])(\d\d)\b")


def words(text: str) -> list[str]:
    """The words of a text as they are spoken: without case and signs, numbers in letters, one spelling."""
    spoken = TIME.sub(r"\1 \2", text.lower()).replace("%", " percent ").replace("per cent", "percent")
    spoken = YEAR.sub(r"\1 \2", spoken).replace(",000", "000")
    spoken = re.sub(r"\d+", lambda found: f" {number(int(found[0]))} ", spoken)
    plain = re.sub(r"[^a-z' ]", " ", spoken).replace("'", "")
    return [SAME.get(word, word) for word in plain.split()]


def number(value: int) -> str:
    """A number up to a million in words."""
    if value < 20:
        return ONES[value]
    if value < 100:
        return f"{TENS[value // 10]} {ONES[value % 10] if value % 10 else ''}".strip()
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = f" {number(value % size)}" if value % size else ""
            return f"{number(value // size)} {name}{rest}"
    return str(value)


def errors(said: list[str], heard: list[str]) -> int:
    """The least number of words that must be put in, left out or changed."""
    row = list(range(len(heard) + 1))
    for place, word in enumerate(said, start=1):
        before, row[0] = row[0], place
        for at, other in enumerate(heard, start=1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (word != other))
    return row[-1]
