# Fits one linear model per column of R's own iris data: osgbatch foreach models.R

# A factor as columns of 0 and 1.
one.hot <- function(x) {
  sapply(levels(x), function(level) as.numeric(x == level))
}

# How well all other columns tell this one: the root of the mean squared residual.
rmse <- function(target, features) {
  model <- lm.fit(cbind(1, features[, -target]), features[, target])
  sqrt(mean(model$residuals^2))
}

# Scatter: an element for each column; all are given the whole table.
get_foreach_args <- function() {
  data(iris)
  features <- as.matrix(cbind(iris[, 1:4], one.hot(iris[, 5])))
  list(elements = seq(ncol(features)), extra_args = list(features))
}

# Runs once for each column.
foreach <- function(column, features) {
  data.frame(target = colnames(features)[[column]], rmse = rmse(column, features))
}

# Runs once over all results: what it writes comes home.
gather <- function(results, ...) {
  table <- do.call(rbind, results)
  write.csv(table, file = "results.csv", row.names = FALSE)
  print(table)
}
