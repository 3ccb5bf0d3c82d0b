"""Diagnosis of a run from its journal and its evaluations."""

from typing import TYPE_CHECKING

from withhold import evaluation
from withhold.report.routes import compared
from withhold.training import defaults, findings

if TYPE_CHECKING:
    from withhold.runs.run import Run


def examine(run: "Run") -> list[str]:
    """Return the problems of a run, each as one sentence with its remedy; empty if there are none."""
    remedies = {
        "precision": run.config["training"]["precision"] != "32-true",
        "accumulate": run.config["training"]["accumulate"] > 1,
        "batch_size": run.config["training"]["batch_size"] < defaults.SMALL,
        "size": "size" in run.config["decoding"] and "start" not in run.config["encoder"],
    }
    found = findings(
        run.rows(), cls=run.cls, takes=[name for name, can in remedies.items() if can],
        began=run.config.get("began"), taught=run.labels_told > 0,
        frozen=run.frozen,
    )  # fmt: skip
    outcome = run.config.get("outcome", {})
    if (kept := outcome.get("kept")) is not None:
        found.append(
            f"The encoder became worse after step {kept:,}. The weights of that step are kept. Lower --encoder-lr."
        )
    if same := outcome.get("one class"):
        found.append(
            f"The classifier predicts {same['class']} for {same['predicted']:.0%} of the unlabelled training samples, "
            f"but only {same['told']:.0%} of the labels are {same['class']}. If these samples have several classes, "
            "set a lower weight, or start from a trained encoder (--encoder RUN)."
        )
    learned = compared(run.folder)
    scores = {row["route"]: row for row in learned.get("rows", ()) if "accuracy" in row}
    for name, row in scores.items():
        if row["control"] and row["accuracy"] > scores.get(learned["kept"], row)["accuracy"]:
            found.append(
                f"The control {name} has a cross-validated accuracy of {row['accuracy']:.1%}, and the kept route, "
                f"{learned['kept']}, {scores[learned['kept']]['accuracy']:.1%}: its features do not help for these "
                "classes. Give withhold learn more --minutes, or another --encoder."
            )
    for name, rows in evaluation.by_data(run.results()).items():
        linear = {row["encoder"]: row["value"] for row in rows if row["protocol"] == "linear"}
        for control, network, remedy in (
            ("untrained", "a randomly initialised encoder", "Train longer, on more data, or with another method"),
            ("start", "the encoder that training started from", "Use that encoder without further training"),
        ):
            if linear.get("trained", 1.0) <= linear.get(control, 0.0) and not (run.frozen and control == "start"):
                found.append(
                    f"The accuracy of a linear probe on {name} is {linear['trained']:.1%} with this encoder and "
                    f"{linear[control]:.1%} with {network}. {remedy}."
                )
    if not run.finished:
        found.append("The training is not finished. Resume it with --resume.")
    return found
