"""``cadwright align language|extract|train|eval|export``: teach a language model to be told shapes.

In: data by path, the VAE's files, a language model. Out: folders (see ``training.align`` and
``evaluation.alignment``), whose names go to stdout. Arguments are spelled as published, with
underscores. Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, print_error
from cadwright.errors import CadwrightError, InputError
from cadwright.optional import require

DATA_HELP = (
    "a folder of 'cadwright align extract', a captions file (.jsonl or .csv) beside its meshes or "
    "SDF files, or 'generator'"
)


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "align",
        help="align a language model to shapes: extract, train, eval",
        description="A frozen VAE turns shapes into codebook vectors, a projector turns these into "
        "tokens of a Qwen-VL language model, and only the projector (and LoRA) learns.",
    )
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    _add_language(steps)
    _add_extract(steps)
    _add_train(steps)
    _add_eval(steps)
    _add_export(steps)


def execute(args: argparse.Namespace) -> int:
    """Run one step.

    Returns:
        0, or 1 if a shape was left out.
    Raises:
        InputError: data or arguments that make no sense.
        CheckpointError: a model cannot be used.
        MissingDependencyError: a package is missing.
    """
    for package in ("torch", "transformers"):
        require(package, extra="train")
    from transformers.utils import logging

    if not sys.stderr.isatty():  # transformers draws its bars into log files, too
        logging.disable_progress_bar()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    status: int = args.run_step(args)
    return status


def _step(steps: Any, name: str, help_: str, run_step: Any) -> Any:
    parser = steps.add_parser(
        name, help=help_, description=help_[0].upper() + help_[1:] + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(execute=execute, run_step=run_step)
    return parser


def _add_vae(parser: Any) -> None:
    parser.add_argument("--vae_config", metavar="JSON", help="config of the VAE")
    parser.add_argument("--vae_ckpt", metavar="FILE", help="weights of the VAE")


def _add_language(steps: Any) -> None:
    parser = _step(
        steps, "language", "make a small language model of Qwen2-VL's shape that knows the "
        "generator's descriptions and questions, from text alone", run_language,
    )  # fmt: skip
    parser.add_argument("--output_dir", default="./language")
    for name, value in (("hidden_size", 192), ("num_layers", 4), ("num_heads", 6),
                        ("num_kv_heads", 2), ("intermediate_size", 512), ("steps", 500),
                        ("batch_size", 24), ("save_every", 50)):  # fmt: skip
        parser.add_argument(f"--{name}", type=at_least(1), default=value)
    parser.add_argument("--lr", type=float, default=2e-3)
    _add_running(parser)


def _add_running(parser: Any) -> None:
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=at_least(0), default=0, help="of the CPU; 0: torch's own")


def _add_extract(steps: Any) -> None:
    parser = _step(
        steps, "extract", "encode shapes once, so that a training need not do it each time",
        run_extract,
    )  # fmt: skip
    _add_vae(parser)
    parser.add_argument("--data", required=True, help="a captions file, or 'generator'")
    parser.add_argument("--shapes", metavar="DIR", help="folder of the shapes, if not the file's")
    parser.add_argument("--num", type=at_least(1), default=1000, help="shapes of the generator")
    parser.add_argument(
        "--turns", type=at_least(1), default=1, help="positions of each of the generator's shapes"
    )
    parser.add_argument(
        "--depth", action="store_true", help="also depth maps, for --projector depth"
    )
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    _add_running(parser)


def _add_train(steps: Any) -> None:
    parser = _step(steps, "train", "train the projector, and LoRA if asked", run_train)
    _add_vae(parser)
    parser.add_argument("--vl_model", default="Qwen/Qwen2-VL-2B-Instruct", help="folder or hub id")
    parser.add_argument("--output_dir", default="./outputs_3d_vl")
    parser.add_argument("--max_3d_tokens", type=int, default=2048)
    parser.add_argument("--use_3d_pos", action="store_true", help="positions in the projector")
    parser.add_argument("--projector_layers", type=int, default=1)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--use_lora", action="store_true")
    parser.add_argument("--lora_r", type=int, default=8)
    parser.add_argument("--dummy_data", action="store_true", help="random samples, for a trial")
    parser.add_argument("--dummy_samples", type=int, default=50)
    own = parser.add_argument_group("not in the published script")
    own.add_argument("--data", help=DATA_HELP)
    own.add_argument("--shapes", metavar="DIR", help="folder of the shapes, if not the file's")
    own.add_argument("--max_samples", type=int, default=0, help="first so many shapes; 0: all")
    own.add_argument("--text_length", type=int, default=256, help="tokens of a text")
    own.add_argument(
        "--whole_captions", action="store_true", help="only those that name kind, bodies and holes"
    )
    own.add_argument("--projector", default="mlp", help="mlp as published, or depth")
    own.add_argument("--warm_up", type=int, default=0, help="epochs of the projector alone")
    own.add_argument("--train_all", action="store_true", help="the language model learns, too")
    own.add_argument("--projector_lr", type=float, default=0.0, help="of the projector; 0: --lr")
    own.add_argument("--truncate_mode", default="head", help="head, even, random_sample, pool")
    own.add_argument("--block", type=int, default=1, help="cells a side that share a token")
    own.add_argument("--final_norm", action="store_true", help="end the projector in a norm")
    own.add_argument("--schedule", default="constant", help="constant, cosine, linear, fall (late)")
    own.add_argument("--warmup_ratio", type=float, default=0.0)
    own.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    own.add_argument("--dtype", default="float32", help="of the language model, or bfloat16")
    own.add_argument("--max_minutes", type=float, default=0.0, help="stop after that epoch")
    _add_running(own)


def _add_eval(steps: Any) -> None:
    parser = _step(steps, "eval", "let an aligned model describe shapes, and score it", run_eval)
    _add_vae(parser)
    parser.add_argument("--model", default="embedded", help="folder of 'align train'")
    parser.add_argument("--projector_ckpt", type=Path, help="instead of the folder's")
    parser.add_argument("--lora_dir", type=Path, help="instead of the folder's")
    parser.add_argument("--vl_model", help="instead of the folder's")
    parser.add_argument("--data", required=True, help=DATA_HELP)
    parser.add_argument("--shapes", metavar="DIR", help="folder of the shapes, if not the file's")
    parser.add_argument("--prompt", help="asked instead of the data's own")
    parser.add_argument("--max_new_tokens", type=int, default=64)
    parser.add_argument("--max_eval_samples", type=int, default=50)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--save_mesh", type=int, default=1, metavar="N", help="meshes of first N")
    parser.add_argument("--sentence_model", metavar="PATH", help="folder of a sentence encoder")
    parser.add_argument("--no_control", action="store_true", help="no loss with shuffled shapes")
    parser.add_argument("--output_dir", default="./eval_3d_vl_out")
    parser.add_argument("--dtype", default="float32", help="of the language model")
    _add_running(parser)


def _add_export(steps: Any) -> None:
    parser = _step(
        steps, "export", "put an aligned model into one small folder, adapters merged", run_export
    )
    _add_vae(parser)
    parser.add_argument("--model", required=True, help="folder of 'align train'")
    parser.add_argument("--vl_model", help="instead of the folder's")
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    parser.add_argument("--dtype", default="float16", help="of the files")
    _add_running(parser)


def _values(kind: Any, args: argparse.Namespace) -> Any:
    """The dataclass of a step, from the arguments of the same names."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: getattr(args, name) for name in names if hasattr(args, name)})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_language(args: argparse.Namespace) -> int:
    """Make the small language model; see ``training.align.language``."""
    from cadwright.training.align.language import LanguageArgs, train_language

    print(train_language(_values(LanguageArgs, args), say=_say))
    return 0


def run_extract(args: argparse.Namespace) -> int:
    """Encode; 1 if a shape was left out."""
    require("numba", extra="sdf")
    from cadwright.models.align3d.sources import GeneratedShapes, ListedShapes
    from cadwright.models.vqvae.checkpoint import embedded_vqvae, load_vqvae
    from cadwright.training.align.extract import extract_latents

    if (args.vae_config is None) != (args.vae_ckpt is None):
        raise InputError("a VAE needs both --vae_config and --vae_ckpt")
    vae = (
        embedded_vqvae(device=args.device)
        if args.vae_config is None
        else load_vqvae(args.vae_config, args.vae_ckpt, device=args.device)
    )
    source: Any
    if args.data == "generator":
        source = GeneratedShapes(vae.config, num=args.num, seed=args.seed, turns=args.turns)
    else:
        folder = None if args.shapes is None else Path(args.shapes)
        source = ListedShapes(args.data, vae.config, shapes=folder)

    def fail(number: str, error: CadwrightError) -> None:
        print_error(error, about=f"shape {number}")

    left_out = extract_latents(source, vae, args.output_dir, depth=args.depth, say=_say, fail=fail)
    print(args.output_dir)
    return 1 if left_out else 0


def run_train(args: argparse.Namespace) -> int:
    """Train; see ``training.align.run``."""
    from cadwright.training.align.args import AlignArgs
    from cadwright.training.align.build import build_run
    from cadwright.training.align.run import train

    values = _values(AlignArgs, args)
    branch, tokenizer, items, notes = build_run(values)
    print(train(values, branch, items, notes=notes, tokenizer=tokenizer, say=_say))
    return 0


def run_eval(args: argparse.Namespace) -> int:
    """Evaluate; see ``evaluation.alignment``."""
    from cadwright.evaluation.alignment import EvalSettings, evaluate_alignment
    from cadwright.models.align3d.aligned import Parts, load_aligned
    from cadwright.models.align3d.checkpoint import fits_vae
    from cadwright.models.align3d.latents import LatentFolder, read_info
    from cadwright.models.align3d.sources import GeneratedShapes, ListedShapes

    settings = dataclasses.replace(_values(EvalSettings, args), control=not args.no_control)
    parts = Parts(
        vae_config=args.vae_config, vae_ckpt=args.vae_ckpt, vl_model=args.vl_model,
        projector=args.projector_ckpt, lora=args.lora_dir,
    )  # fmt: skip
    model = args.model
    if model == "embedded" and args.projector_ckpt is not None:
        model = args.projector_ckpt.parent  # where its train_args.json is
    aligned = load_aligned(model, parts=parts, device=args.device, dtype=_dtype(args.dtype))
    vae: Any = aligned.branch.vae
    shapes: Any
    if args.data == "generator":
        shapes = GeneratedShapes(vae.config, num=args.max_eval_samples, seed=args.seed)
    elif Path(args.data).is_dir():
        info, reads_depth = read_info(Path(args.data)), aligned.args.get("projector") == "depth"
        if not fits_vae(info, vae):
            raise InputError(f"{args.data} was extracted with another VAE than the model's")
        shapes = LatentFolder(args.data, depth=reads_depth and "depth" in info)
    else:
        folder = None if args.shapes is None else Path(args.shapes)
        shapes = ListedShapes(args.data, vae.config, shapes=folder)
    print(json.dumps(evaluate_alignment(aligned, shapes, settings, say=_say), indent=2))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Export; see ``models.align3d.export``."""
    from cadwright.models.align3d.aligned import Parts, load_aligned
    from cadwright.models.align3d.export import export_aligned

    dtype = _dtype(args.dtype)
    parts = Parts(vae_config=args.vae_config, vae_ckpt=args.vae_ckpt, vl_model=args.vl_model)
    print(export_aligned(load_aligned(args.model, parts=parts), args.output_dir, dtype=dtype))
    return 0


def _dtype(name: str) -> Any:
    import torch

    if name not in ("float32", "bfloat16", "float16"):
        raise InputError(f"--dtype is float32, bfloat16 or float16, not {name!r}")
    return getattr(torch, name)
