"""What a task's examples hold: the module that reads, stores and shows it. `prepare` knows no more of it."""

from types import ModuleType

from headstart.data import images, texts

OF_TASK: dict[str, ModuleType] = {"image-classification": images, "text-classification": texts}
