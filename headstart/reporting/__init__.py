"""The page about one run, reports/index.html: a projection of what DVC holds, so never one of its outputs.

It compares with other revisions, which no stage may know of. It is made anew for any revision at any time, without
Keras.
"""
