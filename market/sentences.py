"""Sentences for people that pure modules make: English, and ready to be told in another language. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Sentence(str):
    """An English sentence that remembers what it was made of.

    Imported as `_`, so that its words are found for the catalogue: `_("no interval %(text)s", text=text)`.
    """

    __slots__ = ("facts", "words")
    words: str
    facts: dict[str, object]

    def __new__(cls, words: str, /, **facts: object) -> Sentence:
        made = super().__new__(cls, words % facts if facts else words)
        made.words, made.facts = words, facts
        return made

    def told(self, gettext: Callable[[str], str]) -> str:
        """Return it in the language of `gettext`, with the sentences that it holds."""
        facts = {name: told(fact, gettext) if isinstance(fact, str) else fact for name, fact in self.facts.items()}
        return gettext(self.words) % facts if facts else gettext(self.words)


def told(text: str, gettext: Callable[[str], str]) -> str:
    """Return a text in the language of `gettext` when it is a sentence of ours, else as it is."""
    return text.told(gettext) if isinstance(text, Sentence) else text
