"""An encoder and the decoding of its data: embedding items and evaluating on labelled ones."""

import copy
import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from torch import Tensor, nn

from withhold import data, evaluation, nets, outside
from withhold.console import counted
from withhold.data import Samples
from withhold.errors import UsageError
from withhold.methods import Classifier, Encoder, Method
from withhold.nets.registry import lend
from withhold.runs.build import build_encoder, load_stream
from withhold.runs.metadata import digest, fill
from withhold.runs.told import Told, are_told, without_told
from withhold.training import defaults

log = logging.getLogger("withhold")


class Embedder:
    """An encoder that embeds items and can be evaluated: that of a run, of an exported file, or one given by name.

    Attributes:
        name: the run's folder, the file, or the encoder's name.
        config: how the "encoder" is built, the "decoding" of its data, and further metadata.
        weights: the file of its weights; None for pretrained or randomly initialised weights.
        row: its name in the rows of an evaluation.
        kind: the kind of data that it was trained on or takes: "image", "video" ...
        seed: seed of random weights, of a split, and of what a protocol draws.
    """

    name: str
    config: dict[str, Any]
    weights: Path | None
    row = "trained"
    kind: str
    seed: int

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, in eval mode on the CPU."""
        encoder = build_encoder(self.config["encoder"], self.seed, begin=self.weights is None)
        if self.weights is not None:
            fill(encoder, self.weights)
        return encoder.eval()

    @property
    def digest(self) -> str:
        """A digest of the encoder's weights, 32 hexadecimal digits."""
        return digest(self.encoder)

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """The trainings that its weights come from, oldest first: method, data and the encoder's digest."""
        return self.config["lineage"]

    @property
    def classifier(self) -> Classifier | None:
        """The method that trained it, if it predicts classes and is available."""
        return None

    @property
    def flip(self) -> float:
        """The probability of a horizontal flip in supervised training for an evaluation."""
        return 0.5

    def suit(self, source: Any) -> None:
        """Choose the input settings that are not fixed yet so that they suit `source`."""

    def untrained(self) -> Encoder:
        """The same encoder with random weights: the control."""
        return build_encoder(self.fresh, self.seed)

    @property
    def fresh(self) -> dict[str, Any]:
        """The configuration that builds the encoder without the weights that it started from."""
        kept = {name: value for name, value in self.config["encoder"].items() if name != "start"}
        return kept | {"pretrained": False}

    def controls(self) -> dict[str, Encoder]:
        """The encoders that it is compared with, by the names of their rows."""
        return {"untrained": self.untrained()}

    def methods(self) -> dict[str, Method]:
        """The methods whose predictions protocols measure, by the names of their rows."""
        return {self.row: self.classifier} if self.classifier else {}

    def learned(self) -> list[Samples] | None:
        """The data of its batch statistics, for `evaluation.evaluate`."""
        return []

    def told(self, learned: list[Samples] | None) -> Samples | None:
        """The stream of `learned` whose labels its classifier was trained on."""
        return None

    def told_items(self) -> Told:
        """The items whose labels its trainings were given."""
        return ()

    def was_told(self, samples: Samples) -> np.ndarray:
        """Whether its training was given the label of each of `samples`, bool [n]."""
        return are_told(self.told_items(), self.encoder.kind, samples)

    def unseen(self, samples: Samples) -> Samples:
        """`samples` without those whose labels its training was given."""
        return without_told(self.told_items(), self.encoder.kind, samples)

    def kind_of(self, source: Any) -> str:
        """The kind that `source` is read as: the encoder's own, or one part of it if that joins several kinds."""
        kinds = data.alone(self.kind)
        return data.holds(source, kinds) if len(kinds) > 2 else self.kind

    def load_data(self, source: Any, kind: str | None = None, **options: Any) -> Samples:
        """Decode `source` as the encoder takes it, or as `kind`. Files that cannot be read are skipped and reported."""
        self.suit(source)
        samples = load_stream(source, kind or self.kind_of(source), self.config["decoding"], **options)
        return samples if kind else samples.of(self.encoder.kind)

    def pooled(self, encoder: Encoder, stage: int | None, pooling: str | None) -> Encoder:
        """The encoder at a stage, with a pooling; the encoder itself if both are None."""
        return encoder if stage is None and pooling is None else nets.Pooled(encoder, stage, pooling)

    def vectors(self, samples: Samples, stage: int | None = None, pooling: str | None = None) -> Tensor:
        """The embedding of each of `samples`, float32 [n, dim] on the CPU: see `embed`."""
        encoder = copy.deepcopy(self.encoder)  # the copy moves to the device
        return nets.features(self.pooled(encoder, stage, pooling), samples, device=defaults.device())

    def embed(
        self,
        source: Any,
        *,
        windows: bool = False,
        labels: data.Labels | None = None,
        strict: bool = False,
        stage: int | None = None,
        pooling: str | None = None,
    ) -> pyarrow.Table:
        """Embed every item of `source`: returns a table with path, label (if there are any) and embedding [dim].

        With `windows`, the table has a row for every window of each video, sound or text. Windows are as long as in
        training, and the columns start and end give their position in seconds or tokens. With a `stage` or a `pooling`
        (images only), the embedding is the output of `nets.Pooled`. Without them, it is the method's "descriptor" if
        it has one.

        The schema's metadata hold, as JSON under "withhold", the address of the source, the kind of its items, their
        decoding, the stage and the pooling, and a digest of the encoder. A search uses them to find the images and to
        refuse queries of another encoder.
        """
        samples = self.load_data(source, labels=labels, strict=strict)
        samples = samples.windows() if windows else samples
        times = samples.times.T if windows else None
        vectors = self.vectors(samples, stage, pooling).numpy()
        kept = samples.readable()  # in place of unreadable items, their neighbours were embedded
        samples, vectors = samples.select(kept), vectors[kept]
        columns: dict[str, Any] = {"path": utf8(samples.names)}
        if times is not None:
            columns["start"], columns["end"] = map(pyarrow.array, times)
        if samples.labels is not None:
            classes = [*utf8(samples.classes), None]  # index -1, no label, finds None
            columns["label"] = pyarrow.array([classes[i] for i in samples.labels], pyarrow.string())
        flat = pyarrow.array(vectors.reshape(-1))
        columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        decoding = {name: value for name, value in self.config["decoding"].items() if name != "tokenizer"}
        about = {
            "source": data.address(source), "kind": samples.kind, "encoder": self.digest, "decoding": decoding,
            "pooled": {"stage": stage, "pooling": pooling},
        }  # fmt: skip
        return pyarrow.table(columns).replace_schema_metadata({"withhold": json.dumps(about)})

    def evaluate(
        self,
        source: Any,
        test: Any = None,
        *,
        protocols: tuple[str, ...] | None = None,
        labels: data.Labels | None = None,
        test_fraction: float = 0.2,
        supervised: bool = False,
        budget: int | None = None,
        strict: bool = False,
        stage: int | None = None,
        pooling: str | None = None,
        report: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> list[dict[str, Any]]:
        """Evaluate the encoder on data with labels, masks or boxes, next to a randomly initialised one and raw items.

        A run that started from pretrained weights is also compared with these, as the row "start".

        Probes are trained on `source` and measured on `test`. Without `test`, `source` has a train and a test part, or
        `test_fraction` of it is split off for testing, by the run's seed. If nothing is trained, as with "classifier"
        alone, all of it is used for testing. Test items whose labels the training was given are left out.

        Args:
            labels: a file with the labels of `source`; `test` has its own.
            protocols: names, or paths of Python files (see `withhold.evaluation.protocols`). The default is "knn" and
                "linear", preceded by "classifier" for a classifier or "clustering" for a method that finds clusters.
                It is "columns" for a method that predicts columns of a table, "segmentation" for one that predicts
                masks, "detection" for one that predicts boxes, and "tracking" for a folder of sequences with masks,
                which no other protocol takes.
            supervised: also train the randomly initialised network on all labels, for comparison.
            budget: the most images, counted with repeats, in this training and in "finetune"; see
                `evaluation.evaluate`.
            stage, pooling: where the features, and those of the controls, are taken from: see `nets.Pooled`.
            report: called with every row as soon as it is measured.
        """
        methods = self.methods()
        says = {name for method in methods.values() for name in method.says()}
        if protocols is None and "boxes" in says:
            protocols = ("detection",)
        if protocols is None and "mask" in says:
            protocols = ("segmentation",)
        if protocols is None and data.has_masks(source):
            protocols = ("tracking",)
        if protocols is None and "targets" in says:
            protocols = ("columns",)
        answers = () if self.classifier is None else ("classifier" if self.classifier.taught else "clustering",)
        protocols = protocols or (*answers, "knn", "linear")
        if "classifier" in protocols and "classifier" not in answers:
            method = self.config.get("method", self.name)
            raise UsageError(f"{method} has not learned any class names. Remove the protocol classifier.")
        self.suit(source)
        learned = self.learned()
        encoder = self.pooled(self.encoder, stage, pooling)
        controls = {name: self.pooled(control, stage, pooling) for name, control in self.controls().items()}
        options: dict[str, Any] = {
            "controls": controls, "learned": learned, "seed": self.seed, "device": defaults.device(),
            "supervised": supervised, "methods": methods, "row": self.row, "budget": budget,
            "flip": self.flip, "report": report, "told": self.told(learned),
        }  # fmt: skip
        found = [evaluation.find(name) for name in protocols]
        taken = [protocol.takes for protocol in found]
        if evaluation.SEQUENCES in taken:
            if test is not None or labels is not None:
                which = "a second source" if test is not None else "a file of labels"
                raise UsageError(f"{protocols[0]} is measured on videos with masks, without training. Remove {which}.")
            sequences = data.sequences(source)
            return evaluation.evaluate(encoder, None, sequences, protocols, source=str(source), **options)
        wanted = tuple(dict.fromkeys(part for need in taken for part in need.parts))
        beside: dict[str, Any] = {"strict": strict, "parts": wanted}
        parts = data.splits(source, self.kind_of(source)) if test is None else {"train": source, "test": test}
        # The truth of an item in a stream must not be compared with the neighbour that is read in its place.
        bank = self.load_data(parts.get("train", source), labels=labels, **beside).decodable()
        if parts:
            queries = self.load_data(parts["test"], labels=labels if test is None else None, **beside).decodable()
            if not all(protocol.told for protocol in found):
                queries = apart(queries, bank)
        elif all(protocol.told for protocol in found) and not supervised:
            queries = bank
        else:
            bank, queries = bank.split(test_fraction, self.seed, bank.digests())  # copies stay together
            known, asked = (len(p) if p.labels is None else int((p.labels >= 0).sum()) for p in (bank, queries))
            wide = "; intervals are wide with so few: label more items" if asked < evaluation.SMALL else ""
            log.info("%s is split: %s for training, %s for testing%s", bank.source, known, asked, wide)
        return evaluation.evaluate(encoder, bank, self.unseen(queries), protocols, **options)


def apart(test: Samples, train: Samples) -> Samples:
    """Return the test items that are not among the training items, by content. Raises: UsageError: there are none.

    A probe could memorise items that are in both.
    """
    known = set(train.digests())
    kept = [row for row, digest in enumerate(test.digests()) if digest not in known]
    if len(test) and not kept:
        raise UsageError(
            f"All items of {test.source} are also in the training data {train.source}. Give other test items, or only "
            "one of the two sources, which is then split."
        )
    if len(kept) < len(test):
        log.warning(
            "%s left out of the test set: also in the training data %s",
            counted(len(test) - len(kept), "item"), train.source,
        )  # fmt: skip
    return test if len(kept) == len(test) else test.select(kept)


def utf8(names: Sequence[str]) -> list[str]:
    """Return names as valid UTF-8: other bytes of a file's name are escaped."""
    return [name.encode("utf-8", "backslashreplace").decode() for name in names]


def named_file(owner: str, name: str, given: str | nn.Module | None) -> str:
    """Return the Python file or module `given` to replace `name`, with which `owner` was made; without one, `name`.

    Raises:
        UsageError: `name` is a Python file, which would be executed, and it was never named on this machine.
    """
    if isinstance(given, nn.Module):
        return lend(given)
    if not name.endswith(".py"):
        return name
    if given is None and not outside.trusted(name):
        raise UsageError(
            f"{owner} was made with the Python file {name}, which would be executed and is not trusted here. If you "
            "trust it, add --trust FILE."
        )
    return given or name
