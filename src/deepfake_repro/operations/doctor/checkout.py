"""Checks of the checkout that need neither PyTorch nor a network: git, DVC, roots, weights."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ...project.params import Params
from ...project.paths import Paths, corpus_roots
from ...project.provenance import SOURCES, has_history
from ...project.vocabulary import LNCLIP, SBI
from .finding import ERROR, OK, WARNING, Finding

MERGED = ("dvc.lock", "dvc.yaml", "params.yaml", "requirements.lock")
"""Files in which a merge may leave conflicts that stop DVC."""
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.M)
NAMED = 3
"""Changed files that are named."""


def check_git(base: Path) -> Iterator[Finding]:
    """Check that results can be traced to a commit."""
    if shutil.which("git") is None:
        yield Finding(WARNING, "git", "not installed", "install git, so that runs name a commit")
        return
    if not has_history(base):
        text = "no history (an unpacked archive): runs name no commit, studies cannot run"
        yield Finding(WARNING, "git", text, "git init && git add -A && git commit -m archive")
        return
    changed = _git(base, "status", "--porcelain", "--", *SOURCES).splitlines()
    commit = _git(base, "rev-parse", "--short", "HEAD")
    if changed:
        names = ", ".join(line.split()[-1] for line in changed[:NAMED])
        rest = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        text = f"changed since {commit}: {names}{rest}; runs are recorded as dirty"
        yield Finding(WARNING, "git", text, "commit them before a long run")
    else:
        yield Finding(OK, "git", f"{commit or 'no commit yet'}, nothing changed")


def check_dvc(base: Path) -> Iterator[Finding]:
    """Check that DVC can start: its folder, no conflict in its files, no other DVC at work."""
    if not (base / ".dvc").is_dir():
        cure = "git checkout .dvc, or dvc init"
        yield Finding(ERROR, "DVC", "the folder .dvc is missing", cure)
        return
    for name in MERGED:
        file = base / name
        if not file.is_file():
            if name != "dvc.lock":
                yield Finding(ERROR, "DVC", f"{name} is missing", f"git checkout {name}")
        elif CONFLICT.search(file.read_text(encoding="utf-8")):
            text = f"{name} contains conflicts of a merge"
            yield Finding(ERROR, "DVC", text, f"resolve them, or git checkout --ours {name}")
    try:
        running = dvc_processes(base)
    except json.JSONDecodeError:
        text = ".dvc/tmp/rwlock is damaged: a DVC was killed while it wrote it, none can start"
        yield Finding(ERROR, "DVC", text, "rm .dvc/tmp/rwlock")
        return
    if running:
        text = f"process {', '.join(map(str, running))} is working in this checkout"
        yield Finding(WARNING, "DVC", text, "wait for it")
    else:
        yield Finding(OK, "DVC", "no other DVC is at work here")


def dvc_processes(base: Path) -> list[int]:
    """Return the processes that hold locks of DVC in ``base`` and are alive.

    Raises ``JSONDecodeError`` for a damaged file, with which DVC stops, too.
    """
    file = base / ".dvc" / "tmp" / "rwlock"
    if not file.is_file():
        return []
    locks = json.loads(file.read_text(encoding="utf-8"))
    # A path has one writer or a list of readers.
    entries = [
        entry
        for kind in ("read", "write")
        for held in locks.get(kind, {}).values()
        for entry in (held if isinstance(held, list) else [held])
    ]
    return sorted({entry["pid"] for entry in entries if _is_alive(entry["pid"])})


def check_roots(base: Path, params: Params) -> Iterator[Finding]:
    """Check that each root of a corpus is a folder, for profiles without miniatures."""
    for name in official_profiles(params):
        paths = Paths(name, base)
        try:
            roots = corpus_roots(paths.roots)
        except (ValueError, FileNotFoundError) as error:
            yield Finding(ERROR, "corpora", str(error), "see data/README.md")
            continue
        file = f"data/corpora/{name}.yaml"
        lost = {corpus: root for corpus, root in roots.items() if not root.is_dir()}
        for corpus, root in lost.items():
            yield Finding(ERROR, "corpora", f"{corpus}: {root} is not a folder", f"correct {file}")
        if not roots:
            cure = f"write the folders of your downloads into {file}"
            yield Finding(ERROR, "corpora", f"{name}: no corpus has a root", cure)
        elif not lost:
            yield Finding(OK, "corpora", f"{name}: {len(roots)} roots are folders")


def check_start_files(base: Path, params: Params) -> Iterator[Finding]:
    """Check that start weights that are files are there, for profiles without miniatures."""
    for name in official_profiles(params):
        for source in sorted(start_sources(params, name)):
            if not source.startswith("timm:") and not (base / source).is_file():
                cure = "deepfake-repro weights (docs/weights.md)"
                yield Finding(ERROR, "weights", f"{name}: {source} is missing", cure)


def official_profiles(params: Params) -> list[str]:
    """List the profiles of the run whose corpora are not made by the pipeline."""
    return [name for name in params.run.profiles if name not in params.run.miniatures]


def start_sources(params: Params, profile: str) -> set[str]:
    """Return the files and ``timm:`` tags that the rows of the run start from."""
    sources = set()
    for row in params.rows_of_run:
        options = params.profile(profile, row)
        variant = params.variant(row)
        if variant.method == LNCLIP:
            sources.add(options.lnclip.start)
        elif variant.method == SBI and options.sbi.weights:
            sources.add(options.sbi.weights)
        elif variant.init != "fsfm" or profile not in params.run.pretrain:
            sources.add(str(getattr(options.start, variant.init)))
    return sources


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _git(base: Path, *arguments: str) -> str:
    command = ["git", "-C", str(base), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
