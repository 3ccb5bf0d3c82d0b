"""The command line: one function a verb, nothing but parsing and printing. Heavy imports wait until a verb runs."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import withhold
from withhold.console import Progress, counted, print_comparison, print_json, print_results, print_table
from withhold.errors import UsageError, WithholdError, suggestion

Verb = Callable[[argparse.ArgumentParser, list[str]], None]
VERBS: dict[str, Verb] = {}
# What libraries read once, when they start. Threads that spin while they wait stand in each other's way on a machine
# with other work; large tensors in small pages cost a CPU much of its time in page faults; LanceDB tells its insides.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "THP_MEM_ALLOC_ENABLE": "1", "LANCE_LOG": "error"}


def verb(function: Verb) -> Verb:
    VERBS[function.__name__] = function
    return function


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; gives the exit status: 0 done, 1 the job failed, 2 the request makes no sense."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"withhold {withhold.__version__}")
        return 0
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    name, rest = arguments[0], arguments[1:]
    debug = "--debug" in rest
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("withhold").setLevel(logging.INFO)
    try:
        if name not in VERBS:
            raise UsageError(f"There is no verb {name!r}: {suggestion(name, VERBS)}")
        function = VERBS[name]
        parser = argparse.ArgumentParser(
            f"withhold {name}", description=function.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object for machines, as the last line")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        function(parser, rest)
        return 0
    except WithholdError as error:
        if debug:
            raise
        print(f"withhold: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("withhold: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:  # a place that cannot be written to
        if debug or error.filename is None:
            raise
        print(f"withhold: {error.filename}: {error.strerror}; name another place.", file=sys.stderr)
        return 1


@verb
def demo(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """The main job on built-in data: learn from handwritten digits without labels, evaluate, write a report."""
    parser.add_argument("--out", default="runs/demo", help="the folder to write to (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    from withhold.demo import demo as run_demo

    bar = Progress(options.json)
    results, page = run_demo(Path(options.out), seed=options.seed, progress=bar)
    bar.close()
    if options.json:
        return print_json({"results": results, "report": str(page)})
    print_results(results)
    print(f"\nThe report with pictures is {page}")
    print("Next: withhold train simclr YOUR_FOLDER --minutes 10")


@verb
def methods(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """The table of methods; or one method's card, with its parameters."""
    parser.add_argument("name", nargs="?", help="a method's name, or the path of a Python file that declares one")
    options = parser.parse_args(arguments)
    from withhold.methods import card, find, names

    cards = [card(find(name)) for name in ([options.name] if options.name else names())]
    if options.json:
        return print_json(cards if not options.name else cards[0])
    if options.name:
        found = cards[0]
        print(f"{found['name']}  ({found['family']}; {found['paper']})\n\n{found['about']}\n")
        print("Streams: " + ", ".join(f"{name} ({kind})" for name, kind in found["needs"].items()))
        print("Parameters: " + (", ".join(f"{n}={v}" for n, v in found["parameters"].items()) or "none"))
        data = " ".join(f"{name.upper()}/" for name in found["needs"])
        print(f"Next: withhold train {options.name} {data}")
    else:
        print_table(
            ["method", "family", "withholds and predicts", "paper"],
            [[c["name"], c["family"], c["about"].split("\n")[0], c["paper"]] for c in cards],
        )
        print("Next: withhold methods NAME")


@verb
def train(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Learn an encoder from data without labels.

    DATA is a folder, a zip archive, a csv, jsonl or parquet file, an IDX or npz file, hf:NAME, or digits; one for each
    stream of the method, or one for all of them with --labels. key=value sets a parameter of the method, as `withhold
    methods NAME` lists them. Ctrl-C and SIGTERM save; --resume goes on.
    """
    parser.add_argument("method", help="a method's name (see `withhold methods`), or a Python file that declares one")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value", help="the data, then parameters of the method")
    parser.add_argument("--encoder", help="convnet, resnet18, vit-tiny, hf:NAME ... (default: what suits the hardware)")
    parser.add_argument("--pretrained", action="store_true", help="start from the encoder's published weights")
    parser.add_argument("--size", type=int, help="pixels of the square input (default: from the images)")
    parser.add_argument("--epochs", type=float, help="passes over the data")
    parser.add_argument("--minutes", type=float, help="instead of epochs: how long (default: 10 on a CPU, 30 on a GPU)")
    parser.add_argument("--batch-size", type=int, help="images a step, on each device")
    parser.add_argument("--optimizer", choices=["adamw", "sgd", "lars", "adagrad"], help="default: the method's own")
    parser.add_argument("--lr", type=float, help="peak learning rate at 256 images a step (default: the method's own)")
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--clip", type=float, default=0.0, help="largest norm of the gradient (default: no limit)")
    parser.add_argument("--accumulate", type=int, default=1, help="cut every batch into so many parts, to save memory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", help="a csv file with the labels of some items")
    parser.add_argument("--out", help="the run's folder (default: runs/METHOD-DATA)")
    parser.add_argument("--resume", action="store_true", help="go on where the run in the folder stopped")
    parser.add_argument("--devices", type=int, default=1, help="processes on this machine")
    parser.add_argument("--nodes", type=int, default=1, help="machines, started by torchrun or SLURM")
    parser.add_argument("--precision", help="such as 32-true or bf16-mixed (default: what the hardware is fast at)")
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
    options = vars(parser.parse_intermixed_args(arguments))
    machine, _ = options.pop("json"), options.pop("debug")
    sources, parameters = _split_items(options.pop("items"))
    from withhold.losses import rank

    clash = sorted(set(parameters) & set(options))
    if clash:
        raise UsageError(f"{clash[0]} is an option, not a parameter: write --{clash[0].replace('_', '-')} VALUE.")
    bar = Progress(machine)
    run = withhold.train(options.pop("method"), *sources, progress=bar, **options, **parameters)
    bar.close()
    if rank() > 0:  # one process speaks for all
        return
    if not run.finished:
        print(f"Stopped. Go on with: withhold train {' '.join(arguments)} --resume", file=sys.stderr)
        rows = run.rows()
        if machine:
            print_json({"run": str(run.folder), "steps": int(rows[-1]["step"]) if rows else 0, "finished": False})
        return
    outcome = run.config["outcome"]
    if machine:
        print_json({"run": str(run.folder), **outcome, "finished": True})
        return
    for finding in run.doctor():
        print(f"! {finding}")
    print(
        f"{counted(outcome['steps'], 'step')} in {outcome['seconds']:.0f} s, "
        f"{outcome['images_per_second']:.0f} images a second."
    )
    print(f"The run is in {run.folder}; its report is {run.folder / 'report.html'}")
    print(
        f"Next: withhold evaluate {run.folder} LABELLED_DATA   or   withhold embed {run.folder} DATA --out emb.parquet"
    )


@verb
def evaluate(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Measure a run's encoder on labelled data, beside an untrained one and raw pixels.

    With --protocol tracking, DATA is a folder of videos with masks, images/NAME/*.jpg and masks/NAME/*.png: the first
    mask is carried through the video.
    """
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument(
        "--protocol", help="knn, linear, lowshot, retrieval, crossmodal, finetune, classifier, tracking, joined by "
        "commas (default: knn,linear, and classifier where the method has learned to name classes)",
    )  # fmt: skip
    parser.add_argument("--labels", help="a csv file with the labels")
    parser.add_argument("--test-fraction", type=float, default=0.2, help="where DATA has no test part of its own")
    parser.add_argument("--supervised", action="store_true", help="train the same network with all labels, to compare")
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.load(options.run)
    results = run.evaluate(
        options.data, protocols=tuple(options.protocol.split(",")) if options.protocol else None, labels=options.labels,
        test_fraction=options.test_fraction, supervised=options.supervised, strict=options.strict,
    )  # fmt: skip
    if options.json:
        return print_json({"run": str(run.folder), "results": results})
    print_results(results)
    print(f"The rows are in {run.folder / 'evaluation.json'}")
    print(f"Next: withhold report {run.folder}")


@verb
def embed(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write the embedding of every item: a parquet file with path, label if any, embedding."""
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--out", required=True, help="the parquet file to write")
    parser.add_argument("--labels", help="a csv file with labels")
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
    options = parser.parse_intermixed_args(arguments)
    table = withhold.load(options.run).embed(options.data, labels=options.labels, strict=options.strict)
    from withhold.runs import write_table

    write_table(Path(options.out), table)
    if options.json:
        return print_json({"out": options.out, "rows": table.num_rows, "dim": table["embedding"].type.list_size})
    print(f"{table.num_rows} embeddings of {table['embedding'].type.list_size} numbers are in {options.out}")
    print(f"Next: withhold search build {options.out} --out {Path(options.out).with_suffix('.index')}")


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
    print(f"{counted(len(index), 'embedding')} of {index.dim} numbers can be searched {how}: {index.folder}")
    print(f"Next: withhold search query {index.folder} PATH --html found.html")


def _search_query(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the items of an index that are nearest to a query by cosine distance."""
    parser.add_argument("index", metavar="DIR", help="the folder that `withhold search build` wrote")
    parser.add_argument("query", help="the path of an item in the index, as it was embedded; with --run, any file")
    parser.add_argument("--run", help="the run that made the embeddings, to embed the file QUERY with")
    parser.add_argument("-k", type=int, default=10, help="how many to find (default: %(default)s)")
    parser.add_argument(
        "--exact", action="store_true", help="compare all items, also where an approximation is quicker"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with their pictures")
    options = parser.parse_intermixed_args(arguments)
    index = withhold.search.Index(options.index)
    query = withhold.load(options.run).embed(options.query) if options.run else options.query
    found = index.query(query, options.k, exact=options.exact)
    if options.html:
        withhold.search.write_page(Path(options.html), index, options.query, found, of_row=not options.run)
    if options.json:
        return print_json({"query": options.query, "results": found.to_pylist(), "html": options.html})
    print_table(
        ["distance", *found.column_names[:-1]],
        [[f"{row.pop('distance'):.4f}", *map(str, row.values())] for row in found.to_pylist()],
    )
    if options.html:
        print(f"The page is {options.html}")
    else:
        print("Next: the same with --html found.html, which shows their pictures")


@verb
def apply(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """What a trained method gives beyond embeddings, such as a colourised photo: writes ordinary files.

    A method of texts takes a text, such as "king - man + woman", and prints its answers.
    """
    parser.add_argument("run")
    parser.add_argument("input", help="what the run learned from: an image or a video, or a folder of them; or a text")
    parser.add_argument("--out", help="the folder to write to")
    parser.add_argument("--mask", help="a PNG file that marks, by numbers, what to follow from the first frame on")
    options = parser.parse_intermixed_args(arguments)
    from withhold.runs import apply as run_apply

    run = withhold.load(options.run)
    if run.kind == "text" and not run.names_classes:
        answers = run.apply(options.input)
        if options.json:
            return print_json({"answers": [{"word": word, "score": score} for word, score in answers]})
        return print_table(["word", "score"], [[word, f"{score:.3f}"] for word, score in answers])
    if options.out is None:
        raise UsageError("Files are written: give the folder for them, as --out FOLDER.")
    written = run_apply(run, options.input, Path(options.out), mask=options.mask)
    if options.json:
        return print_json({"out": options.out, "files": [str(path) for path in written]})
    print(f"{len(written)} file(s) are in {options.out}")


@verb
def export(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write a run's encoder for use elsewhere; it is checked against the trained one before the file appears."""
    parser.add_argument("run")
    parser.add_argument("--to", choices=["onnx", "safetensors"], default="onnx")
    parser.add_argument("--out", required=True, help="the file to write")
    options = parser.parse_intermixed_args(arguments)
    from withhold.runs import export as run_export

    difference = run_export(withhold.load(options.run), options.to, Path(options.out))
    if options.json:
        return print_json({"out": options.out, "largest_difference": difference})
    print(f"The encoder is in {options.out}; it differs from the trained one by at most {difference:.1e}")


@verb
def compare(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Several runs side by side."""
    parser.add_argument("runs", nargs="+", metavar="RUN")
    options = parser.parse_intermixed_args(arguments)
    from withhold.runs import compare as run_compare

    rows = run_compare([withhold.load(folder) for folder in options.runs])
    if options.json:
        return print_json({"runs": rows})
    print_comparison(rows)


@verb
def report(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Write a run's report.html afresh, with its last evaluation."""
    parser.add_argument("run")
    parser.add_argument("--data", help="take pictures and neighbours from here instead of the training data")
    options = parser.parse_intermixed_args(arguments)
    run = withhold.load(options.run)
    from withhold.runs import write_report

    streams = [run.load_data(options.data, run.kind)] * len(run.config["data"]) if options.data else run.streams()
    page = write_report(run, *streams)
    if options.json:
        return print_json({"report": str(page)})
    print(f"The report is {page}")


@verb
def doctor(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """What is wrong with a run, and the remedy."""
    parser.add_argument("run")
    options = parser.parse_intermixed_args(arguments)
    found = withhold.load(options.run).doctor()
    if options.json:
        return print_json({"findings": found})
    print(
        "\n".join(f"! {finding}" for finding in found)
        or "Nothing wrong: the loss fell, the representation is spread out."
    )


@verb
def views(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Render a batch of what the method will see beside what it withholds."""
    parser.add_argument("method")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value")
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--size", type=int, help="pixels of the square input (default: from the images)")
    parser.add_argument("--encoder", help="the encoder that the method would train")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args(arguments)
    sources, parameters = _split_items(options.items)
    from withhold.runs import picture

    picture(
        options.method, *sources, out=Path(options.out), encoder=options.encoder, size=options.size, seed=options.seed,
        **parameters,
    )  # fmt: skip
    if options.json:
        return print_json({"out": options.out})
    print(f"The picture is {options.out}")
    print(f"Next: withhold train {' '.join([options.method, *options.items])}")


@verb
def cache(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the decoded data that is kept on disk, or clear it."""
    parser.add_argument("--clear", action="store_true", help="delete all of it; it is decoded again when it is needed")
    options = parser.parse_args(arguments)
    from withhold.data import cache as store

    if options.clear:
        freed = store.clear()
        if options.json:
            return print_json({"freed_bytes": freed})
        print(f"{freed / 1e6:.1f} MB freed in {store.root()}")
        return None
    entries = store.entries()
    if options.json:
        return print_json({"folder": str(store.root()), "entries": [vars(entry) for entry in entries]})
    rows = []
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        rows.append([entry.source, "x".join(map(str, entry.shape)), f"{entry.bytes / 1e6:.1f}", used])
    print_table(["data", "shape", "MB", "last used"], rows)
    total = sum(entry.bytes for entry in entries)
    print(f"{total / 1e6:.1f} MB in {store.root()}; `withhold cache --clear` deletes it.")


def _split_items(items: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The data, and the key=value parameters, of a verb that takes both."""
    sources: list[str] = []
    parameters: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if equals and name.isidentifier():
            parameters[name] = value
        else:
            sources.append(item)
    return sources, parameters


def _overview() -> str:
    lines = [
        f"  withhold {name:<10} {(function.__doc__ or '').strip().splitlines()[0]}" for name, function in VERBS.items()
    ]
    return "\n".join(
        [
            "withhold: learn from data that nobody labelled.",
            "",
            *lines,
            "",
            "`withhold VERB --help` lists its options. Start with: withhold demo",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
