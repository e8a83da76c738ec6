"""One task: fit a small network to a noisy sine, and write how the loss went down."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from torch import nn

EPOCHS = 300
SAMPLES = 256


def data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a sine with noise: x and y, each of shape (SAMPLES, 1)."""
    source = torch.Generator().manual_seed(seed)
    x = torch.rand(SAMPLES, 1, generator=source) * 2 - 1
    noise = torch.randn(SAMPLES, 1, generator=source) * 0.05
    return x, torch.sin(4 * x) + noise


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a small network to a noisy sine.")
    parser.add_argument("--rate", type=float, required=True, help="learning rate")
    parser.add_argument("--hidden", type=int, required=True, help="neurons in the hidden layer")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)  # every run starts from the same network
    torch.set_num_threads(1)  # as many as the sweep asks for cpus
    x, y = data(seed=2)  # fitted to
    new_x, new_y = data(seed=3)  # judged by
    model = nn.Sequential(nn.Linear(1, arguments.hidden), nn.Tanh(), nn.Linear(arguments.hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.rate)
    measure = nn.MSELoss()

    Path("outputs").mkdir(exist_ok=True)
    with open("outputs/loss.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["epoch", "loss", "new_loss"])
        for epoch in range(1, EPOCHS + 1):
            optimizer.zero_grad()
            loss = measure(model(x), y)
            loss.backward()
            optimizer.step()
            if epoch % 10 == 0:
                with torch.no_grad():
                    new_loss = measure(model(new_x), new_y)
                table.writerow([epoch, f"{loss.item():.6f}", f"{new_loss.item():.6f}"])
    torch.save(model.state_dict(), "outputs/model.pt")
    print(f"rate {arguments.rate:g}, hidden {arguments.hidden}: loss {new_loss.item():.4f}")


if __name__ == "__main__":
    main()
