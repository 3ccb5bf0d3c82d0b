"""A run: the folder that a training leaves behind, and what can be done with it."""

import copy
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from withhold import data, evaluation, nets, outside
from withhold import methods as registry
from withhold.data import Samples
from withhold.errors import UsageError, WithholdError
from withhold.files import write_json
from withhold.methods import Classifier, Encoder, Method
from withhold.methods.answers import Answer
from withhold.runs.build import build_encoder, build_method, kinds, load_stream, load_streams, without_told
from withhold.training import Row, defaults, findings
from withhold.training.journal import read as read_journal

log = logging.getLogger("withhold")


class Run:
    """A trained (or still training) run in `folder`, as `withhold.load` gives it.

    Attributes:
        folder: where its files are.
        config: what was trained on what, and how; the folder's config.json.

    Args:
        method, encoder: the Python files that declare them, where the run was made with such files and not on this
            machine; else nothing is executed.
        held: its streams, where they are open already, or have no address from which they could be opened again.
    """

    def __init__(
        self,
        folder: str | Path,
        method: str | None = None,
        encoder: str | None = None,
        held: Sequence[Samples] = (),
    ):
        self.folder, self.held = Path(folder), list(held)
        path = self.folder / "config.json"
        if not path.is_file():
            raise UsageError(f"{folder} is no run: it has no config.json; give a folder that `withhold train` made.")
        try:
            self.config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WithholdError(f"{path} is damaged ({error}): train this run again.") from error
        if "training" not in self.config:
            raise WithholdError(
                f"{folder} was made by withhold {self.config.get('withhold')}, whose runs this version does not read: "
                "train it again."
            )
        self._name_files(method, encoder)
        for part in (self.config["encoder"], self.config["decoding"]):
            if "tokenizer" in part:  # which lies in the folder, wherever that was moved
                part["tokenizer"] = str(self.folder / "tokenizer.json")
        for part, name in (("start", "start.safetensors"), ("model", "model")):
            if part in self.config["encoder"]:
                self.config["encoder"][part] = str(self.folder / name)

    def _name_files(self, method: str | None, encoder: str | None) -> None:
        """Put the Python files that a person named in the place of the run's, which are executed only if known here."""
        for part, key, file in ((self.config, "method", method), (self.config["encoder"], "name", encoder)):
            if str(part[key]).endswith(".py"):
                if file is None and not outside.trusted(part[key]):
                    raise UsageError(
                        f"{self.folder} was made with the file {part[key]}, which would be executed, and which nobody "
                        "has named here: where you trust it, name it, as --trust FILE."
                    )
                part[key] = file or part[key]

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.config['method']} on {self.trained_on})"

    @property
    def trained_on(self) -> str:
        """The data that it was trained on, by their names alone."""
        return ", ".join(dict.fromkeys(os.path.basename(address) or address for address in self.config["data"]))

    @cached_property
    def encoder(self) -> Encoder:
        """The trained encoder, in eval mode on the CPU."""
        encoder = self.start()
        self._fill(encoder, self.folder / "encoder.safetensors")
        return encoder.eval()

    @cached_property
    def method(self) -> Method:
        """The trained method (heads, teachers and all), in eval mode on the CPU."""
        method = build_method(self.cls, self.config["encoder"], self.config["parameters"], self.seed, self.config)
        self._fill(method, self.folder / "method.safetensors")
        return method.eval()

    @property
    def cls(self) -> type[Method]:
        """The class of its method."""
        return registry.find(self.config["method"])

    @property
    def seed(self) -> int:
        return self.config["training"]["seed"]

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / "encoder.safetensors").is_file()

    @property
    def digest(self) -> str:
        """What tells the trained encoder from others, in 32 hexadecimal digits."""
        return hashlib.blake2b((self.folder / "encoder.safetensors").read_bytes(), digest_size=16).hexdigest()

    @property
    def names_classes(self) -> bool:
        """Whether the method has learned names of classes, which `classify` gives."""
        return issubclass(self.cls, Classifier)

    def untrained(self) -> Encoder:
        """The same encoder with fresh weights from the run's seed: the control."""
        return build_encoder(self._fresh, self.seed)

    @property
    def _fresh(self) -> dict[str, Any]:
        """What describes the encoder, without the weights that it started from."""
        kept = {name: value for name, value in self.config["encoder"].items() if name != "start"}
        return kept | {"pretrained": False}

    def start(self) -> Encoder:
        """The encoder as its training began: with the weights of an earlier run, published ones, or fresh ones."""
        return build_encoder(self.config["encoder"], self.seed)

    @property
    def kind(self) -> str:
        """What kind of data its method learns from: "image", "video" ...; of several streams, the first one's."""
        return next(iter(kinds(self.cls, self.config["decoding"]).values()))

    def kind_of(self, source: Any) -> str:
        """What kind `source` is read as: the run's, or where that is of joined kinds also one of them alone."""
        kinds = data.alone(self.kind)
        return data.holds(source, kinds) if len(kinds) > 2 else self.kind

    def load_data(self, source: Any, kind: str | None = None, **options: Any) -> Samples:
        """`source` decoded as this run's encoder takes it, or as `kind`; what cannot be read is left out, and said."""
        samples = load_stream(source, kind or self.kind_of(source), self.config["decoding"], **options)
        samples = samples if kind else samples.of(self.encoder.kind)
        if samples.skipped:
            name, reason = samples.skipped[0]
            log.warning("%s: %s left out, such as %s (%s)", samples.source, len(samples.skipped), name, reason)
        return samples

    def streams(self, *sources: Any) -> list[Samples]:
        """`sources`, or else the data that it was trained on, decoded as then: one for each stream that it needs."""
        if self.held and not sources:
            return self.held
        labels = None if sources else self.config["training"]["labels"]
        given = sources or self.config["data"]
        return list(load_streams(self.cls, given, self.config["decoding"], labels=labels).values())

    def embed(self, source: Any, *, labels: str | None = None, strict: bool = False) -> pyarrow.Table:
        """The embedding of every item of `source`: a table with path, label (where there are any), embedding [dim].

        Its schema's metadata hold, as JSON under "withhold", the address of the source, the kind of its items and a
        digest of the encoder, by which a search finds the pictures and knows queries of another encoder.
        """
        samples = self.load_data(source, labels=labels, strict=strict)
        encoder = copy.deepcopy(self.encoder)  # which moves to the device; the run's own stays
        vectors = nets.features(encoder, samples, device=defaults.device()).numpy()
        kept = samples.readable()  # in place of the others their neighbours were embedded
        samples, vectors = samples.select(kept), vectors[kept]
        columns: dict[str, Any] = {"path": pyarrow.array(samples.names)}
        if samples.labels is not None:
            columns["label"] = pyarrow.array([samples.classes[i] if i >= 0 else None for i in samples.labels])
        flat = pyarrow.array(vectors.reshape(-1))
        columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        about = {"source": data.address(source), "kind": samples.kind, "encoder": self.digest}
        return pyarrow.table(columns).replace_schema_metadata({"withhold": json.dumps(about)})

    def classify(self, source: Any, *, strict: bool = False) -> pyarrow.Table:
        """The class of every item of `source`: a table with path, class, probability in [0, 1].

        Raises:
            UsageError: the method has learned no names of classes.
        """
        if not self.names_classes:
            raise UsageError(f"{self.config['method']} has learned no names of classes: evaluate or embed with it.")
        samples = self.load_data(source, strict=strict)
        method = cast(Classifier, copy.deepcopy(self.method))
        scores = evaluation.scores(method, samples, device=defaults.device())
        kept = samples.readable()
        samples, (shares, said) = samples.select(kept), scores[kept].softmax(1).max(1)
        names = [method.classes[i] for i in said.tolist()]
        return pyarrow.table({"path": samples.names, "class": names, "probability": shares.numpy()})

    def evaluate(
        self,
        source: Any,
        test: Any = None,
        *,
        protocols: tuple[str, ...] | None = None,
        labels: str | None = None,
        test_fraction: float = 0.2,
        supervised: bool = False,
        strict: bool = False,
    ) -> list[dict[str, Any]]:
        """Measure the encoder on labelled data, or on videos with masks, beside an untrained one and raw items.

        One that started from other weights than fresh ones also stands beside that "start". The folder keeps the rows
        in the place of those of the same data and protocols.

        The probes learn from `source` and are measured on `test`. Without `test`, `source` holds a train and a test
        part, or is split: `test_fraction` of it is for testing, by the run's seed. Items whose labels the training was
        told are left out of what is measured on.

        Args:
            labels: a file with those of `source`; a `test` has its own.
            protocols: their names, or paths of Python files (see `withhold.evaluation.protocols`); by default "knn" and
                "linear", and "classifier" before them for a method that has learned to name classes. "tracking" takes a
                folder of sequences with masks, and nothing else; it is the default there.
        """
        if protocols is None and data.has_masks(source):
            protocols = ("tracking",)
        protocols = protocols or (("classifier",) if self.names_classes else ()) + ("knn", "linear")
        if "classifier" in protocols and not self.names_classes:
            raise UsageError(
                f"{self.config['method']} has learned no names of classes: leave the protocol classifier out."
            )
        controls = {"untrained": self.untrained()}
        if self.config["encoder"]["pretrained"] or "start" in self.config["encoder"]:
            controls["start"] = self.start()
        options: dict[str, Any] = {
            "controls": controls, "learned": self._learned(), "seed": self.seed, "device": defaults.device(),
            "supervised": supervised, "methods": self.measured(),
        }  # fmt: skip
        taken = [evaluation.find(name).takes for name in protocols]
        if evaluation.SEQUENCES in taken:
            sequences = data.sequences(source)
            rows = evaluation.evaluate(self.encoder, None, sequences, protocols, source=str(source), **options)
            return self._keep(rows)
        wanted = tuple(dict.fromkeys(part for need in taken for part in need.parts))
        beside: dict[str, Any] = {"strict": strict, "parts": wanted}
        parts = {} if test is not None else data.splits(source, self.kind_of(source))
        bank = self.load_data(parts.get("train", source), labels=labels, **beside)
        if test is not None:
            queries = self.load_data(test, **beside)
        elif parts:
            queries = self.load_data(parts["test"], labels=labels, **beside)
        else:
            bank, queries = bank.split(test_fraction, self.seed)
        queries = without_told(self.folder, self.encoder.kind, queries)
        return self._keep(evaluation.evaluate(self.encoder, bank, queries, protocols, **options))

    def measured(self) -> dict[str, Method]:
        """What says something that protocols measure: the trained method, and where it is no classifier a fresh one."""
        if self.cls.says is Method.says:
            return {"trained": self.method} if self.names_classes else {}
        fresh = build_method(self.cls, self._fresh, self.config["parameters"], self.seed, self.config)
        return {"trained": self.method, "untrained": fresh}

    def _learned(self) -> list[Samples] | None:
        """What it was trained on; None where that is not there any more as it was."""
        reason = "have changed"
        try:
            streams = self.streams()
            if [part.fingerprint for part in streams] == [
                one["fingerprint"] for one in self.config["streams"].values()
            ]:
                return streams
        except WithholdError as error:
            reason = f"cannot be read ({error})"
        log.info("the training data %s: batch statistics are those of the items measured on", reason)
        return None

    def _keep(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same rows, which the folder now has, instead of those of the same data and protocol."""
        measured = {(row["data"], row["protocol"]) for row in rows}
        kept = [row for row in self.results() if (row["data"], row["protocol"]) not in measured]
        write_json(self.folder / "evaluation.json", {"results": kept + rows})
        return rows

    def apply(self, item: Any, **given: Answer) -> dict[str, Answer]:
        """What the method gives beyond embeddings of one item: named values; see `Method.apply_to`.

        Raises:
            UsageError: the method gives embeddings only.
        """
        method = self.method  # made outside, or its weights could not be trained any more
        with torch.inference_mode():
            return method.apply_to(item, **given)

    def rows(self) -> list[Row]:
        """The journal: a row of numbers a logging point."""
        path = self.folder / "metrics.csv"
        return read_journal(path) if path.is_file() else []

    def results(self) -> list[dict[str, Any]]:
        """The rows of its evaluations, in the order in which they were made."""
        path = self.folder / "evaluation.json"
        return json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []

    def doctor(self) -> list[str]:
        """What is wrong with this run, one sentence each with its remedy; none when all is well."""
        found = findings(self.rows(), taught=(self.folder / "told.csv").is_file())
        for name, rows in evaluation.by_data(self.results()).items():
            linear = {row["encoder"]: row["value"] for row in rows if row["protocol"] == "linear"}
            for control, network, remedy in (
                ("untrained", "an untrained one", "train longer, on more data, or otherwise"),
                ("start", "the one that it went on from", "that one is enough, frozen as it is"),
            ):
                if linear.get("trained", 1.0) <= linear.get(control, 0.0):
                    found.append(
                        f"A linear probe on {name} is right for {linear['trained']:.1%} with this encoder and for "
                        f"{linear[control]:.1%} with {network}: {remedy}."
                    )
        if not self.finished:
            found.append("The training has not come to its end: go on with --resume.")
        return found

    def _fill(self, module: nn.Module, path: Path) -> None:
        if not path.is_file():
            raise WithholdError(f"{self.folder} has no {path.name} yet: finish its training with --resume.")
        try:
            module.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise WithholdError(f"{path} is damaged or of another version ({error}): train this run again.") from error
