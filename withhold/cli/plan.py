"""The verb that says which tasks to learn for which targets."""

import argparse
import shlex
import sys
from typing import Any

import withhold
from withhold.cli.verbs import verb
from withhold.console import Progress, advise, duration, print_json, print_table, say
from withhold.options import explained

TASKS = ("tasks", "targets")


@verb
def plan(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Which tasks to learn for which targets, when only some can be learned (Taskonomy).

    A network learns each task, for the same time. Two layers then read each target from the features of each network,
    and of the best together. What errs least on held-out images is planned. What was learned is kept: after Ctrl-C the
    same command goes on, and another --budget, --order or --targets needs no new network.
    """
    parser.add_argument("data", help="images, as for `withhold train`")
    parser.add_argument("--budget", type=int, required=True, metavar="N", help="tasks that the plan may learn")
    parser.add_argument(
        "--tasks", help="autoencoding, denoising, inpainting, colorization, jigsaw, rotation, edges, corners; label, "
        "the names of further columns, mask; joined by commas (default: all that DATA has). Fresh weights, random, are "
        "always among them",
    )  # fmt: skip
    parser.add_argument(
        "--targets", help="those of the tasks that are wanted (default: all with labels, edges, corners, autoencoding)"
    )
    parser.add_argument(
        "--order", type=int, default=2, help="sources that serve a target together (default: %(default)s)"
    )
    known = explained()
    for name, kind in (("minutes", float), ("encoder", str), ("size", int), ("labels", str)):
        parser.add_argument(f"--{name}", type=kind, help=known[name])
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and views (default: %(default)s)")
    parser.add_argument("--out", help="the folder to write (default: runs/plan-DATA)")
    given = vars(parser.parse_args(arguments))
    machine, _, source = given.pop("json"), given.pop("debug"), given.pop("data")
    for name in TASKS:
        given[name] = given[name] and given[name].split(",")
    bar = Progress(machine)
    from withhold.planning import PAGE, page

    try:
        found = withhold.plan(source, progress=bar, **given)
    except (KeyboardInterrupt, SystemExit):
        bar.close()
        say(f"Stopped. Go on with: withhold plan {shlex.join(arguments)}", file=sys.stderr)
        raise
    finally:
        bar.close()
    if machine:
        return print_json(found)
    for title, (columns, rows) in page.tables(found).items():
        print(f"{title}:")
        print_table(columns, rows)
        print()
    say(f"{page.advice(found)}.")
    say(f"The plan took {duration(found['seconds'])}; {found['folder']}/{PAGE} shows it")
    again = {name: value for name, value in given.items() if value != parser.get_default(name)}
    more: dict[str, Any] = {"budget": given["budget"] + 1}
    if found["fresh"] == found["targets"]:
        minutes = f"{4 * found['asked']['minutes']:g}"
        more = {"minutes": minutes, "out": f"{found['folder']}-{minutes}min"}  # the folder keeps what it was learned in
    again |= more | {name: ",".join(given[name]) for name in TASKS if given[name]}
    advise(["plan", source, *(word for name, value in again.items() for word in (f"--{name}", value))])
