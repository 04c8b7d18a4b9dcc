"""The two caches: what the frozen layers make of each picture and view."""
