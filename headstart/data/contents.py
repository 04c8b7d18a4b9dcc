"""What a task's examples hold: the module that reads, stores and shows such contents. `prepare` knows no more of them."""

from types import ModuleType

from headstart.data import images, texts

OF_TASK: dict[str, ModuleType] = {"image-classification": images, "text-classification": texts}
