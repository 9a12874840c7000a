"""The papers' sentences as quoted here, and the list of those that were compared with the texts.

The texts are not in the repository. ``python tests/support/quotations.py TEXT…`` compares every
quotation with them and writes the fingerprints of all that stand there word by word; tests then
notice each quotation that was changed or added since.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from deepfake_repro.project.params import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "results" / "published"
COMPARED = PUBLISHED / "quotations.txt"
SHORTEST = 3  # words; shorter ones are names
TITLES = (
    "which margin makes this triplet easy",
    "write semi-hard mining and train a row with it",
    "AUC 94 on 4,000 unseen pictures, interval ± 0.8",
)
"""In quotation marks, but of this course."""


def quotations() -> Iterator[tuple[str, str]]:
    """Yield where a quotation stands and its words, a part on each side of an omission."""
    for claim in read_yaml(PUBLISHED / "claims.yaml")["claims"]:
        if claim.get("quoted", True):
            yield from _parts(f"claim {claim['id']}", claim["sentence"])
    for entry in read_yaml(PUBLISHED / "decisions.yaml")["decisions"]:
        for text in re.findall("“([^”]+)”", f"{entry['question']} {entry['evidence']}"):
            yield from _parts(f"decision {entry['question']}", text)
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                prose = re.sub("```.*?```", "", "".join(cell["source"]), flags=re.DOTALL)
                for text in re.findall('[“"]([^”"`]+)[”"]', prose):
                    if text not in TITLES and len(text.split()) > SHORTEST:
                        yield from _parts(f"notebook {file.stem}", text)


def _parts(where: str, text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"…|\[[^\]]*\]", text):
        words = normalised(part)
        if len(words.split()) >= SHORTEST:
            yield where, words


def normalised(text: str) -> str:
    """Keep words and numbers, lower case; joins what a line break or a formula has divided."""
    text = re.sub(r"_\{(\w+)\}", r"_\1", text).replace("inthe-wild", "in-the-wild")
    text = re.sub(r"\[[\d, ]+\]", " ", text)  # references
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def fingerprint(words: str) -> str:
    """Hash a normalised quotation."""
    return hashlib.sha256(words.encode()).hexdigest()


def absent(text: str) -> list[tuple[str, str]]:
    """List the quotations that do not stand in ``text``."""
    words = f" {normalised(text)} "
    return [found for found in quotations() if f" {found[1]} " not in words]


def main(texts: list[str]) -> int:
    """Compare and write the list; 1 if a quotation is not in the texts."""
    wrong = absent("\n".join(Path(text).read_text(encoding="utf-8") for text in texts))
    for where, words in wrong:
        print(f"{where}: not in the text: {words}")
    if not wrong:
        lines = sorted({fingerprint(words) for _, words in quotations()})
        COMPARED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
