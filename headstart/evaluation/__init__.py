"""Scores of predicted class probabilities, what is certain about them, and what shows them: curves, mistakes, a card.

Everything here takes arrays and tables and returns arrays, tables, text or figures. It knows neither Keras (but for
`attribution`) nor MLflow nor where anything is stored; `stages/evaluate.py` does.
"""
