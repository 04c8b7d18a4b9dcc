"""Scores of predicted class probabilities, what is certain about them, and the curves that show them.

Everything here takes arrays and tables and returns arrays, tables or figures. It knows neither Keras nor
MLflow nor where anything is stored; `stages/evaluate.py` does.
"""
