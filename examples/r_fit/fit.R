# Usage: Rscript fit.R SEED N
# Draws N points around the line y = 1 + 2 x, fits a line, and bootstraps how sure its slope is.

arguments <- commandArgs(trailingOnly = TRUE)
stopifnot("write: fit.R SEED N" = length(arguments) == 2)
seed <- as.integer(arguments[1])
n <- as.integer(arguments[2])

set.seed(seed)
points <- data.frame(x = runif(n, 0, 10))
points$y <- 1 + 2 * points$x + rnorm(n, sd = 3)

slope <- function(rows) coef(lm(y ~ x, points[rows, ]))[["x"]]
drawn <- replicate(500, slope(sample(n, replace = TRUE)))
interval <- quantile(drawn, c(0.025, 0.975))

found <- data.frame(
  seed = seed, n = n, slope = slope(seq_len(n)),
  low = interval[[1]], high = interval[[2]]
)
write.csv(found, "outputs/fit.csv", row.names = FALSE)
print(found)
