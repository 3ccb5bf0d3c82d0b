"""The commands that use a trained encoder."""

import argparse
import os
from pathlib import Path
from typing import Any

import withhold
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_results, print_table, say
from withhold.errors import UsageError

ENCODER = (
    "a run folder, its encoder.safetensors, or the name of an encoder: efficientnet-lite0, hf:NAME, timm:NAME, "
    "./mine.py ..."
)
SIZE = (
    "height and width of the input in pixels, for an encoder given by name (default: those of the images, at most 96 "
    "on a CPU and 224 on a GPU; with pretrained weights 128 on a CPU, and the size that they were trained at on a GPU)"
)

FEW = 1000
"""Number of training labels below which a classifier is usually overconfident."""


@verb
def evaluate(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Measure an encoder on labelled data, next to a randomly initialised encoder and raw pixels.

    The results of a run are saved in its folder and shown in its report. Those of other encoders are only printed.
    With --protocol tracking, DATA is a folder of videos with masks, images/NAME/*.jpg and masks/NAME/*.png: the first
    mask is propagated through the video.
    """
    parser.add_argument("run", help=ENCODER)
    parser.add_argument("data", help="labelled data to train the probes on, as for `withhold train`")
    parser.add_argument(
        "test",
        nargs="?",
        help="the test set (default: the test part of DATA; if it has none, 20 %% of DATA or, with --protocol "
        "classifier alone, which trains nothing, all of it)",
    )
    parser.add_argument(
        "--protocol", help="knn, linear, lowshot, episodes, retrieval, crossmodal, finetune, classifier, clustering, "
        "information, anomaly, keypoints, columns, segmentation, detection, tracking, or a Python file; separate "
        "several by commas (default: knn,linear, plus classifier for a classifier, or clustering for a clustering "
        "method. Some get only one: columns for a method that predicts table columns, segmentation or detection for "
        "one that predicts masks or boxes, and tracking for DATA of videos with masks)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", action="append", help="a csv file with the labels of DATA (not of TEST); may be repeated"
    )
    parser.add_argument(
        "--test-fraction", type=float, default=0.2, help="test share if DATA has no test part (default: %(default)s)"
    )
    parser.add_argument("--supervised", action="store_true", help="also train the same network with all labels")
    parser.add_argument(
        "--budget", type=int, metavar="N", help="number of images, counting repeats, to train networks and heads on "
        "(--supervised, finetune, segmentation, detection)",
    )  # fmt: skip
    parser.add_argument("--size", type=int, help=SIZE)
    add_pooling(parser)
    parser.add_argument("--strict", action="store_true", help="fail on files that cannot be read (default: skip them)")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.load(options.run, **decoding(options))
    results = run.evaluate(
        options.data, options.test, protocols=tuple(options.protocol.split(",")) if options.protocol else None,
        labels=options.labels, test_fraction=options.test_fraction, supervised=options.supervised,
        budget=options.budget,
        strict=options.strict, stage=options.stage, pooling=options.pooling,
    )  # fmt: skip
    if options.json:
        return print_json({"run": run.name, "results": results})
    print_results(results)
    if isinstance(run, withhold.Run):
        say(f"The results are in {run.folder / 'evaluation.json'}")
        advise(["report", run.name])
    else:
        advise(["embed", run.name, "DATA", "--out", "emb.parquet"])


@verb
def embed(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write the embedding of every item to a parquet file, with the columns path, label (if any) and embedding.

    With --windows, every window of a long recording, video or text gets a row, with the further columns start and end,
    in seconds (for texts, in tokens).
    """
    parser.add_argument("run", help=ENCODER)
    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument("--out", required=True, help="the parquet file to write")
    parser.add_argument(
        "--windows", action="store_true", help="one row per window, of the length that the encoder takes"
    )
    parser.add_argument("--size", type=int, help=SIZE)
    add_pooling(parser)
    parser.add_argument("--labels", action="append", help="a csv file with labels; may be repeated")
    parser.add_argument("--strict", action="store_true", help="fail on files that cannot be read (default: skip them)")
    options = parser.parse_intermixed_args(arguments)
    from withhold.files import claiming
    from withhold.runs import write_table

    with claiming(Path(options.out), ".parquet", options.data, *(options.labels or ())):
        run = withhold.load(options.run, **decoding(options))
        table = run.embed(
            options.data, windows=options.windows, labels=options.labels, strict=options.strict, stage=options.stage,
            pooling=options.pooling,
        )  # fmt: skip
        write_table(Path(options.out), table)
    if options.json:
        return print_json({"out": options.out, "rows": table.num_rows, "dim": table["embedding"].type.list_size})
    dim = table["embedding"].type.list_size
    say(f"Wrote {counted(table.num_rows, 'embedding')} of {counted(dim, 'number')} to {options.out}")
    advise(["search", "build", options.out, "--out", Path(options.out).with_suffix(".index")])


@verb
def apply(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Apply a trained method to data and write its output files, such as colourised photos, classes or masks.

    A text method also accepts a text, such as "king - man + woman", and prints its output. Without --out, a classifier
    prints the class of a single file.
    """
    parser.add_argument("run", help="a run folder, as written by `withhold train`")
    parser.add_argument("input", help="data of the kind that the run was trained on: a file, a folder, or a text")
    parser.add_argument("--out", help="the folder to write, which must not exist")
    parser.add_argument(
        "--with", dest="given", action="append", default=[], metavar="NAME=FILE",
        help="an additional input of the method, such as mask=first.png: the objects to track through a video, as a "
        "PNG mask or a csv file of points (name, x, y)",
    )  # fmt: skip
    options = parser.parse_intermixed_args(arguments)
    from withhold.answers import answer, is_text, only_names, tables, write

    run = withhold.Run(options.run)
    if wrong := [given for given in options.given if "=" not in given]:
        raise UsageError(f"--with {wrong[0]} names no file. Write it as NAME=FILE.")
    names = [given.split("=", 1)[0] for given in options.given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--with sets {twice[0]} more than once. Give one file for it.")
    if not options.input.strip():
        raise UsageError("The input is empty. Give a text, or data of the kind that the run was trained on.")
    said: Any = {}
    answered: Any = answer(run, options.input, dict(given.split("=", 1) for given in options.given))
    if is_text(run, options.input):
        answered = list(answered)
        said = {name: tables(value) for name, value in answered[0][1].items()}
    elif options.out is None and only_names(run) and not os.path.isdir(options.input):
        named = [[name, *tables(answers["class"])[1][0]] for name, answers in answered]
        said = {"class": (["path", "class", "probability"], named)}
    elif options.out is None:
        raise UsageError("The output is written to files. Give a folder for them with --out FOLDER.")
    files = [str(path) for path in write(answered, Path(options.out))] if options.out else []
    if options.json:
        rows = [dict(zip(columns, row, strict=True)) for columns, table in said.values() for row in table]
        return print_json({"answers": rows} if options.out is None else {"out": options.out, "files": files})
    for columns, table in said.values():
        print_table(columns, [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in table])
    if options.out:
        say(f"Wrote {files[0]}" if len(files) == 1 else f"Wrote {counted(len(files), 'file')} to {options.out}")
    if run.names_classes and 0 < run.labels_told < FEW and "temperature" not in run.config:
        say(
            f"The classifier was trained on {counted(run.labels_told, 'label')}. With so few labels, its probabilities "
            "are not calibrated and usually too high."
        )


@verb
def export(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Export a run's encoder to safetensors, or to ONNX with outputs checked against the trained encoder.

    The file's metadata describe the preprocessing of its inputs. The ONNX file of a classifier also outputs class
    scores.
    """
    parser.add_argument("run", help="a run folder, as written by `withhold train`")
    parser.add_argument(
        "--to", choices=["onnx", "safetensors"], default="onnx", help="file format (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, help="the file to write")
    options = parser.parse_intermixed_args(arguments)
    from withhold.runs import export as run_export
    from withhold.runs.export import inputs

    run = withhold.Run(options.run)
    difference = run_export(run, options.to, Path(options.out))
    if options.json:
        return print_json({"out": options.out, "largest_difference": difference})
    say(f"Wrote {options.out}. It differs from the trained encoder by at most {difference:.1e} standard deviations")
    if options.to == "onnx":
        taken, gives = inputs(run), f"features [n, {run.encoder.dim}]"
        if run.names_classes:
            gives += f" and scores [n, {len(run.config['classes'])}], whose softmax gives probabilities"
        say(f"Input: {taken['name']} [{', '.join(map(str, taken['shape']))}], {taken['values']}. Output: {gives}")
    else:
        advise(["train", "METHOD", "DATA", "--encoder", options.out])


def add_pooling(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose features: a stage and a pooling."""
    parser.add_argument(
        "--stage", type=int, help="stage of an image encoder to take, counted from 1 (default: the final features)"
    )
    parser.add_argument("--pooling", help="pooling of the stage's maps: average, MAC, R-MAC or GeM (default: average)")


def decoding(options: argparse.Namespace) -> dict[str, Any]:
    """The decoding parameters given by the options."""
    return {} if options.size is None else {"size": options.size}
