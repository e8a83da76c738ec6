# One task: draws n points around the line y = 1 + 2 x, and fits a line to them.

arguments <- commandArgs(trailingOnly = TRUE)
seed <- as.integer(arguments[1])
n <- as.integer(arguments[2])

set.seed(seed)
x <- runif(n, 0, 10)
y <- 1 + 2 * x + rnorm(n, sd = 3)
slope <- coef(lm(y ~ x))[["x"]]

# What a task leaves in outputs/ comes home.
write.csv(data.frame(seed, n, slope), "outputs/slope.csv", row.names = FALSE)
cat("slope", slope, "\n")
