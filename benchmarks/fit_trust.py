#!/usr/bin/env python3
"""Fit and test the estimator of `--uncertainty` on repaired label maps with a known truth.

usage: fit_trust.py families SAMPLES FAMILIES [--preset fast]    repair the cohorts of fault_families.py, take samples
       fit_trust.py collect SAMPLES NAME RUN TRUTH [--cases N]   samples of a run that has reached `refine`
       fit_trust.py test SAMPLES [--figure FILE] [--order-figure FILE] [--fit-to KINDS]   hearts, kinds of faults left
                                                                 out; order of review
       fit_trust.py fit SAMPLES ESTIMATOR                        the estimator, as estimator.json of the package

NAME is FAULT-COHORT-INPUT, such as network-heart_dev-ct: a test that leaves out a kind of faults leaves out all label
sets with this FAULT. RUN is OUT of `heartmend run LABELS`, TRUTH the folder of the true label maps. What is there
already is not made again. With --fit-to only these kinds are fitted to, as "noisy,network"; all are tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from trust_fit import fit
from trust_judged import Fit
from trust_samples import collect, read_samples
from trust_tables import print_tables

from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run


def collect_families(samples: Path, families: Path, preset: str, console: Console) -> None:
    """Repair each cohort in a folder, into a folder `run` of its own, and sample its cases."""
    for table in sorted(families.glob("*/cases.csv")):
        folder = table.parent
        run(Request(folder / "labels_noisy", folder / "run", workers=1, stop_after="refine"), load_config(preset))
        collect(samples, folder.name, folder / "run", folder / "labels_true", 10**6, console)


def fit_to(kinds: Sequence[str] | None) -> Fit:
    """Fit to the samples with some kinds of faults; None: to all."""
    return lambda samples: fit([one for one in samples if kinds is None or one.fault in kinds])


def main() -> None:
    """Collect samples, test, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    arguments_of = {"families": ("families",), "collect": ("name", "run", "truth"), "test": (), "fit": ("estimator",)}
    for name, names in arguments_of.items():
        command = commands.add_parser(name)
        command.add_argument("samples", type=Path)
        for argument in names:
            command.add_argument(argument, type=str if argument == "name" else Path)
    commands.choices["families"].add_argument("--preset", default="fast", help="settings of the repair")
    commands.choices["collect"].add_argument("--cases", type=int, default=10**6, help="the first N cases only")
    commands.choices["test"].add_argument("--figure", type=Path, help="reliability of the probabilities")
    commands.choices["test"].add_argument("--order-figure", type=Path, help="error met in several orders of review")
    commands.choices["test"].add_argument("--fit-to", default="", metavar="KINDS", help="kinds of faults of the fit")
    arguments, console = parser.parse_args(), Console(width=200)
    match arguments.command:
        case "families":
            collect_families(arguments.samples, arguments.families, arguments.preset, console)
        case "collect":
            collect(arguments.samples, arguments.name, arguments.run, arguments.truth, arguments.cases, console)
        case "test":
            samples, kinds = read_samples(arguments.samples), arguments.fit_to.split(",") if arguments.fit_to else None
            print_tables(samples, fit_to(kinds), console, arguments.figure, arguments.order_figure)
        case _:
            estimator = fit(read_samples(arguments.samples))
            arguments.estimator.write_text(estimator.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    main()
