"""Commands around the pipeline: plans, studies, comparisons.

Each function imports what it runs only when it runs: a cheap command must not pay for torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..project.params import load, root
from .commands import Commands


def add(commands: Commands) -> None:
    """Add the commands with their arguments."""
    commands.group("Operations")
    repro = commands.add("repro", _repro, "run the pipeline, several rows at a time")
    repro.add_argument(
        "--jobs", type=int, help="tasks at a time; default: one per core, one on a GPU machine"
    )
    repro.add_argument("--times", type=Path, help="write the seconds of each task to this CSV file")
    rows = commands.add("rows", _rows, "run the rows and seeds on several devices or a cluster")
    rows.add_argument("rows", nargs="*", help="only these rows; default: all of run.variants")
    rows.add_argument(
        "--jobs", type=int, help="rows at a time on this machine; default: one per GPU or core"
    )
    rows.add_argument(
        "--scheduler",
        default="",
        help="of a Dask cluster, tcp://host:port; default: DASK_SCHEDULER_ADDRESS, else none",
    )
    doctor = commands.add(
        "doctor", _doctor, "check what would stop a run: exit code 1 if anything would"
    )
    doctor.add_argument("--fast", action="store_true", help="only what takes less than two seconds")
    _add_devices(commands)
    rehearse = commands.add(
        "rehearse", _rehearse, "run the paper profile at full width on miniature corpora"
    )
    rehearse.add_argument("rows", nargs="*", help="only these rows; default: all")
    study = commands.add("study", _study, "run the side studies of params.yaml")
    study.add_argument("names", nargs="*", help="only these; default: those of the profiles of run")
    study.add_argument("--jobs", type=int, help="rows at a time; default: one per core")
    _add_comparisons(commands)
    _add_files(commands)
    commands.add_for_run("card", _card, "print what a run took: time, memory, hardware")
    commands.add("readme", _readme, "write README.md's results and the paper's Table 3")


def default_profile() -> str:
    """Return the profile to certify: ``paper`` on a machine with a GPU's driver, else ``demo``."""
    return "paper" if any(Path("/dev").glob("nvidia[0-9]*")) else "demo"


def _add_devices(commands: Commands) -> None:
    plan = commands.add_for_profile(
        "plan", _plan, "estimate hours, disk and memory of a profile before it runs"
    )
    plan.add_argument(
        "--images-per-second",
        type=float,
        help="training speed of another device; default: of this one",
    )
    plan.add_argument("--device", default="", help="a certified one, as certify prints it")
    certify = commands.add(
        "certify",
        _certify,
        "measure this device with the networks of a profile: exit code 1 if "
        "its first losses are not those stored",
    )
    certify.add_argument(
        "--profile", default=default_profile(), help="paper (default with a GPU), demo or smoke"
    )
    certify.add_argument(
        "--store-losses", action="store_true", help="only store this profile's first losses"
    )


def _add_files(commands: Commands) -> None:
    merge = commands.add(
        "merge-lock", _merge_lock, "merge two dvc.lock by stage: exit code 1 if both changed one"
    )
    merge.add_argument("ours", type=Path, help="receives the stages of both")
    merge.add_argument("theirs", type=Path, help="the other version")
    merge.add_argument("--base", type=Path, help="the version that both come from")
    weights = commands.add(
        "weights", _weights, "list and fetch released detectors; alone: fetch FSFM's start weights"
    )
    weights.add_argument("action", nargs="?", choices=("list", "fetch"))
    weights.add_argument("name", nargs="?", help="of the list; for fetch")
    weights.add_argument(
        "--accept-licence", action="store_true", help="of weights that are not free for any use"
    )


def _add_comparisons(commands: Commands) -> None:
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


def _repro(chosen: argparse.Namespace) -> int:
    from ..operations.parallel import run_pipeline

    return run_pipeline(root(), chosen.jobs, times=chosen.times)


def _rows(chosen: argparse.Namespace) -> int:
    from ..operations.rows.run import run_rows

    return run_rows(root(), chosen.rows, chosen.jobs, chosen.scheduler)


def _doctor(chosen: argparse.Namespace) -> int:
    from ..operations.doctor.report import diagnose, show

    return show(diagnose(root(), chosen.fast))


def _plan(chosen: argparse.Namespace) -> None:
    from ..operations.planning.plan import plan

    print(plan(chosen.profile, chosen.images_per_second, chosen.device), end="")


def _certify(chosen: argparse.Namespace) -> int:
    from ..operations.certify.certificate import certify, store, summary

    if chosen.store_losses:
        store(root(), chosen.profile)
        return 0
    certificate = certify(root(), chosen.profile)
    print(summary(certificate), end="")
    return int(certificate["losses"]["passed"] is False)


def _rehearse(chosen: argparse.Namespace) -> None:
    from ..operations.planning.rehearsal import rehearse

    print(rehearse(root(), chosen.rows).to_string(index=False, na_rep="-"))


def _study(chosen: argparse.Namespace) -> None:
    from ..operations.studies import run_study
    from ..report.beside.studies import write_studies_page

    params = load()
    of_run = [
        name for name, study in params.studies.items() if study.profile in params.run.profiles
    ]
    for name in chosen.names or of_run:
        print(run_study(root(), name, chosen.jobs))
    print(write_studies_page(root()))


def _machines(chosen: argparse.Namespace) -> None:
    from ..operations.machines import run_machines

    print(run_machines(root(), chosen.profile, chosen.rows, chosen.machine, chosen.jobs))


def _verify(chosen: argparse.Namespace) -> int:
    from ..operations.verify import verify

    verdict = verify(root(), chosen.profile, chosen.against, chosen.folder)
    if chosen.out:
        verdict.cells.to_csv(chosen.out, index=False)
    print(verdict.text())
    return verdict.exit_code


def _merge_lock(chosen: argparse.Namespace) -> int:
    from ..operations.lock import merge_lock

    conflicts = merge_lock(chosen.ours, chosen.theirs, chosen.base)
    for stage in conflicts:
        print(
            f"dvc.lock: {stage} was changed on both sides, ours is kept; choose a side, or run "
            f"dvc repro --single-item --force {stage}",
            file=sys.stderr,
        )
    return 1 if conflicts else 0


def _weights(chosen: argparse.Namespace) -> None:
    from ..operations.weights import fetch, fetch_released, list_released

    if chosen.action == "list":
        print(list_released(root()), end="")
    elif chosen.action == "fetch":
        fetch_released(chosen.name or "", root(), chosen.accept_licence)
    else:
        fetch(root() / "data" / "pretrained" / "paper", root() / "data" / "pretrained.sha256")


def _card(chosen: argparse.Namespace) -> None:
    from ..report.cards import run_card

    print(run_card(chosen.profile, chosen.variant, chosen.seed))


def _readme(chosen: argparse.Namespace) -> None:
    from ..report.pages.readme import write_readme

    write_readme(root())
