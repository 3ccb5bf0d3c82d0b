"""A video as one picture of it."""

import contextlib

import numpy as np

from withhold.data import media
from withhold.data.kind import Item, Unreadable
from withhold.data.videos import picture


def middle(item: Item) -> Item:
    """The frame in the middle of a video, an image that may be undecoded; the last one, where it ends before.

    Raises: Unreadable.
    """
    import av

    if isinstance(item, list | np.ndarray):
        return item[len(item) // 2]
    with media.stream(item, "video") as stream:
        container, frame = stream.container, None
        begin = container.start_time or 0
        wanted = begin + (container.duration or 0) // 2  # in microseconds
        for start in (wanted, begin):  # from the start, if nothing can be read from the middle on
            with contextlib.suppress(av.FFmpegError):
                container.seek(start)
            with contextlib.suppress(Unreadable):
                for frame in media.decoded(stream):
                    now = media.time_of(frame)
                    if now is None or now * av.time_base >= wanted:
                        break
            if frame is not None:
                return picture(frame, stream)
    raise Unreadable("no frame")
