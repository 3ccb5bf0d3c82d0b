"""Quality of what networks generate: likelihoods, restored images, predicted frames, translated and refined digits."""

import numpy as np
import torch
from claims.data import Place, Split
from claims.measures.common import Found
from scipy.ndimage import median_filter
from torch import Tensor
from torch.nn import functional as F

import withhold
from withhold import data, evaluation, losses, methods, views
from withhold.data import Samples
from withhold.nets import frozen


@torch.inference_mode()
def likelihood(run: withhold.Run, split: Split, at: Place) -> Found:
    """Negative log-likelihood of test images in nats: the negative ELBO and its two parts, the closer bound of 64 codes
    (Burda et al., ICLR 2016), and the cost under the mean image."""
    method, draws, found = run.method, 64, []
    method.seed(at.seed)
    images = views.to_float(split.test.batch(np.arange(1000)))
    for part in images.split(100):
        mean, log_variance = method.encode(part)
        logs = []
        for noise in (method.noise(len(part)) for _ in range(draws)):
            code = mean + (log_variance / 2).exp() * noise
            cost = F.binary_cross_entropy_with_logits(method.decoder(code), part, reduction="none").sum((1, 2, 3))
            logs.append(torch.stack([cost, (code.square() - noise.square() - log_variance).sum(1) / 2]))
        image, beside = torch.stack(logs).unbind(1)
        closer = np.log(draws) - (-image - beside).logsumexp(0)
        found.append(torch.stack([(image + beside).mean(0), image.mean(0), beside.mean(0), closer]))
    bound, image, code, closer = torch.cat(found, 1).mean(1).tolist()
    return {
        "bound": bound, "image": image, "code": code, "closer bound": closer,
        "mean image": method.trivial(images).item(), "n_test": len(images),
    }  # fmt: skip


@torch.inference_mode()
def restored(run: withhold.Run, split: Split, at: Place) -> Found:
    """Peak signal-to-noise ratios in decibels over all pixels of test photographs, and those of median filters."""
    clean = views.to_float(split.test.batch(np.arange(len(split.test))))
    rng, found = torch.Generator().manual_seed(at.seed), {}
    for name, seen in (("dirt", views.dirt(clean, rng)), ("rain", views.rain(clean, rng)), ("clean", clean)):
        said = {f"median of {k} x {k}": torch.from_numpy(median_filter(seen.numpy(), (1, 1, k, k))) for k in (3, 5)}
        said |= {"as it is": seen, "network": torch.cat([run.method.predict(part) for part in seen.split(50)])}
        found[name] = {who: losses.psnr(losses.squared_error(images, clean)).item() for who, images in said.items()}
    return found


@torch.inference_mode()
def frame_errors(run: withhold.Run, split: Split, at: Place) -> Found:
    """Errors of the clips' second half, summed over a frame's pixels, and those of baselines without a network."""
    said = []
    for part in torch.from_numpy(split.test)[:, :, None].split(50):
        predicted = run.method.predict(run.method.hide({"videos": part})[0])
        said.append(predicted["future"][:, :, 0].sigmoid())
    test = split.test.astype(np.float32) / 255
    half = test.shape[1] // 2
    predictors = {
        "network": torch.cat(said).numpy(), "last frame": test[:, half - 1 : half],
        "mean image": split.train[:, half:].mean((0, 1))[None, None] / 255, "nothing": np.zeros((1, 1, 1, 1)),
    }  # fmt: skip
    return {"results": [{"predictor": name, **_errors(frames, test[:, half:])} for name, frames in predictors.items()]}


def _errors(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Frames in [0, 1], which broadcast -> both errors; predictions are clipped to [1e-6, 1 - 1e-6]."""
    share = np.clip(said, 1e-6, 1 - 1e-6)
    entropy = -(true * np.log(share) + (1 - true) * np.log(1 - share))
    squares = (said - true) ** 2
    return {name: float(e.sum((2, 3)).mean()) for name, e in (("squared_error", squares), ("cross_entropy", entropy))}


def read_by_another(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on translated digits of a classifier trained on the other domain with labels."""
    usps, most = split.streams[1], 2000
    teacher = withhold.train(
        "dann", usps, usps, encoder="convnet", epochs=6 * at.share, seed=at.seed, out=at.folder / "reader", weight=0.0
    )
    asked, known = split.test

    def tensors(samples: Samples) -> tuple[Tensor, Tensor]:
        return views.to_float(samples.batch(np.arange(most))), torch.as_tensor(samples.labels[:most])

    def read(images: Tensor, labels: Tensor) -> float:
        with frozen(teacher.method):
            said = torch.cat([teacher.method.classify(part).argmax(1) for part in images.split(500)])
        return (said == labels).float().mean().item()

    images, labels = tensors(asked)
    rows, fresh = run.rows(), methods.find("cyclegan")(run.untrained())
    with torch.inference_mode():
        makers = {"translated": run.method, "translated, untrained": fresh}
        made = {name: torch.cat([by.to_second(part) for part in images.split(250)]) for name, by in makers.items()}
    return {
        "n_test": most, "true images of the target": read(*tensors(known)), "source as it is": read(images, labels),
        **{name: read(digits, labels) for name, digits in made.items()},
        "cycle error": [rows[0]["generators/cycle"], rows[-1]["generators/cycle"]],
        "change": rows[-1]["generators/change"], "discriminators' accuracy": rows[-1]["discriminators/accuracy"],
    }  # fmt: skip


def taught_by_refined(run: withhold.Run, split: Split, at: Place) -> Found:
    """Accuracy on real digits of classifiers trained on simulated digits, unchanged and refined.

    Also the accuracy on simulated and refined digits of a classifier trained on real digits with labels.
    """
    simulated, real = split.streams
    with frozen(run.method), torch.inference_mode():
        seen = views.to_float(simulated.batch(np.arange(len(simulated)))).split(500)
        refined = torch.cat([run.method.refiner(part) for part in seen])
    pixels = (refined * 255).round().byte().permute(0, 2, 3, 1).numpy()
    changed = data.load((pixels, simulated.labels), size=simulated.shape[0], channels=simulated.shape[2])
    known = {"as they are": simulated, "refined": changed, "real": real}
    asked = {"real": split.test, "as they are": simulated, "refined": changed}
    found: Found = {"change": run.rows()[-1]["refiner/change"]}
    for name, samples in known.items():
        passes = 8 * at.share * len(simulated) / len(samples)
        teacher = withhold.train(
            "finetune", samples, encoder="convnet", epochs=passes, seed=at.seed, out=at.folder / name.replace(" ", "-"),
            probe=False, flip=0.0,
        )  # fmt: skip
        for other in asked if name == "real" else ("real",):
            said = evaluation.scores(teacher.method, asked[other]).argmax(1).numpy()
            found[f"{other} read by who learned from {name}"] = float((said == asked[other].labels).mean())
    return found
