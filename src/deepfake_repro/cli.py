"""The command line: ``deepfake-repro COMMAND …``, or ``python -m deepfake_repro COMMAND …``.

Wrong input ends with one line and exit code 2. ``score`` returns 0 if every file got a score, 1 if
some did, 2 if none did, and 3 if the program itself cannot work (a library of another version).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .project.machine import pin
from .project.params import load, root
from .project.paths import ASSETS
from .project.vocabulary import LNCLIP, SBI, method_of

Command = Callable[[argparse.Namespace], int | None]


class _Commands:
    """Adds commands to a parser, whose help lists them by group."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self.functions: dict[str, Command] = {}

    def group(self, title: str) -> None:
        """Begin a group of commands in the help."""
        self._parser.epilog = f"{self._parser.epilog or ''}\n{title}\n"

    def add(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command that calls ``run`` with its arguments."""
        self._parser.epilog = f"{self._parser.epilog or ''}  {name:21} {what}\n"
        self.functions[name] = run
        command = self._commands.add_parser(name, description=f"{what[0].upper()}{what[1:]}.")
        command.set_defaults(run=run)
        return command

    def add_for_profile(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command with the option ``--profile``."""
        command = self.add(name, run, what)
        command.add_argument("--profile", required=True, help="demo, smoke or paper")
        return command

    def add_for_run(self, name: str, run: Command, what: str) -> argparse.ArgumentParser:
        """Add a command with the arguments profile, row and seed."""
        command = self.add(name, run, what)
        command.add_argument("profile", help="demo, smoke or paper")
        command.add_argument("variant", help="row of Table 3, such as fsfm_ba")
        command.add_argument("seed", type=int)
        return command


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser, _ = _parser()
    chosen = parser.parse_args(arguments)
    try:
        if profile := _profile(chosen):
            pin(load().profile(profile).cpu)
        return chosen.run(chosen) or 0
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _profile(chosen: argparse.Namespace) -> str:
    """Return the profile that a command runs for; empty if it runs for none."""
    parameters = getattr(chosen, "parameters", [])
    named = [value.removeprefix("profile=") for value in parameters if value.startswith("profile=")]
    return getattr(chosen, "profile", "") or "".join(named)


def functions() -> dict[str, Command]:
    """Return the function behind each command."""
    _, commands = _parser()
    return commands.functions


def _parser() -> tuple[argparse.ArgumentParser, _Commands]:
    parser = argparse.ArgumentParser(
        prog="deepfake-repro",
        description="Deepfake detection that generalises to unseen manipulations: "
        "a reproducible compendium.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = _Commands(parser)
    commands.group("Your own video")
    _add_scoring(commands)
    commands.group("The pipeline (dvc repro runs these in the right order)")
    _add_data_stages(commands)
    _add_model_stages(commands)
    _add_notebook_commands(commands)
    commands.group("Operations")
    _add_operations(commands)
    commands.group("Exchange with other code bases")
    _add_exchange(commands)
    return parser, commands


def _add_scoring(commands: _Commands) -> None:
    score = commands.add("score", _score, "score videos: exit code 0 all scored, 1 some, 2 none")
    score.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="video, image, folder or 'pattern*.mp4'"
    )
    score.add_argument(
        "--out",
        type=Path,
        default=Path("report"),
        help="folder for reports and scores.csv (report)",
    )
    export = commands.add(
        "export-model", _export_model, "export weights as safetensors and ONNX with a model card"
    )
    export.add_argument("--out", required=True, type=Path, help="a new folder")
    for command in (score, export):
        command.add_argument(
            "--weights",
            type=Path,
            help="folder of a trained row or of export-model, or a fine-tuned FSFM .pth; "
            "default: the demo's",
        )


def _add_data_stages(commands: _Commands) -> None:
    commands.add("code", _code, "write the code of each stage to results/code")
    commands.add("assets", _assets, "fetch, verify and unpack the demo's licensed assets")
    commands.add(
        "landmarks-of-people", _landmarks_of_people, "find the landmarks stored for the demo again"
    )
    commands.add("miniatures", _miniatures, "make the miniature corpora").add_argument(
        "name", help="demo or smoke"
    )
    commands.add_for_profile(
        "index", _index, "read the official downloads into one table of videos"
    ).add_argument("--part", required=True, help="training, unseen, or a corpus of your own")
    commands.add_for_profile(
        "counts", _counts, "compare Tables 1 and 2 with the paper's; leakage between splits"
    )
    commands.add_for_profile(
        "landmarks", _landmarks, "find the landmarks of the real crops that SBI learns from"
    )
    commands.add_for_profile(
        "controls", _controls, "score untrained controls such as the sharpness of the face"
    )
    commands.add_for_profile(
        "audit", _audit, "audit the crops for shortcuts and draw example crops"
    )


def _add_model_stages(commands: _Commands) -> None:
    commands.add_for_profile(
        "pretrain", _pretrain, "pre-train FSFM; several devices by torchrun, then notebook 03b"
    )
    commands.add_for_run(
        "train", _train, "train a row; several devices or nodes by torchrun, then its notebook"
    )
    commands.add_for_run(
        "predict", _predict, "predict a row's test sets; likewise, then notebook 06"
    )
    commands.add_for_run(
        "score-row", _score_row, "compute a run's row of Table 3 from its predictions"
    )
    commands.add_for_run(
        "score-own", _score_own, "predict and score a run on a test corpus of your own"
    ).add_argument("corpus", help="its name in data/own_corpora.yaml")
    commands.add_for_run(
        "calibrate", _calibrate, "compute operating points from a run's validation scores"
    )
    commands.add_for_run("robustness", _robustness, "measure a row's AUC on perturbed test crops")
    commands.add_for_profile("html", _html, "write the report as one page")


def _add_notebook_commands(commands: _Commands) -> None:
    notebook = commands.add(
        "notebook", _notebook, "execute a notebook of the pipeline through Papermill"
    )
    notebook.add_argument("name", help="such as 05_finetune")
    notebook.add_argument("target", type=Path, help="path of the executed notebook")
    notebook.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    weave = commands.add(
        "weave", _weave, "put the prose of a notebook between the cells of its executed copy"
    )
    weave.add_argument("name", help="such as 07_results")
    weave.add_argument("target", type=Path, help="path of the executed notebook")


def _add_operations(commands: _Commands) -> None:
    repro = commands.add("repro", _repro, "run the pipeline, several rows at a time")
    repro.add_argument(
        "--jobs", type=int, help="tasks at a time; default: one per core, one on a GPU machine"
    )
    plan = commands.add_for_profile(
        "plan", _plan, "estimate hours, disk and memory of a profile before it runs"
    )
    plan.add_argument(
        "--images-per-second",
        type=float,
        help="training speed of another device; default: of this one",
    )
    rehearse = commands.add(
        "rehearse", _rehearse, "run the paper profile at full width on miniature corpora"
    )
    rehearse.add_argument("rows", nargs="*", help="only these rows; default: all")
    study = commands.add("study", _study, "run the side studies of params.yaml")
    study.add_argument("names", nargs="*", help="only these; default: all")
    study.add_argument("--jobs", type=int, help="rows at a time; default: one per core")
    _add_comparisons(commands)
    commands.add(
        "weights", _weights, "fetch FSFM's released weights and check their recorded sha256"
    )
    commands.add_for_run("card", _card, "print what a run took: time, memory, hardware")
    commands.add("readme", _readme, "write README.md's results and the paper's Table 3")


def _add_comparisons(commands: _Commands) -> None:
    machines = commands.add_for_profile(
        "machines", _machines, "train the rows as other processors would: how far results move"
    )
    machines.add_argument("rows", nargs="*", help="only these rows; default: all")
    machines.add_argument(
        "--machine", action="append", default=[], help="only this one; may be given several times"
    )
    machines.add_argument("--jobs", type=int, default=2, help="rows at a time, one core each (2)")
    verify = commands.add(
        "verify", _verify, "compare results with the committed ones: exit code 1 if outside"
    )
    verify.add_argument("--profile", default="demo", help="demo (default), smoke or paper")
    verify.add_argument("--against", metavar="REV", help="git revision to compare with; HEAD")
    verify.add_argument(
        "--run", type=Path, dest="folder", help="checkout with the results to judge; default: this"
    )
    verify.add_argument("--out", type=Path, help="write every cell to this CSV file")


def _add_exchange(commands: _Commands) -> None:
    export = commands.add_for_profile(
        "export", _export, "export index or crops in the formats of other code bases"
    )
    export.add_argument("--format", required=True, choices=("deepfakebench", "gend", "csv"))
    export.add_argument(
        "--out", required=True, type=Path, help="a new folder; lists name frames relative to it"
    )
    export.add_argument(
        "--split", default="test", choices=("train", "val", "test"), help="of the crops"
    )
    export.add_argument(
        "--corpus", action="append", default=[], help="only this one; may be given several times"
    )
    listing = commands.add(
        "import-deepfakebench",
        _import_deepfakebench,
        "turn a dataset_json into manifest.csv for the corpus itw",
    )
    listing.add_argument("file", type=Path)
    listing.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    listing.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")
    lists = commands.add(
        "import-gend", _import_gend, "turn GenD's lists into manifest.csv for the corpus itw"
    )
    lists.add_argument("lists", type=Path, help="folder of the lists, GenD's config/datasets")
    lists.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    lists.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")


# Each command imports what it runs only when it runs: a cheap one must not pay for torch.


def _code(chosen: argparse.Namespace) -> None:
    from .operations.stage_code import write_stage_code

    write_stage_code(root(), functions())


def _notebook(chosen: argparse.Namespace) -> None:
    from .project.notebooks import parse, run

    run(
        root() / "results" / ".clean" / f"{chosen.name}.ipynb",
        chosen.target,
        parse(chosen.parameters),
    )


def _weave(chosen: argparse.Namespace) -> None:
    from .project.notebooks import weave

    weave(chosen.target, root() / "notebooks" / f"{chosen.name}.ipynb", chosen.target)


def _assets(chosen: argparse.Namespace) -> None:
    from .operations.assets import fetch_assets

    fetch_assets(root() / ASSETS)


def _landmarks_of_people(chosen: argparse.Namespace) -> None:
    from .demo.people import write_landmarks

    write_landmarks(root() / ASSETS)


def _miniatures(chosen: argparse.Namespace) -> None:
    from .demo.build import build

    out = root() / "data" / "corpora" / chosen.name
    build(chosen.name, load().miniature(chosen.name), root() / ASSETS, out)


def _index(chosen: argparse.Namespace) -> int:
    from .dataset.index import write_index

    return write_index(chosen.profile, chosen.part)


def _counts(chosen: argparse.Namespace) -> None:
    from .dataset.tables import write_counts

    write_counts(chosen.profile)


def _landmarks(chosen: argparse.Namespace) -> None:
    from .methods.sbi.faces import landmarks

    landmarks(chosen.profile)


def _pretrain(chosen: argparse.Namespace) -> None:
    from .methods.fsfm.run import pretrain_profile

    pretrain_profile(chosen.profile)


def _controls(chosen: argparse.Namespace) -> None:
    from .evaluation.controls import write_controls

    write_controls(chosen.profile)


def _audit(chosen: argparse.Namespace) -> None:
    from .report.shortcuts import audit

    audit(chosen.profile)


def _html(chosen: argparse.Namespace) -> None:
    from .report.pages.page import write_report

    write_report(chosen.profile)


def _repro(chosen: argparse.Namespace) -> int:
    from .operations.parallel import run_pipeline

    return run_pipeline(root(), chosen.jobs)


def _study(chosen: argparse.Namespace) -> None:
    from .operations.studies import run_study

    for name in chosen.names or load().studies:
        print(run_study(root(), name, chosen.jobs))


def _plan(chosen: argparse.Namespace) -> None:
    from .operations.planning.plan import plan

    print(plan(chosen.profile, chosen.images_per_second), end="")


def _rehearse(chosen: argparse.Namespace) -> None:
    from .operations.rehearsal import rehearse

    print(rehearse(root(), chosen.rows).to_string(index=False, na_rep="-"))


def _machines(chosen: argparse.Namespace) -> None:
    from .operations.machines import run_machines

    print(run_machines(root(), chosen.profile, chosen.rows, chosen.machine, chosen.jobs))


def _verify(chosen: argparse.Namespace) -> int:
    from .operations.verify import verify

    verdict = verify(root(), chosen.profile, chosen.against, chosen.folder)
    if chosen.out:
        verdict.cells.to_csv(chosen.out, index=False)
    print(verdict.text())
    return verdict.exit_code


def _weights(chosen: argparse.Namespace) -> None:
    from .operations.weights import fetch

    fetch(root() / "data" / "pretrained" / "paper", root() / "data" / "pretrained.sha256")


def _readme(chosen: argparse.Namespace) -> None:
    from .report.pages.readme import write_readme

    write_readme(root())


def _score_row(chosen: argparse.Namespace) -> None:
    from .evaluation.rows import score

    score(chosen.profile, chosen.variant, chosen.seed)


def _score_own(chosen: argparse.Namespace) -> None:
    from .evaluation.own import score_own

    score_own(chosen.profile, chosen.variant, chosen.seed, chosen.corpus)


def _train(chosen: argparse.Namespace) -> None:
    run = (chosen.profile, chosen.variant, chosen.seed)
    method = method_of(chosen.variant)
    if method == SBI:
        from .methods.sbi.run import train_row as train_sbi

        train_sbi(*run)
    elif method == LNCLIP:
        from .methods.lnclip.run import train_row as train_lnclip

        train_lnclip(*run)
    else:
        from .methods.finetune.run import train_row as finetune

        finetune(*run)


def _predict(chosen: argparse.Namespace) -> None:
    from .evaluation.prediction import predict_row

    predict_row(chosen.profile, chosen.variant, chosen.seed)


def _calibrate(chosen: argparse.Namespace) -> None:
    from .scoring.calibration import calibrate

    calibrate(chosen.profile, chosen.variant, chosen.seed)


def _robustness(chosen: argparse.Namespace) -> None:
    from .evaluation.robustness import run_study

    run_study(chosen.profile, chosen.variant, chosen.seed)


def _card(chosen: argparse.Namespace) -> None:
    from .report.cards import run_card

    print(run_card(chosen.profile, chosen.variant, chosen.seed))


def _export(chosen: argparse.Namespace) -> None:
    from .exchange.export import export

    export(chosen.profile, chosen.format, chosen.out, chosen.split, chosen.corpus)


def _import_deepfakebench(chosen: argparse.Namespace) -> None:
    from .exchange.export import import_deepfakebench

    import_deepfakebench(chosen.file, chosen.frames_root, chosen.out)


def _import_gend(chosen: argparse.Namespace) -> None:
    from .exchange.export import import_gend

    import_gend(chosen.lists, chosen.frames_root, chosen.out)


def _score(chosen: argparse.Namespace) -> int:
    from .crops.isolation import ProgramError
    from .scoring.batch import score_to

    try:
        return score_to(chosen.videos, chosen.weights, chosen.out)
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def _export_model(chosen: argparse.Namespace) -> None:
    from .scoring.export import export_model

    export_model(chosen.weights, chosen.out)
