"""What a strategy's form would be told if it were saved as it stands, and what its figures mean. Nothing is written."""

from typing import Any

from strategies.advice import notes_of
from strategies.models import Leg
from strategies.validation import problems


def check(form: Any, legs: Any) -> dict[str, dict[str, list[Any]]]:
    """Return complaints and notes by the form's own names of its fields, e.g. `legs-0-size`.

    `form` is the strategy's, `legs` the formset of its legs, both bound to what is typed so far. What a field cannot
    read at all is said by the field; the rest by what saving asks.
    """
    complaints = _unreadable(form, legs)
    kept = legs.kept()
    for field, sentences in problems(form.instance, kept).items():
        name = _html_name(form, legs, field)
        complaints.setdefault(name, [str(sentence) for sentence in sentences])
    notes: dict[str, list[Any]] = {}
    for note in notes_of(form.instance, kept):
        said = {"sentence": note.sentence, "is_warning": note.is_warning}
        notes.setdefault(_html_name(form, legs, note.field), []).append(said)
    return {"problems": complaints, "notes": notes}


def _unreadable(form: Any, legs: Any) -> dict[str, list[str]]:
    return {
        each.add_prefix(name): [str(sentence) for sentence in sentences]
        for each in (form, *legs.forms)
        for name, sentences in each.errors.items()
    }


def _html_name(form: Any, legs: Any, field: str) -> str:
    leg, _dot, column = field.partition(".")
    if leg not in Leg.Name.values:
        return str(form.add_prefix(field))
    return str(next(each for each in legs.forms if each.leg_name == leg).add_prefix(column or "name"))
