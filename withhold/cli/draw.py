"""The commands that draw pictures."""

import argparse
from pathlib import Path

import withhold
from withhold import options
from withhold.cli.train import split_items
from withhold.cli.use import ENCODER, SIZE, decoding
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, say
from withhold.errors import UsageError

LOOKED = 2000
"""Largest number of images that `look` reads."""


@verb
def stylize(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Transfer the style of one image to another, with the features of an encoder and without training."""
    parser.add_argument("content", help="the image whose content is kept")
    parser.add_argument("style", help="the image whose colours, strokes and textures are transferred")
    parser.add_argument("--out", required=True, help="the image file to write")
    parser.add_argument(
        "--encoder",
        default="efficientnet-lite0",
        help="an image encoder, as for `withhold embed` (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=256, help="length of the longer side in pixels (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=200, help="L-BFGS steps (default: %(default)s)")
    parser.add_argument(
        "--weight", type=float, default=5.0, help="weight of the style loss; content has 1 (default: %(default)s)"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.size < 16 or options.steps < 1 or not 0 <= options.weight < float("inf"):
        raise UsageError("--size must be at least 16, --steps at least 1, and --weight at least 0 and finite.")
    from tqdm import tqdm

    from withhold import answers, data, nets
    from withhold.files import PICTURES, claiming, write_picture
    from withhold.pictures import to_image

    with claiming(Path(options.out), PICTURES, options.content, options.style):
        run = withhold.load(options.encoder)
        run.suit(options.content)
        if not isinstance(run.encoder, nets.ImageEncoder):
            raise UsageError(f"{options.encoder} is an encoder of {run.kind} data. Give an image encoder.")
        content, style = (next(iter(data.each_image(path)))[1] for path in (options.content, options.style))
        found = (0.0, 0.0)
        with tqdm(total=options.steps, unit=" steps", disable=options.json or None) as bar:

            def report(*errors: float) -> None:
                nonlocal found
                found = errors  # type: ignore[assignment]
                bar.set_postfix_str("content {:.3f}, style {:.3f}".format(*errors), refresh=False)
                bar.update()

            picture = answers.stylize(
                run.encoder, content, style, size=options.size, steps=options.steps, weight=options.weight,
                report=report,
            )  # fmt: skip
        write_picture(to_image(picture), Path(options.out))
    if options.json:
        return print_json({"out": options.out, "content_error": found[0], "style_error": found[1]})
    say(f"Wrote {options.out}. Relative error: content {found[0]:.0%}, style {found[1]:.0%}")


@verb
def look(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Visualise an image encoder: what activates each stage and, for a classifier, where it sees each class."""
    parser.add_argument("run", help=ENCODER)
    parser.add_argument("data", help=f"images, as for `withhold train`; at most {LOOKED:,} are used")
    parser.add_argument("--out", required=True, metavar="FILE", help="the HTML page to write, such as look.html")
    parser.add_argument("--size", type=int, help=SIZE)
    options = parser.parse_intermixed_args(arguments)
    from tqdm import tqdm

    from withhold import nets
    from withhold.files import claiming
    from withhold.report import write_look
    from withhold.report.gallery import draw

    with claiming(Path(options.out), ".html .htm", options.data):
        run = withhold.load(options.run, **decoding(options))
        run.suit(options.data)
        if not isinstance(run.encoder, nets.ImageEncoder):
            raise UsageError(f"{options.run} is an encoder of {run.encoder.kind} data. Give an image encoder.")
        samples = draw(run.load_data(options.data, "image"), run.seed, LOOKED)
        with tqdm(unit=" images", disable=options.json or None) as bar:
            found = write_look(
                Path(options.out), run.name, run.encoder, samples, run.classifier, lambda images: bar.update(images)
            )
    if options.json:
        return print_json({"out": options.out, **found})
    classes = f", and {counted(len(found['classes']), 'class map')}" if found["classes"] else ""
    say(f"Wrote {options.out}: {counted(len(found['stages']), 'stage')}{classes}")


@verb
def views(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Draw a batch as the method sees it, with what it withholds and, for a run, its predictions."""
    parser.add_argument("method", help="a method's name or file, or a run folder, which needs no DATA")
    parser.add_argument("items", nargs="*", metavar="DATA | key=value", help="the data, and parameters of the method")
    explained = options.explained()
    parser.add_argument("--out", required=True, help="the PNG file to write")
    parser.add_argument("--size", type=int, help=explained["size"])
    parser.add_argument("--encoder", help="the encoder to train, as for `withhold train`")
    parser.add_argument(
        "--labels", action="append", help="a csv file with the labels of some items, as for `withhold train`"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of weights, order and views (default: %(default)s)"
    )
    given = parser.parse_intermixed_args(arguments)
    sources, parameters = split_items(given.items, vars(given))
    from withhold.runs import preview

    preview(
        given.method, *sources, out=Path(given.out), encoder=given.encoder, size=given.size, seed=given.seed,
        labels=given.labels, **parameters,
    )  # fmt: skip
    if given.json:
        return print_json({"out": given.out})
    say(f"Wrote {given.out}")
    if not Path(given.method).is_dir():
        advise(["train", given.method, *given.items])
