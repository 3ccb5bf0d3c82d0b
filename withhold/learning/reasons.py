"""Why a route was kept, in sentences."""

from typing import Any

from withhold.console import counted
from withhold.learning import folds


def compared(rows: dict[str, dict[str, Any]], kept: str, best: str, told: int, rare: list[str], picked: int = 0) -> str:
    """Why the route `kept` was chosen.

    Args:
        rows: the results of all measured routes, by name.
        best: the route with the highest accuracy.
        told: number of labelled items left out of the comparison because the encoder was trained with their labels.
        rare: classes left out because they have too few labelled items.
        picked: number of labelled items that were not drawn at random.
    """
    row = rows[kept]
    why = f"Kept: {kept}, with a cross-validated accuracy of "
    why += "{accuracy:.1%} ({low:.0%} to {high:.0%})".format_map(row)
    if best != kept:
        ahead = rows[best]["accuracy"] - row["accuracy"]
        why += f"; {best} is better by {100 * ahead:.1f} points, within one standard error"
    if told:
        why += f"; not compared on {counted(told, 'item')} whose labels the encoder was trained with"
    if rare:
        why += f"; not compared on {', '.join(rare)}: fewer than {folds.LEAST} different labelled items"
    if picked:
        why += (
            f"; the items of {counted(picked, 'label')} were chosen by withhold label, and may be easier or harder "
            "than others: measure the accuracy on items drawn at random (withhold label --strategy random)"
        )
    for name, other in rows.items():
        if other.get("control") and other["accuracy"] >= row["accuracy"]:
            ahead = other["accuracy"] - row["accuracy"]
            said = f"better by {100 * ahead:.1f} points" if ahead else "as good"
            why += f"; the control {name} is {said}, so the features do not help for these classes"
    return f"{why}."


def not_compared(name: str, count: int, told: int) -> str:
    """Why routes were not compared: class `name` has only `count` items that a comparison can use; see `compared`."""
    others = f", not counting the {told} whose labels the encoder was trained with" if told else ""
    return (
        f"Routes were not compared: class {name} has {count} of the {folds.LEAST} different labelled items that a "
        f"comparison needs{others}. Kept: logistic regression on frozen features, without a measured accuracy. Label "
        "more items of this class."
    )
