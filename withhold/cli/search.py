"""The command that searches for nearest neighbours."""

import argparse
import os
from inspect import getdoc
from pathlib import Path
from typing import Any

import withhold
from withhold.cli.verbs import verb
from withhold.console import advise, counted, print_json, print_table, say
from withhold.errors import UsageError


@verb
def search(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Find nearest neighbours: `search build` makes an index of embeddings, `search query` searches it.

    withhold search build EMB.parquet --out DIR
    withhold search query DIR QUERY [--run RUN] [-k 10] [--html FILE]
    """
    parts = {"build": _search_build, "query": _search_query}
    if not arguments or arguments[0] not in parts:
        parser.add_argument("part", choices=parts, help="`withhold search PART --help` lists its options")
        parser.parse_args(arguments)
    part = parts[arguments[0]]
    parser.prog, parser.description = f"{parser.prog} {arguments[0]}", getdoc(part)
    part(parser, arguments[1:])


def _search_build(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Build a search index from the embeddings that `withhold embed` wrote."""
    parser.add_argument("embeddings", metavar="EMB.parquet", help="the file that `withhold embed` wrote")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write, which must not exist")
    options = parser.parse_intermixed_args(arguments)
    index = withhold.search.build(options.embeddings, options.out)
    if options.json:
        about = {"out": options.out, "rows": len(index), "dim": index.dim, "approximate": index.approximate}
        return print_json(about)
    how = "approximately, or exactly with --exact" if index.approximate else "exactly"
    say(f"Indexed {counted(len(index), 'embedding')} of dimension {index.dim} in {index.folder}, searched {how}")
    advise(["search", "query", index.folder, "PATH", "--html", "found.html"])


def _search_query(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """List the items of an index that are nearest to a query by cosine distance."""
    parser.add_argument("index", metavar="DIR", help="an index folder, as written by `withhold search build`")
    parser.add_argument(
        "query",
        help="the path of an item in the index, or PATH#SECONDS for one of its windows; with --run, any file or a text",
    )
    parser.add_argument("--run", help="the run or encoder that made the embeddings, to embed QUERY with")
    parser.add_argument("-k", type=int, default=10, help="number of neighbours to find (default: %(default)s)")
    parser.add_argument("--exact", action="store_true", help="compare with all items instead of approximating")
    parser.add_argument(
        "--expand", type=int, default=0, metavar="N",
        help="query expansion: search again with the mean of the query and its N neighbours, weighted by their cosines "
        "to the power of --alpha",
    )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=3.0, help="exponent of --expand; 0 for equal weights (default: %(default)s)"
    )
    parser.add_argument(
        "--diffuse", action="store_true", help="rank the results by diffusion on the graph of nearest neighbours"
    )
    parser.add_argument("--html", metavar="FILE", help="also write a page that shows the results")
    options = parser.parse_intermixed_args(arguments)
    if not options.query.strip():
        raise UsageError("The query is empty. Give the path of an item in the index or, with --run, a file or a text.")
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
            raise UsageError(f"No word of the query is in the vocabulary of {options.run}. Try other words.")
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
        say("Next: add --html found.html to write a page that shows the results")
