"""The command that chooses what to label next."""

import argparse
import json

import withhold
from withhold.cli.use import ENCODER, SIZE, decoding
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_table, say


@verb
def label(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Choose which items to label next: writes a csv file to fill in, and a page that shows the items.

    Items with a label in --labels, and those whose labels the run was trained on, are left out. The default strategy is
    "typical" with up to ten labels per class or without a classifier, and "margin" (items between two classes)
    otherwise.
    """
    from withhold.files import writing_folder
    from withhold.labelling import PAGE, STRATEGIES, TABLE, write
    from withhold.runs.folder import folder_of

    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument("--run", required=True, help=ENCODER)
    parser.add_argument("-n", type=int, default=20, help="number of items to choose (default: %(default)s)")
    parser.add_argument(
        "--labels",
        action="append",
        help="a csv file with known labels: labelled items are left out, and a linear probe is trained on them if the "
        "run is not a classifier; may be repeated",
    )
    parser.add_argument("--strategy", choices=STRATEGIES, help="how items are chosen (default: see above)")
    parser.add_argument("--out", help="the folder to write, which must not exist (default: runs/label-DATA)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--size", type=int, help=SIZE)
    parser.add_argument("--strict", action="store_true", help="fail on files that cannot be read (default: skip them)")
    options = parser.parse_intermixed_args(arguments)
    out = folder_of("label", [options.data], options.out)
    with writing_folder(out) as filled:
        run = withhold.load(options.run, **decoding(options))
        table = withhold.label(
            run, options.data, options.n, strategy=options.strategy, labels=options.labels, seed=options.seed,
            strict=options.strict,
        )  # fmt: skip
        write(table, filled)
    csv, page = out / TABLE, out / PAGE
    if options.json:
        return print_json({"csv": str(csv), "html": str(page), "results": table.to_pylist()})
    shown = table.drop_columns(["probability", "score"]).to_pylist()
    print_table(["path", "guess", "why"], [[str(cell or "") for cell in row.values()] for row in shown])
    say(f"Chose {counted(table.num_rows, 'item')} to label: {page} shows them, {csv} is for their labels")
    known = json.loads(table.schema.metadata[b"withhold"])["known"]
    if isinstance(run, withhold.Run) and len(known) < run.labels_told:
        say("The file lacks the labels that the run was trained on. Pass them as --labels to include them.")
    print("Fill in the column `label` of the csv file. ", end="")
    advise(["learn", options.data, "--labels", csv, "--out", out.with_name(f"learn-{out.name}")])
