"""Keep the Spanish catalogue whole.

    .ci/words.py            say which words are missing or no longer used; exit status 1 then
    .ci/words.py --write    put them into django.po, sorted, and compile django.mo beside it

Besides our own words it holds those of packages that have no Spanish of their own. Needs xgettext (package gettext).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import polib

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "pelusa" / "locale" / "es" / "LC_MESSAGES" / "django.po"
# Whose pages and sentences we show
BORROWED = ("unfold", "axes", "knox", "django_celery_beat", "rest_framework")
SPOKEN_BY_DJANGO = ("django.conf", "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes")
UNSEEN = ("tests", "migrations", "bench", "management", "locale", "contrib")

Word = tuple[str | None, str]


def main(*options: str) -> None:
    if not shutil.which("xgettext"):
        sys.exit("words.py needs xgettext: install gettext")
    asked, catalogue = asked_words(), polib.pofile(str(CATALOGUE), wrapwidth=0)
    held = {word_of(entry) for entry in catalogue}
    new = [entry for word, entry in asked.items() if word not in held]
    old = [entry for entry in catalogue if word_of(entry) not in asked]
    untold = [entry for entry in catalogue if entry not in old and not is_told(entry)]
    if "--write" in options:
        write(catalogue, new, old)
    for title, entries in (("not in the catalogue", new), ("no longer used", old), ("without Spanish", untold)):
        for entry in entries:
            print(f"{title}: {entry.msgid!r}")
    if (new or old or untold) and "--write" not in options:
        sys.exit(f"{CATALOGUE.relative_to(ROOT)} is not whole: .ci/words.py --write, then translate")


def word_of(entry: polib.POEntry) -> Word:
    return entry.msgctxt, entry.msgid


def is_told(entry: polib.POEntry) -> bool:
    return entry.translated() and "fuzzy" not in entry.flags


def asked_words() -> dict[Word, polib.POEntry]:
    """Return every word that the code and the templates ask for, ours and the borrowed ones."""
    with tempfile.TemporaryDirectory() as folder:
        ours = extracted(Path(folder, "ours"), our_files())
        theirs = extracted(Path(folder, "theirs"), borrowed_files())
    told = told_elsewhere()
    return ours | {word: entry for word, entry in theirs.items() if word not in ours and word not in told}


def our_files() -> Iterator[tuple[Path, str]]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if name.endswith((".py", ".html")) and not set(Path(name).parts) & set(UNSEEN):
            yield ROOT / name, name


def borrowed_files() -> Iterator[tuple[Path, str]]:
    for package in BORROWED:
        folder = package_folder(package)
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.html")]):
            name = path.relative_to(folder)
            if not set(name.parts) & set(UNSEEN):
                yield path, f"{package}/{name}"


def extracted(folder: Path, files: Iterable[tuple[Path, str]]) -> dict[Word, polib.POEntry]:
    """Copy the files beside an empty catalogue and let Django's own command read them."""
    for path, name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    (folder / "locale").mkdir()
    command = [sys.executable, "-m", "django", "makemessages", "-v0", "-les", "--keep-pot", "--no-location"]
    surroundings = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(command, cwd=folder, env=surroundings, check=True)
    return {word_of(entry): entry for entry in polib.pofile(str(folder / "locale" / "django.pot"))}


def told_elsewhere() -> set[Word]:
    """Return the words that Django and the borrowed packages have in Spanish themselves."""
    folders = [package_folder(package) for package in (*SPOKEN_BY_DJANGO, *BORROWED)]
    files = [folder / "locale" / "es" / "LC_MESSAGES" / "django.mo" for folder in folders]
    return {word_of(entry) for file in files if file.exists() for entry in polib.mofile(str(file))}


def package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"words.py needs {package}")
    return Path(spec.origin).parent


def write(catalogue: polib.POFile, new: list[polib.POEntry], old: list[polib.POEntry]) -> None:
    for entry in old:
        catalogue.remove(entry)
    for entry in new:
        entry.flags = []
        catalogue.append(entry)
    # Sorted by the English, so that two branches seldom touch the same place
    catalogue.sort(key=lambda entry: (entry.msgid.lower(), entry.msgid, entry.msgctxt or ""))
    catalogue.save(str(CATALOGUE))
    catalogue.save_as_mofile(str(CATALOGUE.with_suffix(".mo")))


if __name__ == "__main__":
    main(*sys.argv[1:])
