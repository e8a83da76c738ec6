"""Scales the numbers 1 to 4, each as an element of its own: `osgbatch foreach scale.py 2.0`."""


def get_foreach_args(scale):
    """Scatter: what is to be done, and what every element is given besides."""
    return {"elements": [1, 2, 3, 4], "extra_args": [float(scale)]}


def foreach(x, scale):
    """What is done with one element; elements do not know of each other."""
    return x * scale


def gather(results, scale):
    """Runs once, with the results in the order of the elements."""
    print(results)
