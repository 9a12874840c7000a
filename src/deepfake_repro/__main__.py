"""The command line: ``python -m deepfake_repro <stage> …``. Wrong input ends with one line and exit code 2."""

from __future__ import annotations

import argparse
import sys

from .params import load, root


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        _run(chosen)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deepfake_repro", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("assets", help="fetch, verify and unpack the demo's licensed assets")
    miniatures = stages.add_parser("miniatures", help="make the embedded miniature corpora")
    miniatures.add_argument("name")
    for name, what in (("index", "official downloads -> index table, counts beside the paper's"),
                       ("counts", "Tables 1 and 2 beside the paper's, facts about leakage"),
                       ("audit", "shortcut audit and picture pages")):
        stages.add_parser(name, help=what).add_argument("--profile", required=True)
    stages.add_parser("readme", help="write the results table of README.md anew")
    score = stages.add_parser("score-row", help="predictions of a run -> its row of Table 3")
    score.add_argument("profile")
    score.add_argument("variant")
    score.add_argument("seed", type=int)
    return parser


def _run(chosen: argparse.Namespace) -> None:
    """Each stage imports only what it needs: a cheap stage must not pay for torch."""
    if chosen.stage == "assets":
        from .assets import main as assets
        assets(root() / "data" / "assets")
    elif chosen.stage == "miniatures":
        from .demo.build import build
        out = root() / "data" / "corpora" / chosen.name
        build(chosen.name, load().miniature(chosen.name), root() / "data" / "assets", out)
    elif chosen.stage == "index":
        from .stages import index
        index(chosen.profile)
    elif chosen.stage == "counts":
        from .corpus_tables import counts
        counts(chosen.profile)
    elif chosen.stage == "audit":
        from .demo.audit import audit
        audit(chosen.profile)
    elif chosen.stage == "readme":
        from .stages import readme_with_results
        (root() / "README.md").write_text(readme_with_results(root()), encoding="utf-8")
    else:
        from .stages import score
        score(chosen.profile, chosen.variant, chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
