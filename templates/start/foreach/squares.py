"""Scatter and gather from one script. To run it, with the numbers up to 5:

    osgbatch foreach squares.py 5

Execution points need Python. Where they have none: `osgbatch foreach --image python:3.12 ...`.
"""


def get_foreach_args(last):
    """Runs first, once: is given the words after the script, and lists what is to be done.

    Each element is a task of its own; extra_args are given to all of them.
    """
    return {"elements": list(range(1, int(last) + 1)), "extra_args": [2]}


def foreach(number, power):
    """Runs once for each element, each on some machine of the pool, in any order."""
    return number**power


def gather(results, power):
    """Runs last, once, with all results in the order of the elements. Its files come home."""
    with open("table.csv", "w") as file:
        file.write("number,result\n")
        for number, result in enumerate(results, start=1):
            file.write(f"{number},{result}\n")
    print(f"the sum is {sum(results)}; squares/table.csv has all {len(results)}")
