"""A run: the folder that a training writes, and its use."""

import copy
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow
import torch
from torch import nn

from withhold import data, evaluation, nets, views
from withhold import methods as registry
from withhold.data import Samples
from withhold.errors import UsageError, WithholdError
from withhold.files import holding, read_json, write_json
from withhold.methods import Classifier, Encoder, Method
from withhold.methods.answers import Answer
from withhold.report import write as write_report
from withhold.runs.build import build_encoder, build_method, kinds, load_streams
from withhold.runs.doctor import examine
from withhold.runs.embedder import Embedder, named_file, utf8
from withhold.runs.metadata import describe, digest, fill, stage, write_weights
from withhold.runs.told import BEFORE, given_labels, read_told
from withhold.training import Row, defaults
from withhold.training.journal import read as read_journal

log = logging.getLogger("withhold")

KEPT = {"start": "start.safetensors", "model": "model"}
"""The files in a run's folder from which its encoder started."""


class Run(Embedder):
    """A trained (or still training) run in `folder`, as returned by `withhold.load`.

    Attributes:
        folder: the folder with its files.
        config: its method, data and options: the content of config.json.

    Args:
        method, encoder: the Python files that declare them, if the run was made with Python files on another machine;
            without them nothing is executed. Or the module that was trained as the encoder.
        held: its streams, if they are already open or have no address from which they could be opened again.
    """

    def __init__(
        self,
        folder: str | Path,
        method: str | None = None,
        encoder: str | nn.Module | None = None,
        held: Sequence[Samples] = (),
    ):
        self.folder, self.held, self.name = Path(folder), list(held), str(folder)
        self.weights: Path = self.folder / "encoder.safetensors"
        path = self.folder / "config.json"
        if not path.is_file():
            raise UsageError(f"{folder} is not a run: it has no config.json. Give a folder that `withhold train` made.")
        self.config: dict[str, Any] = read_json(path, "Train this run again.")
        if "withhold" not in self.config:
            raise UsageError(f"{folder} is not a run. For a model of Transformers in a folder, give hf:{folder}.")
        if "training" not in self.config:
            raise WithholdError(
                f"{folder} was made by withhold {self.config.get('withhold')}, and this version cannot read it. Train "
                "it again."
            )
        own, self.seed = self.config["encoder"], self.config["training"]["seed"]
        self.config["method"] = named_file(self.name, self.config["method"], method)
        own["name"] = named_file(self.name, own["name"], encoder)
        for part in (own, self.config["decoding"]):
            if "tokenizer" in part:  # the folder may have been moved since
                part["tokenizer"] = str(self.folder / "tokenizer.json")
        own |= {part: str(self.folder / KEPT[part]) for part in KEPT if part in own}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.config['method']} on {self.trained_on})"

    @property
    def trained_on(self) -> str:
        """The names of its training data."""
        return ", ".join(dict.fromkeys(os.path.basename(address) or address for address in self.config["data"]))

    @cached_property
    def method(self) -> Method:
        """The trained method (heads, teachers and all), in eval mode on the CPU."""
        method = build_method(self.cls, self.config["encoder"], self.config["parameters"], self.seed, self.config)
        fill(method, self.folder / "method.safetensors")
        method.encoder.span = data.window(self.kind, self.config["decoding"])
        return method.eval()

    @cached_property
    def cls(self) -> type[Method]:
        """The method's class."""
        return registry.find(self.config["method"])

    @property
    def parameters(self) -> dict[str, Any]:
        """The method's parameters, without the windows of kinds of data that it was not trained on."""
        windows = {field for kind in data.KINDS for field in data.takes(kind)} - set(self.config["decoding"])
        return {name: value for name, value in self.config["parameters"].items() if name not in windows}

    @property
    def finished(self) -> bool:
        """Whether the training is finished."""
        return self.weights.is_file() and "outcome" in self.config

    @property
    def lineage(self):
        return [*self.config.get("lineage", []), stage(self.config, self.encoder)]

    @property
    def names_classes(self) -> bool:
        """Whether the method predicts classes, from labels or its own clusters; `classify` returns them."""
        return issubclass(self.cls, Classifier)

    @property
    def classifier(self):
        return cast(Classifier, self.method) if self.names_classes else None

    @property
    def flip(self):
        return self.config["parameters"].get("flip", super().flip)

    def start(self) -> Encoder:
        """The encoder before training: with the weights of an earlier run, pretrained ones, or random ones."""
        return build_encoder(self.config["encoder"], self.seed)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The kind of data of its method's first stream: "image", "video" ..."""
        return next(iter(kinds(self.cls, self.config["decoding"]).values()))

    def streams(self, *sources: Any) -> list[Samples]:
        """Load `sources`, by default its training data, one for each stream, decoded as for training.

        Raises:
            UsageError: the training data were arrays, which a run does not keep.
        """
        if self.held and not sources:
            return self.held
        labels = None if sources else self.config["training"]["labels"]
        given = sources or self.config["data"]
        if gone := [source for source in given if isinstance(source, str) and data.unnamed(source)]:
            raise UsageError(f"{self.folder} was trained on an {gone[0]}, which is not in a file. Give the data.")
        return list(load_streams(self.cls, given, self.config["decoding"], labels=labels).values())

    def classify(self, source: Any, *, strict: bool = False) -> pyarrow.Table:
        """Predict the class of every item of `source`: returns a table with path, class, probability in [0, 1].

        Further columns are "told", whether the training was given the item's label (if it was given any), and a
        "probability of CLASS" for each class.

        Raises:
            UsageError: the method does not predict classes.
        """
        if not self.names_classes:
            raise UsageError(f"{self.config['method']} has not learned any class names. Use evaluate or embed instead.")
        samples = self.load_data(source, strict=strict)
        method = cast(Classifier, copy.deepcopy(self.method))
        scores = evaluation.scores(method, samples, device=defaults.device())
        kept = samples.readable()
        samples, shares = samples.select(kept), scores[kept].softmax(1)
        classes = utf8(method.classes)
        columns = {
            "path": utf8(samples.names),
            "class": [classes[i] for i in shares.argmax(1).tolist()],
            "probability": shares.amax(1).numpy(),
        }
        if method.taught:
            columns["told"] = self.was_told(samples)
        each = {f"probability of {name}": part.numpy() for name, part in zip(classes, shares.T, strict=True)}
        return pyarrow.table(columns | each)

    @property
    def labels_told(self) -> int:
        """The number of labels that its own training was given."""
        return sum(row["stream"] != BEFORE for row in self.told_items())

    @cached_property
    def frozen(self) -> bool:
        """Whether its encoder started from pretrained weights and did not change."""
        return "start" in self.config["encoder"] and self.finished and self.digest == digest(self.start())

    def vectors(self, samples, stage=None, pooling=None):
        """The method's "descriptor", if it has one and neither a stage nor a pooling is given; else the embedding."""
        if stage is None and pooling is None and self.cls.says is not Method.says:
            method = copy.deepcopy(self.method)  # the copy moves to the device
            if "descriptor" in (said := method.says()):
                return nets.rows(method, said["descriptor"], samples, defaults.device())
        return super().vectors(samples, stage, pooling)

    def controls(self):
        """A randomly initialised encoder and, as "start", the pretrained one that it started from, if it changed."""
        began = self.config["encoder"]["pretrained"] or "start" in self.config["encoder"]
        return super().controls() | ({"start": self.start()} if began and not self.frozen else {})

    def methods(self):
        """The trained method; if it predicts more than classes, also one with random weights."""
        if self.cls.says is Method.says:
            return super().methods()
        fresh = build_method(self.cls, self.fresh, self.config["parameters"], self.seed, self.config)
        return {"trained": self.method, "untrained": fresh}

    def learned(self):
        """The streams that it learned from; None if they have changed or cannot be read any more."""
        reason = "have changed"
        try:
            streams = self.streams()
            if [part.fingerprint for part in streams] == [
                one["fingerprint"] for one in self.config["streams"].values()
            ]:
                return [part for name, part in zip(self.cls.needs, streams, strict=True) if name in self.used]
        except WithholdError as error:
            reason = f"cannot be read ({error})"
        log.info("the training data %s: batch statistics are computed on the data of the evaluation", reason)
        return None

    @property
    def used(self) -> list[str]:
        """The names of the streams that are not ignored with its parameters."""
        return [name for name in self.cls.needs if name not in self.method.ignored]

    def told(self, learned):
        streams = dict(zip(self.used, learned, strict=True)) if learned else {}
        taught = next((part for name, part in streams.items() if self.cls.needs[name].labelled), None)
        return None if taught is None else given_labels(self.told_items(), self.encoder.kind, taught)

    def load_data(self, source: Any, kind: str | None = None, **options: Any) -> Samples:
        samples, known = super().load_data(source, kind, **options), self.config["training"]["labels"]
        if known and samples.labels is None:
            samples = copy.copy(samples)
            files = " and ".join(map(str, data.label_files(known)))
            samples.unlabelled = f"the training used those of {files}; give labels of held-out items to evaluate it"
        return samples

    def told_items(self):
        return read_told(self.folder)

    def evaluate(
        self,
        source: Any,
        test: Any = None,
        *,
        report: Callable[[dict[str, Any]], None] = lambda row: None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """As `Embedder.evaluate`; the rows are also written to the folder, even if the evaluation is interrupted.

        They replace earlier rows with the same data, number of test items, protocol, encoder, stage and pooling.

        Raises:
            WithholdError: another process is evaluating this run.
        """
        path = self.folder / "evaluation.json"
        if self.frozen:
            log.info(
                'the encoder is frozen: it equals the encoder that training started from, so there is no row "start"'
            )
        rows: list[dict[str, Any]] = []

        def keep(row: dict[str, Any]) -> None:
            rows.append(row)
            report(row)

        with holding(path):
            before = self.results()  # read first, so that a damaged file costs no evaluation
            try:
                return super().evaluate(source, test, report=keep, **options)
            finally:
                if rows:
                    measured = {_measured(row) for row in rows}
                    older = [row for row in before if _measured(row) not in measured]
                    write_json(path, {"results": older + rows})

    def temper(self, temperature: float) -> None:
        """Divide its class scores by a temperature to calibrate its probabilities; the files are changed too."""
        cast(Classifier, self.method).temper(temperature)
        self.config["temperature"] = temperature
        write_json(self.folder / "config.json", self.config)
        write_weights(self.folder / "method.safetensors", self.method, describe(self.config, self.cls, self.encoder))

    def apply(self, item: Any, **given: Answer) -> dict[str, Answer]:
        """Apply the method to one item: returns named values beyond embeddings; see `Method.apply_to`.

        Raises:
            UsageError: the method only gives embeddings, or the item is the name of a file.
        """
        if isinstance(item, str | Path) and self.encoder.kind != "text":
            others = "classify(source)" if self.names_classes else "`withhold apply`"
            raise UsageError(f"apply takes one decoded item, not the name {str(item)!r}. Use {others} for files.")
        grey = self.config["decoding"].get("channels") == 1
        if grey and isinstance(item, torch.Tensor) and item.dtype == torch.uint8 and item.ndim == 3 and len(item) == 3:
            item = views.to_grey(item)  # as the training data were decoded
        method = self.method  # built outside inference mode, otherwise its weights could not be trained any more
        with torch.inference_mode():
            return method.apply_to(item, **given)

    def rows(self) -> list[Row]:
        """The journal: one row of numbers for each logging point."""
        path = self.folder / "metrics.csv"
        return read_journal(path) if path.is_file() else []

    def results(self) -> list[dict[str, Any]]:
        """The rows of its evaluations, oldest first."""
        path = self.folder / "evaluation.json"
        return read_json(path, "Delete it, and evaluate the run again.")["results"] if path.is_file() else []

    def draw_report(self, *streams: Samples) -> None:
        """Write the report; an error is only logged, because the run is complete without it."""
        try:
            write_report(self, *streams)
        except Exception as error:
            log.warning(
                "The report could not be written (%s: %s). The run itself is complete. To write it: withhold report %s",
                type(error).__name__, error, shlex.quote(str(self.folder)),
            )  # fmt: skip

    def doctor(self) -> list[str]:
        """Return the problems of this run, each as one sentence with its remedy; empty if there are none."""
        return examine(self)


def _measured(row: dict[str, Any]) -> tuple[Any, ...]:
    """The key of a row of an evaluation: two rows with the same key measure the same."""
    names = ("data", "n_test", "protocol", "encoder", "stage", "pooling")
    return tuple(row.get(name) for name in names)
