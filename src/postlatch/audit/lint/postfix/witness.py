"""What could somebody say to match one pattern and none of the others? A text, the proof that there is none, or no answer."""

from __future__ import annotations

from collections import deque
from typing import Final

from postlatch.audit.lint.postfix.pattern import Pattern, State, compiled

_MOST_STEPS: Final = 500_000  # of one state of an automaton by one letter
_MOST_LENGTH: Final = 80
_ALPHABET: Final = b"a0.@-_+%!=x1bcdefghijklmnopqrstuvwyz23456789:"

# What a stranger may choose: any sender, any greeting, and names and recipients below domains of his own.
SENDER: Final = compiled(r"^[a-z0-9._%+=!-]+@([a-z0-9-]+\.)+[a-z]+$")
HELO: Final = compiled(r"^[a-z0-9-]+(\.[a-z0-9-]+)*$")
RECIPIENT: Final = compiled(r"^[a-z0-9._%+=!-]+@elsewhere\.example$")
RECIPIENT_ANYWHERE: Final = compiled(r"^[a-z0-9._%+=!-]+@([a-z0-9-]+\.)*elsewhere\.[a-z]+$")
DOMAIN: Final = compiled(r"^([a-z0-9-]+\.)*elsewhere\.[a-z]+$")
CLIENT_NAME: Final = compiled(r"^([a-z0-9-]+\.)*stranger\.[a-z]+$")
CLIENT_ADDRESS: Final = compiled(r"^[1-9][0-9]?[0-9]?\.[1-9][0-9]?\.[1-9][0-9]?\.[1-9][0-9]?$")


class Undecided(Exception):
    """The search took too long."""


def find(wanted: list[Pattern], unwanted: list[Pattern]) -> str | None:
    """A shortest text that all of ``wanted`` match and none of ``unwanted``; None: there is none. Undecided: who knows."""
    patterns = [*wanted, *unwanted]
    letters = _letters(patterns)
    # Whether the text ends here is guessed together with each step, because $ looks at it, and \\b at what follows.
    following: tuple[int | None, ...] = (None, ord("a"), ord("-")) if any(p.has_borders for p in patterns) else (None, ord("a"))
    queue: deque[tuple[tuple[State, ...], int | None, str]] = deque()
    for after in following:
        queue.append((tuple(pattern.begin(after) for pattern in patterns), after, ""))
    seen: set[tuple[tuple[State, ...], int | None]] = set()
    steps = 0
    while queue:
        states, after, text = queue.popleft()
        if after is None:
            if all(state.found == (number < len(wanted)) for number, state in enumerate(states)):
                return text
            continue
        steps += len(letters) * len(following) * sum(len(state.numbers) + 1 for state in states)
        if steps > _MOST_STEPS:
            raise Undecided
        for letter in letters:
            if len(following) > 2 and _in_word(letter) != _in_word(after):
                continue
            for beyond in following:
                moved = tuple(p.step(s, letter, beyond) for p, s in zip(patterns, states, strict=True))
                if (moved, beyond) in seen or any(state.found for state in moved[len(wanted) :]):
                    continue
                seen.add((moved, beyond))
                if len(text) > _MOST_LENGTH:
                    raise Undecided
                queue.append((moved, beyond, text + chr(letter)))
    return None


def _letters(patterns: list[Pattern]) -> list[int]:
    """One of each kind of letters that no pattern tells apart."""
    sets = sorted({chosen for pattern in patterns for chosen in pattern.sets}, key=sorted)
    kinds: dict[tuple[bool, ...], int] = {}
    for letter in _ALPHABET:
        kinds.setdefault((_in_word(letter), *(letter in chosen for chosen in sets)), letter)
    return list(kinds.values())


def _in_word(letter: int) -> bool:
    return chr(letter).isalnum() or letter == ord("_")
