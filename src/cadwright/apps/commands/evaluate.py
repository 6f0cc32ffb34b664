"""``cadwright evaluate --targets DIR --predictions DIR|--model M --out REPORT``.

In: targets, and predictions or a model that makes them. Out: a folder with report.md, report.json,
parts.jsonl, parts.parquet and plots. Texts are parsed and interpreted, never executed, in processes
that are ended on time and memory limits.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, progress_bar, seconds
from cadwright.errors import InputError

PREDICTIONS = "predictions"  # folder in the report where a model's programs go


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "evaluate",
        help="score predictions against targets: a report with tables and plots",
        description="Score programs, meshes or STEP files against targets, by the published "
        "protocol of CAD-Recode and cadrille and by one that forgives neither scale nor place.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--targets", required=True, metavar="DIR", type=Path, help="shapes")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--predictions",
        metavar="DIR",
        type=Path,
        help="folder of NAME+K.py, .stl or .step, or CADBench's JSONL file",
    )
    source.add_argument("--model", help="'embedded', a folder, or a hub id; its programs are kept")
    parser.add_argument("--out", required=True, metavar="REPORT", type=Path, help="report folder")
    _add_scoring(parser.add_argument_group("scoring"))
    _add_running(parser.add_argument_group("running"))
    _add_model(parser.add_argument_group("with --model"))
    parser.set_defaults(execute=execute)


def _add_scoring(group: Any) -> None:
    group.add_argument(
        "--protocol",
        choices=("both", "published", "direct"),
        default="both",
        help="published: each shape fills its own unit cube; direct: nothing is forgiven",
    )
    group.add_argument("--kernel", choices=("fast", "exact"), default="fast", help="for programs")
    group.add_argument(
        "--frame",
        choices=("auto", "program", "target"),
        default="auto",
        help="of the predictions' coordinates; auto: the program box of +-100 for programs, the "
        "target's own for meshes, STEP files and the folders of 'cadwright reconstruct'",
    )
    group.add_argument("--no-surface-iou", action="store_true", help="leave out surface IoU")
    group.add_argument("--most", type=at_least(1), metavar="K", help="first K predictions a part")
    group.add_argument("--seed", type=at_least(0), default=0, help="of points, bootstrap, model")
    group.add_argument("--draws", type=at_least(0), default=1000, help="of the bootstrap")
    group.add_argument(
        "--allow-missing",
        action="store_true",
        help="targets without a prediction count as invalid, predictions without one are left out",
    )


def _add_running(group: Any) -> None:
    group.add_argument(
        "--workers", type=at_least(1), help="processes; by default as many as there are CPUs"
    )
    group.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS", help="of one prediction"
    )
    group.add_argument("--memory-mb", type=at_least(1), default=2048, help="of one worker")
    group.add_argument("--resume", action="store_true", help="go on with the report that is there")
    group.add_argument("--overwrite", action="store_true", help="begin the report anew")
    group.add_argument("--worst", type=at_least(0), default=20, help="parts that are drawn")
    group.add_argument("--no-plots", action="store_true", help="write figures and tables only")
    group.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, or 'local'")


def _add_model(group: Any) -> None:
    group.add_argument("--tokenizer", metavar="MODEL", help="where it is, if not with the model")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    group.add_argument("--candidates", type=at_least(1), default=16, help="programs decoded")
    group.add_argument(
        "--budget", type=seconds, default=5.0, metavar="SECONDS", help="of search; 0: none"
    )
    group.add_argument("--programs", type=at_least(1), default=1, help="K, seeds of each part")


def execute(args: argparse.Namespace) -> int:
    """Predict if there is a model, score, write the report.

    Raises:
        InputError: names do not match, the report exists, or a limit makes no sense.
        MissingDependencyError: a package is missing.
    """
    if args.timeout <= 0:
        raise InputError("--timeout must be greater than 0: nothing gets done in no time")
    from cadwright.evaluation.run import Settings, evaluate

    settings = Settings(
        targets=args.targets,
        predictions=args.out / PREDICTIONS if args.model else args.predictions,
        protocols=("published", "direct") if args.protocol == "both" else (args.protocol,),
        kernel=args.kernel,
        frame=None if args.frame == "auto" else args.frame,
        surface_iou=not args.no_surface_iou,
        seed=args.seed,
        timeout_s=args.timeout,
        memory_mb=args.memory_mb,
        num_draws=args.draws,
        most=args.most,
        # a part for which the model finds nothing is part of the result, not a mistake
        allow_missing=args.allow_missing or bool(args.model),
    )
    resume, overwrite = args.resume, args.overwrite
    if args.model:
        _predict(args, settings)
        resume, overwrite = True, False
    workers = args.workers or (0 if args.ray else os.cpu_count() or 1)  # 0: all of the cluster's
    with progress_bar(0, unit="part", desc="scoring") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = evaluate(
            settings, args.out, num_workers=workers, resume=resume, overwrite=overwrite,
            num_worst=args.worst, plots=not args.no_plots, ray_address=args.ray, progress=show,
        )  # fmt: skip
    print(_summary(report, args.out))
    return 0


def _predict(args: argparse.Namespace, settings: Any) -> None:
    """Let the model write its programs into the report's folder."""
    from cadwright.evaluation.model_run import ModelRun, predict
    from cadwright.evaluation.predictions import find_targets
    from cadwright.evaluation.run import open_folder

    targets = find_targets(args.targets)
    folder = args.out / PREDICTIONS
    open_folder(args.out, settings.to_json(), resume=args.resume, overwrite=args.overwrite)
    if args.overwrite:
        for path in [*folder.glob("*+*.py"), *folder.glob("*.json*")]:
            path.unlink()
    run = ModelRun(
        model=args.model, tokenizer=args.tokenizer, device=args.device, candidates=args.candidates,
        budget_s=args.budget, seed=args.seed, num_programs=args.programs,
    )  # fmt: skip
    with progress_bar(0, unit="program", desc="predicting") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        predict(targets, folder, run, progress=show)


def _summary(report: dict[str, Any], out: Path) -> str:
    parts = report["parts"]
    facts = [f"{parts['num']} parts, {parts['num_predictions']} predictions"]
    for name in ("direct", "published"):
        if name in report:
            figures = report[name]
            facts.append(
                f"{name}: IoU {_number(figures['iou_mean_unit']['value'])}, median CD x1000 "
                f"{_number(figures['chamfer_median_x1000_unit']['value'])}, invalid "
                f"{_number(figures['invalid_ratio']['value'])}"
            )
    return "; ".join(facts) + f" -> {out / 'report.md'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
