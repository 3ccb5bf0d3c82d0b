"""An encoder with what data are decoded to for it: it embeds items, and is measured on labelled ones."""

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
from withhold.training import defaults

log = logging.getLogger("withhold")


class Embedder:
    """An encoder that embeds and is measured: a run's, that of an exported file, or one by its name.

    Attributes:
        name: what a person calls it by: the run's folder, the file, or the encoder's name.
        config: how the "encoder" is built, the "decoding" of data for it, and what else is known.
        weights: the file of its weights; None where they are published or fresh ones.
        row: what it is called in the rows of an evaluation.
        kind: of the data that it was trained on, or is of: "image", "video" ...
        seed: of fresh weights, of a split, and of what a protocol draws.
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
        """What tells the encoder's weights from others, in 32 hexadecimal digits."""
        return digest(self.encoder)

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """The trainings that its weights come from, the first one first: method, data and the encoder's digest."""
        return self.config["lineage"]

    @property
    def classifier(self) -> Classifier | None:
        """The method that trained it, where that answers with classes and is at hand."""
        return None

    @property
    def flip(self) -> float:
        """How often a mirror image is shown to a network that is taught what it knows."""
        return 0.5

    def suit(self, source: Any) -> None:
        """Let what is not yet known of the input suit `source`."""

    def untrained(self) -> Encoder:
        """The same encoder with fresh weights: the control."""
        return build_encoder(self.fresh, self.seed)

    @property
    def fresh(self) -> dict[str, Any]:
        """How the encoder is built, without the weights that it started from."""
        kept = {name: value for name, value in self.config["encoder"].items() if name != "start"}
        return kept | {"pretrained": False}

    def controls(self) -> dict[str, Encoder]:
        """What it is measured beside, by the names of the rows."""
        return {"untrained": self.untrained()}

    def methods(self) -> dict[str, Method]:
        """What encoders are a part of that says something which protocols measure, by the names of the rows."""
        return {self.row: self.classifier} if self.classifier else {}

    def learned(self) -> list[Samples] | None:
        """What its batch statistics are of, for `evaluation.evaluate`."""
        return []

    def told(self, learned: list[Samples] | None) -> Samples | None:
        """What its classifier was told labels of, among what it `learned` from."""
        return None

    def was_told(self, samples: Samples) -> np.ndarray:
        """Of each of `samples` whether its training was told the label, bool [n]."""
        return np.zeros(len(samples), dtype=bool)

    def unseen(self, samples: Samples) -> Samples:
        """`samples` without those whose labels its training was told."""
        return samples

    def kind_of(self, source: Any) -> str:
        """What kind `source` is read as: its own, or where that is of joined kinds also one of them alone."""
        kinds = data.alone(self.kind)
        return data.holds(source, kinds) if len(kinds) > 2 else self.kind

    def load_data(self, source: Any, kind: str | None = None, **options: Any) -> Samples:
        """`source` decoded as the encoder takes it, or as `kind`; what cannot be read is left out, and said."""
        self.suit(source)
        samples = load_stream(source, kind or self.kind_of(source), self.config["decoding"], **options)
        return samples if kind else samples.of(self.encoder.kind)

    def pooled(self, encoder: Encoder, stage: int | None, pooling: str | None) -> Encoder:
        """The encoder at a stage, with a pooling; itself where neither is asked for."""
        return encoder if stage is None and pooling is None else nets.Pooled(encoder, stage, pooling)

    def vectors(self, samples: Samples, stage: int | None = None, pooling: str | None = None) -> Tensor:
        """What stands for each of `samples`, float32 [n, dim] on the CPU: see `embed`."""
        encoder = copy.deepcopy(self.encoder)  # which moves to the device; its own stays
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
        """The embedding of every item of `source`: a table with path, label (where there are any), embedding [dim].

        With `windows`, of every window of each video, sound or text, as long as those of the training: it also has
        where each one lies, start and end, in seconds, or in tokens. With a `stage` or a `pooling`, of images, it is
        what `nets.Pooled` gives; without them, of a method that says a "descriptor", that.

        Its schema's metadata hold, as JSON under "withhold", the address of the source, the kind of its items, what
        they were decoded to, the stage and the pooling, and a digest of the encoder, by which a search finds the
        pictures and knows queries of another encoder.
        """
        samples = self.load_data(source, labels=labels, strict=strict)
        samples = samples.windows() if windows else samples
        times = samples.times.T if windows else None
        vectors = self.vectors(samples, stage, pooling).numpy()
        kept = samples.readable()  # in place of the others their neighbours were embedded
        samples, vectors = samples.select(kept), vectors[kept]
        columns: dict[str, Any] = {"path": utf8(samples.names)}
        if times is not None:
            columns["start"], columns["end"] = map(pyarrow.array, times)
        if samples.labels is not None:
            classes = [*utf8(samples.classes), None]  # whose last is found by -1
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
        """Measure the encoder on data with labels, masks or boxes, beside an untrained one and raw items.

        A run that started from other weights than fresh ones also stands beside that "start".

        The probes learn from `source` and are measured on `test`. Without `test`, `source` holds a train and a test
        part, or is split: `test_fraction` of it is for testing, by the run's seed; where nothing is learned, as by
        "classifier" alone, all of it. Items whose labels the training was told are left out of what is measured on.

        Args:
            labels: a file with those of `source`; a `test` has its own.
            protocols: their names, or paths of Python files (see `withhold.evaluation.protocols`); by default "knn" and
                "linear", and before them "classifier" for a method that has learned to name classes, or "clustering"
                for one that has found some itself; "columns" alone for one that has learned those of a table.
                "tracking" takes a folder of sequences with masks, and nothing else; it is the default there. Of a
                method that has learned masks it is "segmentation", and of one that has learned boxes "detection".
            supervised: also train the untrained network on all labels, to compare.
            budget: images, counted with repeats, that this and "finetune" see at most; see `evaluation.evaluate`.
            stage, pooling: where its features are taken from, and those of its controls: see `nets.Pooled`.
            report: told every row as soon as it is measured.
        """
        methods = self.methods()
        says = {name for method in methods.values() for name in method.says()}
        if protocols is None and "boxes" in says:
            protocols = ("detection",)
        if protocols is None and "mask" in says:
            protocols = ("segmentation",)
        if protocols is None and data.has_masks(source):
            protocols = ("tracking",)
        if protocols is None and self.row in methods and "targets" in methods[self.row].says():
            protocols = ("columns",)
        answers = () if self.classifier is None else ("classifier" if self.classifier.taught else "clustering",)
        protocols = protocols or (*answers, "knn", "linear")
        if "classifier" in protocols and "classifier" not in answers:
            method = self.config.get("method", self.name)
            raise UsageError(f"{method} has learned no names of classes: leave the protocol classifier out.")
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
            sequences = data.sequences(source)
            return evaluation.evaluate(encoder, None, sequences, protocols, source=str(source), **options)
        wanted = tuple(dict.fromkeys(part for need in taken for part in need.parts))
        beside: dict[str, Any] = {"strict": strict, "parts": wanted}
        parts = {} if test is not None else data.splits(source, self.kind_of(source))
        bank = self.load_data(parts.get("train", source), labels=labels, **beside)
        if test is not None:
            queries = self.load_data(test, **beside)
            if not all(protocol.told for protocol in found):
                queries = apart(queries, bank)
        elif parts:
            queries = self.load_data(parts["test"], labels=labels, **beside)
        elif all(protocol.told for protocol in found) and not supervised:
            queries = bank
        else:
            bank, queries = bank.split(test_fraction, self.seed)
            known, asked = (len(p) if p.labels is None else int((p.labels >= 0).sum()) for p in (bank, queries))
            wide = ", so few that intervals are wide: label more" if asked < evaluation.SMALL else ""
            log.info("%s is split: %s to learn from, %s to be measured on%s", bank.source, known, asked, wide)
        return evaluation.evaluate(encoder, bank, self.unseen(queries), protocols, **options)


def apart(test: Samples, train: Samples) -> Samples:
    """The test items that are none of the training items, whatever they are called. Raises: UsageError: there are none.

    A probe that has learned an item by heart would name it rightly.
    """
    known = set(train.digests())
    kept = [row for row, digest in enumerate(test.digests()) if digest not in known]
    if len(test) and not kept:
        raise UsageError(
            f"All items of {test.source} are also in {train.source}, which is learned from: give others to be measured "
            "on, or one of the two alone, of which a part is then held back."
        )
    if len(kept) < len(test):
        log.warning(
            "%s are not measured on: they are in %s as well, which is learned from",
            counted(len(test) - len(kept), "item"), train.source,
        )  # fmt: skip
    return test if len(kept) == len(test) else test.select(kept)


def utf8(names: Sequence[str]) -> list[str]:
    """Names as a table takes them: bytes of a file's name that are no UTF-8 are escaped."""
    return [name.encode("utf-8", "backslashreplace").decode() for name in names]


def named_file(owner: str, name: str, given: str | nn.Module | None) -> str:
    """The Python file called `name` that `owner` was made with, or the one `given` in its place; else `name`.

    In the place of a module, as in that of a file, the person may give one.

    Raises:
        UsageError: it would be executed, and nobody has named it on this machine.
    """
    if isinstance(given, nn.Module):
        return lend(given)
    if not name.endswith(".py"):
        return name
    if given is None and not outside.trusted(name):
        raise UsageError(
            f"{owner} was made with the file {name}, which would be executed, and which nobody has named here: where "
            "you trust it, name it, as --trust FILE."
        )
    return given or name
