"""A search over the parameters: an Optuna study whose trials are DVC's experiments, judged by the validation split."""
