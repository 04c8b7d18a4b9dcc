"""Headstart: transfer learning and fine-tuning as a DVC pipeline. Importing it imports nothing else."""
