"""The verbs that use what was learned."""

import argparse
import os
from pathlib import Path
from typing import Any

import withhold
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_results, print_table, say
from withhold.errors import UsageError

ENCODER = (
    "the folder that `withhold train` made, the encoder.safetensors of one, or an encoder as it is: "
    "efficientnet-lite0, hf:NAME, timm:NAME, ./mine.py ..."
)
SIZE = "for an encoder as it is: height and width of the input in pixels (default: those of the images)"

FEW = 1000
"""Labels below which a classifier is mostly surer than it is right."""


@verb
def evaluate(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Measure an encoder on labelled data, beside an untrained one and raw pixels.

    The rows of a run are kept in its folder, and its report draws them; those of other encoders are only printed.
    With --protocol tracking, DATA is a folder of videos with masks, images/NAME/*.jpg and masks/NAME/*.png: the first
    mask is carried through the video.
    """
    parser.add_argument("run", help=ENCODER)
    parser.add_argument("data", help="what the probes learn from, as for `withhold train`")
    parser.add_argument(
        "test",
        nargs="?",
        help="to be measured on (default: the test part of DATA, or a fifth; with "
        "--protocol classifier alone, which learns nothing, all of it)",
    )
    parser.add_argument(
        "--protocol", help="knn, linear, lowshot, episodes, retrieval, crossmodal, finetune, classifier, clustering, "
        "information, anomaly, keypoints, columns, segmentation, detection, tracking, or the path of a Python file, "
        "joined by commas (default: knn,linear, and classifier where the method has learned to name classes, or "
        "clustering where it has found some itself; columns alone where it has learned those of a table; tracking "
        "where DATA has masks, or segmentation where the method has learned some; detection where it has learned "
        "boxes)",
    )  # fmt: skip
    parser.add_argument("--labels", action="append", help="a csv file with the labels of DATA; TEST has its own")
    parser.add_argument("--test-fraction", type=float, default=0.2, help="where DATA has no test part of its own")
    parser.add_argument("--supervised", action="store_true", help="train the same network with all labels, to compare")
    parser.add_argument("--budget", type=int, metavar="N", help="images that this and finetune see, with repeats")
    parser.add_argument("--size", type=int, help=SIZE)
    add_pooling(parser)
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
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
        say(f"The rows are in {run.folder / 'evaluation.json'}")
        advise(["report", run.name])
    else:
        advise(["embed", run.name, "DATA", "--out", "emb.parquet"])


@verb
def embed(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write the embedding of every item: a parquet file with path, label if any, embedding.

    With --windows, of every window of long recordings, videos or texts: also start and end, in seconds (texts: tokens).
    """
    parser.add_argument("run", help=ENCODER)
    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument("--out", required=True, help="the parquet file to write")
    parser.add_argument("--windows", action="store_true", help="one row for each window that the run sees at once")
    parser.add_argument("--size", type=int, help=SIZE)
    add_pooling(parser)
    parser.add_argument("--labels", action="append", help="a csv file with labels")
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
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
def search(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """The nearest items: `search build` makes an index of embeddings, `search query` asks it.

    withhold search build EMB.parquet --out DIR
    withhold search query DIR QUERY [--run RUN] [-k 10] [--html FILE]
    """
    parts = {"build": _search_build, "query": _search_query}
    if not arguments or arguments[0] not in parts:
        parser.add_argument("part", choices=parts, help="`withhold search PART --help` lists its options")
        parser.parse_args(arguments)
    part = parts[arguments[0]]
    parser.prog, parser.description = f"{parser.prog} {arguments[0]}", part.__doc__
    part(parser, arguments[1:])


def _search_build(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Make an index of the embeddings that `withhold embed` wrote."""
    parser.add_argument("embeddings", metavar="EMB.parquet")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write, which does not exist yet")
    options = parser.parse_intermixed_args(arguments)
    index = withhold.search.build(options.embeddings, options.out)
    if options.json:
        about = {"out": options.out, "rows": len(index), "dim": index.dim, "approximate": index.approximate}
        return print_json(about)
    how = "approximately, or exactly with --exact" if index.approximate else "exactly"
    say(f"{counted(len(index), 'embedding')} of {counted(index.dim, 'number')} can be searched {how}: {index.folder}")
    advise(["search", "query", index.folder, "PATH", "--html", "found.html"])


def _search_query(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the items of an index that are nearest to a query by cosine distance."""
    parser.add_argument("index", metavar="DIR", help="the folder that `withhold search build` wrote")
    parser.add_argument(
        "query",
        help="the path of an item in the index, as it was embedded; with --run, any file, or a text; of embedded "
        "windows PATH#SECONDS is one",
    )
    parser.add_argument("--run", help="the run or the encoder that made the embeddings, to embed QUERY with")
    parser.add_argument("-k", type=int, default=10, help="how many to find (default: %(default)s)")
    parser.add_argument(
        "--exact", action="store_true", help="compare all items, also where an approximation is quicker"
    )
    parser.add_argument(
        "--expand", type=int, default=0, metavar="N",
        help="ask again with the mean of the query and the N nearest, weighed by their cosines to the power of --alpha",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=3.0, help="of --expand; 0 weighs all alike (default: %(default)s)"
    )
    parser.add_argument(
        "--diffuse", action="store_true", help="in the order of a diffusion over the graph of nearest neighbours"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page that shows them")
    options = parser.parse_intermixed_args(arguments)
    if not options.query.strip():
        raise UsageError("The query is empty: give the path of an item in the index, or with --run a file or a text.")
    from withhold import kinds

    index = withhold.search.Index(options.index)
    query: Any = options.query
    asked = None
    if options.run:
        run = withhold.load(options.run, **index.decoding)
        typed = kinds.of(run.kind).typed
        path, time = withhold.search.moment(query)
        if time is not None and os.path.isfile(path) and not os.path.isfile(query):
            query, asked = path, withhold.search.window_at(run.embed(path, windows=True, **index.pooled), time)
        elif typed and not os.path.isfile(query):
            query = [query]  # a text itself
        asked = run.embed(query, **index.pooled) if asked is None else asked
        if typed and not any(asked["embedding"][0].as_py()):
            raise UsageError(f"The vocabulary of {options.run} has no word of the query: ask with other words.")
    found = index.query(
        query if asked is None else asked, options.k, exact=options.exact, expand=options.expand, alpha=options.alpha,
        diffuse=options.diffuse,
    )  # fmt: skip
    if options.html:
        withhold.search.write_page(
            Path(options.html), index, query, found, asked=asked, expand=options.expand, diffuse=options.diffuse
        )
    if options.json:
        return print_json({"query": options.query, "results": found.to_pylist(), "html": options.html})
    if "start" in found.column_names:
        said = withhold.search.times(index, found)
        found = found.drop_columns(["start", "end"]).add_column(1, "time", [said])
    if kinds.of(index.kind).typed:
        found = found.add_column(1, "text", [withhold.search.beginnings(index, found)])
    print_table(
        ["distance", *found.column_names[:-1]],
        [[f"{row.pop('distance'):.4f}", *map(str, row.values())] for row in found.to_pylist()],
    )
    if order := withhold.search.order(options.expand, options.diffuse):
        say(order)
    if options.html:
        say(f"The page is {options.html}")
    else:
        say("Next: the same with --html found.html, which shows them")


@verb
def apply(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """What a trained method gives beyond embeddings, such as a colourised photo: writes ordinary files.

    A method of texts takes a text, such as "king - man + woman", and prints its answer too. The class of a file is
    printed where no --out is given.
    """
    parser.add_argument("run", help="the folder that `withhold train` made")
    parser.add_argument("input", help="what the run learned from: an image or a video, or a folder of them; or a text")
    parser.add_argument("--out", help="the folder to write, which does not exist yet")
    parser.add_argument(
        "--with", dest="given", action="append", default=[], metavar="NAME=FILE",
        help="what the method takes besides the input, such as mask=first.png: what to follow through a video, as a "
        "PNG file of numbers or a csv file of points (name, x, y)",
    )  # fmt: skip
    options = parser.parse_intermixed_args(arguments)
    from withhold.answers import answer, is_text, only_names, tables, write

    run = withhold.Run(options.run)
    if wrong := [given for given in options.given if "=" not in given]:
        raise UsageError(f"--with {wrong[0]} names no file: give it as NAME=FILE.")
    names = [given.split("=", 1)[0] for given in options.given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--with gives {twice[0]} more than once: give it one file.")
    if not options.input.strip():
        raise UsageError("The input is empty: give a text, or whatever the run learned from.")
    said: Any = {}
    answered: Any = answer(run, options.input, dict(given.split("=", 1) for given in options.given))
    if is_text(run, options.input):
        answered = list(answered)
        said = {name: tables(value) for name, value in answered[0][1].items()}
    elif options.out is None and only_names(run) and not os.path.isdir(options.input):
        named = [[name, *tables(answers["class"])[1][0]] for name, answers in answered]
        said = {"class": (["path", "class", "probability"], named)}
    elif options.out is None:
        raise UsageError("Files are written: give the folder for them, as --out FOLDER.")
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
            f"The training was told {counted(run.labels_told, 'label')}: probabilities from so few are not calibrated, "
            "and are mostly higher than the share of answers that is right."
        )


@verb
def export(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write a run's encoder for use elsewhere; it is checked against the trained one before the file appears.

    The file says how items are prepared for it. ONNX of a method that names classes gives their scores too.
    """
    parser.add_argument("run", help="the folder that `withhold train` made")
    parser.add_argument("--to", choices=["onnx", "safetensors"], default="onnx", help="(default: %(default)s)")
    parser.add_argument("--out", required=True, help="the file to write")
    options = parser.parse_intermixed_args(arguments)
    from withhold.runs import export as run_export
    from withhold.runs.export import inputs, outputs

    run = withhold.Run(options.run)
    difference = run_export(run, options.to, Path(options.out))
    if options.json:
        return print_json({"out": options.out, "largest_difference": difference})
    say(f"The encoder is in {options.out}; it differs from the trained one by at most {difference:.1e}")
    if options.to == "onnx":
        taken, gives = inputs(run), f"features [n, {run.encoder.dim}]"
        if "scores" in outputs(run):
            gives += f" and scores [n, {len(run.config['classes'])}], whose softmax are probabilities"
        say(f"It takes {taken['name']} [{', '.join(map(str, taken['shape']))}], {taken['values']}, and gives {gives}")
    else:
        advise(["train", "METHOD", "DATA", "--encoder", options.out])


def add_pooling(parser: argparse.ArgumentParser) -> None:
    """What chooses features: a stage and a pooling."""
    parser.add_argument("--stage", type=int, help="of an encoder of images, counted from 1 (default: its features)")
    parser.add_argument("--pooling", help="of the stage's maps: average, MAC, R-MAC or GeM (default: average)")


def decoding(options: argparse.Namespace) -> dict[str, Any]:
    """What data are to be decoded to, as far as it was said."""
    return {} if options.size is None else {"size": options.size}
