"""The command that plans which tasks to train on for which targets."""

import argparse
import shlex
from typing import Any

import withhold
from withhold.cli.verbs import verb
from withhold.console import Progress, advise, duration, print_json, print_tables, resumable, say

TASKS = ("tasks", "targets")


@verb
def plan(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Plan which tasks to train on for which target tasks, if you can only train on some of them (Taskonomy).

    One network is trained on each task, all for the same time. A two-layer head then learns each target from the
    features of each network, and of combinations of the best networks. The plan picks the tasks with the lowest
    errors on held-out images. Networks are saved: after Ctrl-C the same command resumes, and a different --budget,
    --order or --targets reuses them.
    """
    parser.add_argument("data", help="images, as for `withhold train`")
    parser.add_argument("--budget", type=int, required=True, metavar="N", help="largest number of tasks in the plan")
    parser.add_argument(
        "--tasks", help="autoencoding, denoising, inpainting, colorization, jigsaw, rotation, edges, corners; label, "
        "the names of other columns, mask; separated by commas (default: all that DATA supports). `random`, a randomly "
        "initialised network, is always included",
    )  # fmt: skip
    parser.add_argument(
        "--targets", help="the tasks you need (default: all tasks with labels, and edges, corners, autoencoding)"
    )
    parser.add_argument(
        "--order", type=int, default=2, help="largest number of networks combined for a target (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, help="time budget (default: 10 on a CPU, 30 on a GPU)")
    parser.add_argument("--encoder", help="the name of the network to train, such as resnet18")
    parser.add_argument(
        "--size", type=int, help="height and width of the input in pixels (default: those of the images, at most 64 on "
        "a CPU and 224 on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", action="append", help="a csv file with the columns path and label, for some items; may be repeated"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of split, weights and views (default: %(default)s)"
    )
    parser.add_argument("--out", help="the folder to write (default: runs/plan-DATA)")
    given = vars(parser.parse_args(arguments))
    machine, _, source = given.pop("json"), given.pop("debug"), given.pop("data")
    for name in TASKS:
        given[name] = given[name] and given[name].split(",")
    bar = Progress(machine)
    from withhold.planning import PAGE, page

    with resumable(bar, lambda: f"Resume with: withhold plan {shlex.join(arguments)}"):
        found = withhold.plan(source, progress=bar, **given)
    if machine:
        return print_json(found)
    print_tables(page.tables(found))
    say(f"{page.advice(found)}.")
    say(f"Planning took {duration(found['seconds'])}. The page is {found['folder']}/{PAGE}")
    again = {name: value for name, value in given.items() if value != parser.get_default(name)}
    more: dict[str, Any] = {"budget": given["budget"] + 1}
    if found["fresh"] == found["targets"]:
        minutes = f"{4 * found['asked']['minutes']:g}"
        more = {"minutes": minutes, "out": f"{found['folder']}-{minutes}min"}  # a folder keeps its minutes
    again |= more | {name: ",".join(given[name]) for name in TASKS if given[name]}
    files = [("labels", path) for path in again.pop("labels", ())]
    advise(["plan", source, *(word for name, value in [*again.items(), *files] for word in (f"--{name}", value))])
