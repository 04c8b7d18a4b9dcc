"""Batches of one view an example. The order is a function of seed and epoch."""

import keras
import numpy as np

from headstart.features.inputs import Source, members


class Batches(keras.utils.PyDataset):
    """What `fit` and `evaluate` draw from.

    In an epoch every example shows one view, and in each epoch the next one: after `views` epochs it has shown all,
    equally often. With `every_view` an epoch shows all of them. A batch is of one bucket of the source.
    """

    def __init__(
        self,
        fetch: Source,
        targets: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        views: int = 1,
        every_view: bool = False,
        weights: np.ndarray | None = None,
        shuffle: bool = True,
        devices: int = 1,
        threads: int = 2,
    ) -> None:
        """Set up the first epoch.

        Args:
            fetch: gives the inputs.
            targets: float32 [n, ...].
            batch_size: the last batch of a bucket may be smaller; none is dropped.
            seed: of the order and of each example's first view.
            views: how many there are of each example.
            every_view: show all of them in each epoch.
            weights: float32 [n] of the examples in the loss; None: all 1.
            shuffle: False for the clean view of each example in the given order.
            devices: that share each batch evenly. One that can't be is filled up with examples of weight 0: metrics
                do not see them, an epoch's mean loss is smaller by their share.
            threads: that fetch ahead of the training step, in order. Keras waits a tenth of a second for several at the
                end of each epoch; 1 is for inputs that are at hand at once.
        """
        super().__init__(workers=threads, max_queue_size=8)
        self.fetch, self.targets, self.batch_size, self.seed = fetch, targets, batch_size, seed
        self.views, self.every_view, self.shuffle, self.devices = views, every_view, shuffle, devices
        self.weights = np.ones(len(targets), np.float32) if weights is None else weights
        self.epoch = 0
        self._arrange()

    def _arrange(self) -> None:
        """Lay down this epoch's order and views."""
        self.fetch.warm()
        n = len(self.targets)
        self.rows, self.numbers = np.arange(n), np.zeros(n, int)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.shuffle:
            if self.every_view:
                self.rows, self.numbers = (a.ravel() for a in np.mgrid[:n, : self.views])
            else:
                first = np.random.default_rng(self.seed).integers(self.views, size=n)
                self.numbers = (first + self.epoch) % self.views
            order = rng.permutation(len(self.rows))
            self.rows, self.numbers = self.rows[order], self.numbers[order]
        # Where each batch's examples are in `rows`.
        self.parts = [
            places[start : start + self.batch_size]
            for _, places in members(self.fetch.buckets[self.rows])
            for start in range(0, len(places), self.batch_size)
        ]
        if self.shuffle and np.ptp(self.fetch.buckets):
            self.parts = [self.parts[at] for at in rng.permutation(len(self.parts))]
        # On TensorFlow Keras takes the sizes that the first two batches have in common for those of all.
        bucket = [int(self.fetch.buckets[self.rows[part[0]]]) for part in self.parts]
        other = next((at for at, of in enumerate(bucket) if of != bucket[0]), 1)
        if other > 1:
            self.parts[1], self.parts[other] = self.parts[other], self.parts[1]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = self.parts[index]
        rows, numbers, weights = self.rows[part], self.numbers[part], self.weights[self.rows[part]]
        if more := -len(rows) % self.devices:
            weights = np.append(weights, np.zeros(more, np.float32))
            rows, numbers = (np.append(a, np.repeat(a[-1:], more)) for a in (rows, numbers))
        return self.fetch(rows, numbers), self.targets[rows], weights

    def start(self, epoch: int) -> None:
        """Begin with a later epoch."""
        self.epoch = epoch
        self._arrange()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._arrange()
