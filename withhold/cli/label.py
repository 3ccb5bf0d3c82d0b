"""The verb that says what to label next."""

import argparse

import withhold
from withhold.cli.use import ENCODER, SIZE, decoding
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_table, say


@verb
def label(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Which items to label next: a csv file to fill in, and a page that shows them.

    Items that --labels names, and those whose labels the run was told, are left out. The strategy follows the number of
    labels: typical items while there are up to ten a class, or no classifier, and then those between two classes.
    """
    from withhold.files import writing_folder
    from withhold.labelling import PAGE, STRATEGIES, TABLE, write
    from withhold.runs.folder import folder_of

    parser.add_argument("data", help="as for `withhold train`")
    parser.add_argument("--run", required=True, help=ENCODER)
    parser.add_argument("-n", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument(
        "--labels",
        action="append",
        help="a csv file with the labels that are known; a run without a classifier gets one",
    )
    parser.add_argument("--strategy", choices=STRATEGIES, help="(default: see above)")
    parser.add_argument("--out", help="the folder to write, which does not exist yet (default: runs/label-DATA)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: %(default)s)")
    parser.add_argument("--size", type=int, help=SIZE)
    parser.add_argument("--strict", action="store_true", help="a sample that cannot be read is an error")
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
    say(f"{counted(table.num_rows, 'item')} to label: {page} shows them, and {csv} takes their labels")
    if options.labels is None and isinstance(run, withhold.Run) and run.labels_told:
        say("What the run was told is not in that file: name it by --labels, and the file holds all labels.")
    print("Fill in its column label. ", end="")
    advise(["learn", options.data, "--labels", csv, "--out", out.with_name(f"learn-{out.name}")])
