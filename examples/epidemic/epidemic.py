"""One task: the course of an epidemic, after the model of Kermack and McKendrick (SIR)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

INFECTIOUS = 5.0  # days that a person infects others
FIRST = 1e-4  # part of the people that is infected on day 0
DAYS = 1000


def run(r0: float, vaccinated: float) -> dict[str, object]:
    """Follow an epidemic to its end.

    r0: how many people one infects where nobody is immune. vaccinated: part of the people that
    cannot be infected, 0 to 1.
    Returns the part of the people that falls ill in all (`ill`), the largest part that is ill at a
    time (`peak`) and when (`peak_day`), and the course by day: `course`, shape (DAYS + 1,).
    """

    def change(_day: float, state: npt.NDArray[np.float64]) -> list[float]:
        susceptible, infected = state
        caught = r0 / INFECTIOUS * susceptible * infected
        return [-caught, caught - infected / INFECTIOUS]

    susceptible = max(0.0, 1 - vaccinated - FIRST)
    days = np.arange(DAYS + 1)
    solved = solve_ivp(change, (0, DAYS), [susceptible, FIRST], t_eval=days, rtol=1e-8, atol=1e-10)
    infected = solved.y[1]
    return {
        "ill": float(FIRST + susceptible - solved.y[0][-1]),
        "peak": float(infected.max()),
        "peak_day": int(infected.argmax()),
        "course": infected,
    }
