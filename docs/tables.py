"""Write the generated tables in README.md and docs/*.md from the code and from benchmarks/results.

python docs/tables.py            write the tables
python docs/tables.py --check    fail if a table is out of date
"""

import importlib
import inspect
import re
import sys

from parts.reading import ROOT

FILES = ("catalogue", "images", "labels", "series", "speed", "transfers")
PARTS = {
    name: function
    for module in (importlib.import_module(f"parts.{file}") for file in FILES)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}
"""The functions that write the tables, by name."""


def filled(text: str) -> str:
    """`text` with every block from `<!-- NAME: ... -->` to `<!-- end -->` regenerated."""

    def fill(match: re.Match) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+): .*? -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> int:
    stale = False
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if before != after and "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date: run python docs/tables.py")
            stale = True
        elif before != after:
            path.write_text(after, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
