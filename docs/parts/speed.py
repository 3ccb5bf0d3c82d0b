"""Tables of speed and memory."""

from parts.reading import percent, result, table


def speeds() -> str:
    """SimCLR views per second by library, image size and threads."""
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
    return table(["pixels", "library", "threads", "views/s", "speedup of withhold"], cells)


def memory() -> str:
    """Memory and start-up time by the number of cached images."""
    rows = result("memory")["walks"]
    cells = [
        [f"{r['images']:,}", f"{r['private_mb']}", f"{r['mapped_mb']}", f"{r['first_batch_seconds']:.3f}"] for r in rows
    ]
    return table(["cached images", "process memory, MB", "mapped file pages, MB", "time to first batch, s"], cells)


def training() -> str:
    """Parts of a training step, and speed and memory next to lightly's, on three processors and a GPU."""
    machines = {
        "AMD EPYC": "train", "AMD EPYC, AVX512-BF16": "train-avx512", "Intel Xeon, AMX": "train-amx",
        "H100": "train-gpu",
    }  # fmt: skip
    found = {machine: result(name) for machine, name in machines.items()}
    parts = found["AMD EPYC"]["withhold"]["shares"]
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
        table(["machine", *(part.replace("_", " ") for part in parts)], shares),
        table(["machine", "library", "images/s", "speed relative to lightly", "peak memory, MB"], speeds),
        f"An H100 processes {speed:,.0f} images/s with batch size {gpu['batch_size']}, compiled, in bfloat16.\n"
        f"At that rate 200 epochs of CIFAR-10 take {200 * 50_000 / speed / 60:.1f} minutes; "
        "such a training has not been run to its end yet.",
    ])  # fmt: skip


def steps() -> str:
    """Parts of a training step of other methods."""
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
    """Throughput of video decoding, and of reading from the cache."""
    found = result("video")
    speeds = [f"{found[name]:,}" for name in ("frames_per_second_cold", "frames_per_second_cached")]
    header = ["decoding, frames/s", "from cache, frames/s", "batch, median ms", "batch, 95th percentile ms"]
    return table(header, [[*speeds, f"{found['milliseconds_a_batch']}", f"{found['of_95_in_100_batches_at_most']}"]])


def sounds() -> str:
    """Time for spectrograms, with withhold and with scipy."""
    rows = result("audio")["rows"]
    cells = [[r["contender"], str(r["threads"]), f"{r['milliseconds']:.1f}", f"{r['best']:.1f}"] for r in rows]
    return table(["library", "threads", "median, ms", "best, ms"], cells)


def search() -> str:
    """Search time and recall by kind of search, and the cost of building the index."""
    rows = result("search")["rows"]
    cells = [
        [r["vectors"], r["search"], f"{r['median_ms']:,}", f"{r['slowest_ms']:,}", f"{r['recall']:.3f}"] for r in rows
    ]
    built = [
        [r["vectors"], f"{r['build_seconds']}", f"{r['index_mb']:,}"] for r in rows if r["search"] == "approximate"
    ]
    header = ["vectors", "search", "median, ms", "slowest, ms", "recall@10"]
    return table(header, cells) + "\n\n" + table(["vectors", "build time, s", "disk, MB"], built)


def explore() -> str:
    """Response times and memory of the explore page."""
    found = result("explore")
    cells = [
        f"{found['start_seconds']}", f"{found['first_paint_seconds']}", f"{found['frames_per_second']}",
        f"{found['ms_of_work_a_frame']}", f"{found['label_ms']}, {found['label_ms_95']}",
        f"{found['first_queue_seconds']}, {found['queue_seconds']}", f"{found['server_mb']:,}", f"{found['page_mb']:,}",
    ]  # fmt: skip
    header = [
        "start, s", "first paint, s", "frames/s", "work per frame, ms", "label, ms (median, 95 %)",
        "next twenty, s", "server, MB", "page, MB",
    ]  # fmt: skip
    return table(header, [cells])
