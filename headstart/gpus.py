"""One GPU for each experiment that runs beside others: taken when a stage starts, free again when its process ends.

Starts no framework, and refuses to know what runs on the GPU. An experiment in the workspace is alone there and has all
GPUs; so has whoever sets CUDA_VISIBLE_DEVICES, which is never changed.
"""

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

# Locks of this process; closing one would let it go.
_held: list[int] = []


def take(environ: MutableMapping[str, str] = os.environ, nodes: str | Path = "/dev") -> int | None:
    """Set CUDA_VISIBLE_DEVICES to a GPU that as few other experiments as possible have.

    With more experiments than GPUs some share one, evenly: `dvc queue start -j` says how many are wanted at a time, and
    a stage that waited would only look as if it hung. A lock on a file in .headstart/gpus/ says who has which; the
    system lets it go however the process ends.

    Args:
        environ: DVC's variables, and where the choice is written.
        nodes: the folder that holds a node for each GPU: nvidia0, nvidia1, …

    Returns:
        The number of the GPU from 0; None if nothing was chosen: no experiment in a temporary copy, fewer than two
        GPUs, or CUDA_VISIBLE_DEVICES was set.
    """
    root = environ.get("DVC_ROOT")
    aside = "DVC_EXP_NAME" in environ and root is not None and Path(root).resolve() != Path.cwd()
    if not aside or "CUDA_VISIBLE_DEVICES" in environ:
        return None
    count = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in Path(nodes).glob("nvidia*"))
    if count < 2:
        return None
    import fcntl  # on POSIX alone, as the nodes are

    folder = Path(str(root)) / ".headstart" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    share = 0
    while True:
        for gpu in range(count):
            lock = os.open(folder / f"{gpu}.{share}.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            _held.append(lock)
            environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
            return gpu
        share += 1
