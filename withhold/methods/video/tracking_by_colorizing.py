"""Tracking emerges by colorizing videos."""

import torch
from torch import Tensor
from torch.nn import functional as F

from withhold import nets, views
from withhold.errors import UsageError
from withhold.methods import Method, Optimizer, Positive, Several, answers, method
from withhold.nets import FineConv

SURVEYED = 256
"""Number of clips from which the palette is computed."""
COLOURFUL = 5.0
"""Absolute value that a or b of CIE Lab must exceed somewhere in a clip for the clip to count as coloured."""
PLACES = 50_000
"""Number of places of these clips that are clustered."""
UNSEEN = 0.01
"""Probability spread evenly over all colours, so that a colour absent from the references has a finite loss."""
GREY = "tracking_by_colorizing needs videos in colour, but these are grey. Choose another method."


@method(paper="Vondrick et al., ECCV 2018", needs={"clips": "video"}, family="reconstruct")
class TrackingByColorizing(Method):
    """Withholds the colours of a clip's last frame; predicts them by pointing at places of the frames before it.

    The pointer sees only lightness, so it must find each place again; it can then carry any labels through a video. All
    frames of a clip have the same crop. If nothing moves, pointing at the same place is correct: the term "identity" is
    the accuracy of that prediction. Clips without colour do not count. Unlike in the paper, frames are embedded one by
    one, without 3D convolutions over them, and embeddings have length 1, which requires another temperature than the
    paper's 1.

    Args:
        frames: frames per clip; the last is the target, the others are references.
        fps: frames per second.
        clusters: number of colours.
        temperature: temperature of the softmax over cosines in training; a lower one points at fewer places. Tracking
            uses 0.07, whatever the encoder.
    """

    channels = 1
    optimizer = Optimizer(lr=3e-3)  # the paper's 1e-3 at its batch of 32
    palette: Tensor

    def __init__(
        self,
        encoder: FineConv,
        frames: Several = 4,
        fps: Positive = 6.0,
        clusters: Several = 16,
        temperature: Positive = 0.07,
    ):
        super().__init__(encoder)
        self.temperature = temperature
        self.register_buffer("palette", torch.zeros(clusters, 2))

    def prepare(self, clips):
        """Cluster the colours of some clips by k-means."""
        from sklearn.cluster import KMeans

        chosen = self.some(len(clips), SURVEYED).split(16)
        parts = [split(clips.batch(part), self.encoder.stride)[1] for part in chosen]
        colours = torch.cat([part.movedim(2, -1).reshape(-1, 2) for part in parts])
        if colours.abs().max() <= COLOURFUL:
            raise UsageError(GREY)
        some = colours[self.some(len(colours), PLACES)].numpy()
        found = KMeans(len(self.palette), n_init=1, random_state=self.rng.initial_seed() % 2**32).fit(some)
        self.palette.copy_(torch.from_numpy(found.cluster_centers_))

    def withhold(self, clips):
        """Clips uint8 [n, t, 3, h, w] -> lightness float [n, t, 1, size, size], the colours of all frames but the last.

        Colours are clusters, int64 [n, t - 1, g, g]. The targets are those of the last frame [n, g, g]; with them come
        those of the frame before it, for comparison, and whether a clip has colour at all, bool [n].
        """
        view = views.augment(clips, self.rng, size=self.encoder.size, crop=(0.3, 1.0))
        lightness, ab = split(view, self.encoder.stride)
        colours = torch.cdist(ab.movedim(2, -1).flatten(0, 3), self.palette).argmin(1).view(ab[:, :, 0].shape)
        colourful = ab.flatten(1).abs().amax(1) > COLOURFUL
        return (lightness, colours[:, :-1]), (colours[:, -1], colours[:, -2], colourful)

    def predict(self, visible):
        """Return the probabilities of the colours at every place of the last frame, float [n, clusters, g, g]."""
        lightness, known = visible
        maps = self.embed(lightness.flatten(0, 1)).unflatten(0, lightness.shape[:2])
        keys = maps[:, :-1].transpose(1, 2).flatten(2).mT
        values = F.one_hot(known.flatten(1), len(self.palette))
        shares = nets.pointer(maps[:, -1].flatten(2).mT, keys, values, self.temperature)
        return shares.mT.unflatten(2, maps.shape[3:])

    def loss(self, shares, withheld):
        """Equation 3 of the paper."""
        colours, before, colourful = withheld
        answers = (1 - UNSEEN) * shares + UNSEEN / len(self.palette)
        weight = colourful[:, None, None] / (colourful.sum() * colours[0].numel()).clamp(min=1)
        wanted = torch.zeros_like(self.palette[:, 0]).index_add_(
            0, colours.flatten(), weight.expand_as(colours).flatten()
        )
        return {
            "loss": -(weight * answers.gather(1, colours[:, None])[:, 0].log()).sum(),
            "accuracy": (weight * (shares.argmax(1) == colours)).sum(),
            "identity": (weight * (before == colours)).sum(),
            "trivial": -wanted.xlogy(wanted).sum(),
        }

    def embed(self, images: Tensor) -> Tensor:
        """Images float [n, c, h, w] in [0, 1] -> embeddings of length 1, [n, dim, h / stride, w / stride]."""
        return F.normalize(self.encoder.maps(images), dim=1)

    def apply_to(self, clip, mask: answers.Mask | answers.Points):
        """Track what is marked in the first frame: return "masks" of the mask's shape, or "points"."""
        if isinstance(mask, answers.Points):
            first = nets.bumps(mask.places, clip.shape[2:], self.encoder.stride)
        else:
            numbers, first = mask.labels.unique(return_inverse=True)
            h, w = first.shape
        shares = nets.track(self.embed, clip, first, self.encoder.size, self.encoder.stride)[1:]
        if isinstance(mask, answers.Points):
            found = [nets.centres(part) * torch.tensor(clip.shape[:1:-1]) for part in shares]
            return {"points": answers.Points(mask.names, torch.stack([mask.places, *found]))}
        kept = numbers.to(torch.uint8 if numbers.max() < 256 else torch.int32)  # small: a video has many masks
        labels = [kept[nets.at_pixels(part, (h, w))] for part in shares]
        return {"masks": answers.Mask(torch.stack([kept[first], *labels]), mask.palette)}

    def picture(self, visible, withheld, shares=None):
        lightness, known = visible
        columns = {"seen": lightness, "references": self.paint(lightness[:, :-1], F.one_hot(known, len(self.palette)))}
        columns["true"] = self.paint(lightness[:, -1:], F.one_hot(withheld[0], len(self.palette))[:, None])[:, 0]
        if shares is not None:
            columns["said"] = self.paint(lightness[:, -1:], shares.movedim(1, -1)[:, None])[:, 0]
        return columns

    def paint(self, lightness: Tensor, shares: Tensor) -> Tensor:
        """Lightness [n, t, 1, h, w] and colour probabilities [n, t, g, g, k] -> frames float [n, t, 3, h, w]."""
        ab = (shares.float() @ self.palette).movedim(-1, 2)
        return views.paint(lightness.flatten(0, 1), ab.flatten(0, 1)).unflatten(0, lightness.shape[:2])


def split(clips: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Clips [n, t, 3, h, w] -> lightness / 100 [n, t, 1, h, w], and ab of one pixel per cell [n, t, 2, g, g]."""
    if clips.shape[2] != 3:
        raise UsageError(GREY)
    lightness, ab = views.split_color(clips.flatten(0, 1), stride)
    return lightness.unflatten(0, clips.shape[:2]), ab.unflatten(0, clips.shape[:2])
