"""What differs between tasks, and nothing else: one module each, all with the same functions."""

from types import ModuleType

from headstart.tasks import image_classification, text_classification

TASKS: dict[str, ModuleType] = {
    "image-classification": image_classification,
    "text-classification": text_classification,
}
