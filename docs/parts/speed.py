"""How fast things are, and what memory they take."""

from parts.reading import percent, result, table


def speeds() -> str:
    """SimCLR's views a second beside the peers', by size and threads."""
    rows = result("views")["rows"]
    cells = [
        [
            f"{r['size']}",
            r["contender"],
            str(r["threads"]),
            f"{r['views_per_second']:,}",
            f"{r['withhold_is_faster_by']}",
        ]
        for r in rows
    ]
    return table(["pixels", "library", "threads", "views a second", "withhold is faster by"], cells)


def memory() -> str:
    rows = result("memory")["walks"]
    cells = [
        [f"{r['images']:,}", f"{r['private_mb']}", f"{r['mapped_mb']}", f"{r['first_batch_seconds']:.3f}"] for r in rows
    ]
    return table(["cached images", "own memory, MB", "mapped file pages, MB", "seconds to the first batch"], cells)


def training() -> str:
    """A training step's parts, and its speed and memory beside the peer's, on two processors and a GPU."""
    machines = {"AMD EPYC, no AMX": "train", "Intel Xeon, AMX": "train-amx", "H100": "train-gpu"}
    found = {machine: result(name) for machine, name in machines.items()}
    parts = found["AMD EPYC, no AMX"]["withhold"]["shares"]
    shares = [
        [machine, *(f"{100 * each['withhold']['shares'][part]:.1f} %" for part in parts)]
        for machine, each in found.items() if "peer" in each
    ]  # fmt: skip
    speeds = []
    for machine, each in found.items():
        for library, name in (("withhold", "withhold"), ("lightly", "peer")):
            if name in each:
                ahead = f"{each['times_faster']}" if name == "withhold" and "peer" in each else ""
                rate, memory = each[name]["images_per_second"], each[name]["peak_rss_mb"]
                speeds.append([machine, library, f"{rate:,.1f}", ahead, f"{memory:,}"])
    gpu = found["H100"]["withhold"]
    speed = gpu["images_per_second"]
    return "\n\n".join([
        table(["machine", *parts], shares),
        table(["machine", "library", "images a second", "times lightly", "peak memory, MB"], speeds),
        f"An H100 takes {speed:,.0f} images a second, in batches of {gpu['batch_size']}, compiled and in bfloat16.\n"
        f"At that rate 200 epochs of CIFAR-10 are {200 * 50_000 / speed / 60:.1f} minutes; "
        "they have not been trained to the end yet.",
    ])  # fmt: skip


def steps() -> str:
    """The parts of other methods' steps."""
    parts = ("data", "views", "forward", "backward", "optimizer", "after_step", "rest")
    cells = []
    alone = [result(f"train-{name}")["withhold"] for name in ("cyclegan", "mixmatch", "uda")]
    for found in sorted(result("train-methods")["rows"], key=lambda row: -row["outside_forward_and_backward"]) + alone:
        outside = percent(found["outside_forward_and_backward"])
        shares = [percent(found["shares"][part]) for part in parts]
        cells.append([f"`{found['method']}`", found["encoder"], *shares, outside])
    header = ["method", "encoder", *(part.replace("_", " ") for part in parts), "outside forward and backward"]
    return table(header, cells)


def videos() -> str:
    """How fast videos are decoded, and read from the cache."""
    found = result("video")
    speeds = [f"{found[name]:,}" for name in ("frames_per_second_cold", "frames_per_second_cached")]
    header = ["frames a second, cold", "from the cache", "ms a batch", "of 95 in 100 batches at most"]
    return table(header, [[*speeds, f"{found['milliseconds_a_batch']}", f"{found['of_95_in_100_batches_at_most']}"]])


def sounds() -> str:
    """How long spectrograms take, beside scipy's."""
    rows = result("audio")["rows"]
    cells = [[r["contender"], str(r["threads"]), f"{r['milliseconds']:.1f}", f"{r['best']:.1f}"] for r in rows]
    return table(["library", "threads", "median, ms", "best, ms"], cells)


def search() -> str:
    """How long the nearest take to find among how many, and how many of them are found."""
    rows = result("search")["rows"]
    cells = [
        [r["vectors"], r["search"], f"{r['median_ms']:,}", f"{r['slowest_ms']:,}", f"{r['recall']:.3f}"] for r in rows
    ]
    built = [
        [r["vectors"], f"{r['build_seconds']}", f"{r['index_mb']:,}"] for r in rows if r["search"] == "approximate"
    ]
    header = ["vectors", "search", "median, ms", "slowest, ms", "recall@10"]
    return table(header, cells) + "\n\n" + table(["vectors", "seconds to build", "on disk, MB"], built)


def explore() -> str:
    """What the page takes with many items."""
    found = result("explore")
    cells = [
        f"{found['start_seconds']}", f"{found['first_paint_seconds']}", f"{found['frames_per_second']}",
        f"{found['ms_of_work_a_frame']}", f"{found['label_ms']}, {found['label_ms_95']}",
        f"{found['first_queue_seconds']}, {found['queue_seconds']}", f"{found['server_mb']:,}", f"{found['page_mb']:,}",
    ]  # fmt: skip
    header = [
        "start, s", "first paint, s", "frames a second", "work a frame, ms", "label, ms (median, 95 %)",
        "next twenty, s", "server, MB", "page, MB",
    ]  # fmt: skip
    return table(header, [cells])
