# Runs a script of scatter/gather: `Rscript foreach.R PHASE key=value...`, on the execution point.
#
# It needs base R and nothing else. The script has three functions:
#
#     get_foreach_args(...) -> list(elements = ..., extra_args = list(...))
#     foreach(element, ...) -> a result
#     gather(results, ...)                  # the results in the order of the elements
#
# PHASE and keys are those of foreach.py. Values travel as R serialises them: a file of records, one
# after the other, list(index =, value =) or list(index =, error =). To read one runs no code of its
# own, but what is in it may. What a phase keeps is in outputs/, and outputs/complete is written last.

local({
  RESULTS <- "results.rds"
  TOLD <- "elements.txt"
  FAILED_FILES <- "failed_files.txt"
  OURS <- c(RESULTS, TOLD, "complete", FAILED_FILES)
  MOST_TASKS <- 1000
  TASK_S <- 3600

  words <- commandArgs(trailingOnly = TRUE)
  phase <- words[1]
  keys <- sub("=.*", "", words[-1])
  values <- vapply(sub("^[^=]*=", "", words[-1]), utils::URLdecode, "", USE.NAMES = FALSE)
  all_of <- function(key) values[keys == key]
  one <- function(key, default = "") {
    found <- all_of(key)
    if (length(found)) found[length(found)] else default
  }
  number <- function(key) as.integer(one(key, "0"))

  say <- function(...) {
    flush(stdout())
    cat(..., "\n", sep = "", file = stderr())
  }
  refuse <- function(...) {
    say("osgbatch: ", ...)
    quit(save = "no", status = 1)
  }

  # ---- files of records

  write_record <- function(con, ...) {
    serialize(list(...), con)
    flush(con)
  }
  write_values <- function(path, items, first = 0L) {
    con <- file(path, "wb")
    on.exit(close(con))
    for (i in seq_along(items)) {
      write_record(con, index = first + i - 1L, value = items[[i]])
    }
  }
  # The whole records; one that was cut off at the end is none.
  each_record <- function(path, use) {
    con <- file(path, "rb")
    on.exit(close(con))
    repeat {
      record <- tryCatch(unserialize(con), error = function(e) NULL)
      if (is.null(record)) break
      if (!is.list(record) || !is.numeric(record$index)) refuse(path, " is damaged")
      use(record)
    }
  }
  read_values <- function(path) {
    found <- list()
    each_record(path, function(record) found[[length(found) + 1L]] <<- record["value"])
    lapply(found, function(record) record[[1]])
  }

  # ---- the script

  function_of <- function(name) {
    script <- one("script")
    source(script, local = globalenv(), echo = FALSE, keep.source = FALSE)
    if (!exists(name, envir = globalenv(), mode = "function")) {
      known <- Filter(function(n) is.function(get(n, envir = globalenv())), ls(globalenv()))
      refuse(basename(script), " has no function ", name, "; it has ",
             if (length(known)) paste(known, collapse = ", ") else "none")
    }
    get(name, envir = globalenv(), mode = "function")
  }
  takes <- function(f, name) name %in% names(formals(args(f)))
  call_it <- function(f, ...) do.call(f, c(...), quote = TRUE)

  shown_call <- function(one) substr(paste(deparse(one, nlines = 1L), collapse = ""), 1L, 200L)

  # What R would print of an error, and the calls that led to it.
  with_calls <- function(code) {
    calls <- NULL
    tryCatch(
      withCallingHandlers(list(value = code), error = function(e) {
        calls <<- utils::head(sys.calls(), -3)
      }),
      error = function(e) {
        said <- conditionMessage(e)
        where <- conditionCall(e)
        named <- !is.null(where) && is.symbol(where[[1]])
        first <- if (named) paste0("Error in ", shown_call(where), " : ") else "Error: "
        # What is above the user's own code is this file's, and calls that by no name.
        ours <- which(vapply(calls, function(one) !is.symbol(one[[1]]), NA))
        if (length(ours)) calls <- calls[-seq_len(max(ours))]
        shown <- vapply(calls, shown_call, "")
        trace <- if (length(shown)) paste0("\nCalls:\n", paste0("  ", shown, collapse = "\n"))
        list(error = paste0(first, said, trace), line = gsub("[[:space:]]+", " ", said))
      }
    )
  }

  # ---- the phases

  scatter <- function() {
    name <- one("scatter")
    f <- function_of(name)
    given <- call_it(f, as.list(all_of("arg")))
    if (!is.list(given) || !("elements" %in% names(given))) {
      refuse(name, " should return list(elements = ..., extra_args = list(...))")
    }
    unknown <- setdiff(names(given), c("elements", "extra_args"))
    if (length(unknown)) {
      refuse(name, " returned ", paste(unknown, collapse = ", "), " besides elements and extra_args")
    }
    elements <- given$elements
    extra <- if (is.null(given$extra_args)) list() else as.list(given$extra_args)
    n <- length(elements)
    size <- number("batch")
    if (size < 1) {
      seconds <- number("seconds")
      size <- max(1, ceiling(n / MOST_TASKS), if (seconds > 0) min(n, TASK_S %/% seconds) else 1)
    }
    dir.create("outputs/elements", recursive = TRUE, showWarnings = FALSE)
    saveRDS(extra, "outputs/extra.rds")
    starts <- if (n) seq(1, n, by = size) else 1
    counts <- integer()
    for (start in starts) {
      stop <- min(start + size - 1, n)
      chunk <- if (n) lapply(start:stop, function(i) elements[[i]]) else list()
      path <- sprintf("outputs/elements/%d.rds", as.integer(start - 1))
      write_values(path, chunk, as.integer(start - 1))
      counts <- c(counts, length(chunk))
    }
    table <- sprintf("%d,%d", as.integer(starts - 1), counts)
    writeLines(c("first,elements", table), "outputs/tasks.csv")
    told <- sprintf('{"elements": %d, "tasks": %d, "batch_size": %d}', n, length(starts),
                    as.integer(size))
    writeLines(told, "outputs/foreach.json")
    say("osgbatch: ", n, " elements, in ", length(starts), " tasks of up to ", size)
  }

  foreach <- function() {
    f <- function_of(one("foreach"))
    extra <- readRDS(one("extra"))
    wants_index <- takes(f, "element_index")
    failed <- integer()
    count <- 0L
    con <- file(file.path("outputs", RESULTS), "wb")
    told <- file(file.path("outputs", TOLD), "w")
    each_record(one("elements"), function(record) {
      index <- as.integer(record$index)
      count <<- count + 1L
      cat(index, "", file = told)
      flush(told)
      more <- if (wants_index) list(element_index = index)
      before <- files_here(".")
      done <- with_calls(call_it(f, list(record$value), extra, more))
      if (is.null(done$error)) {
        write_record(con, index = index, value = done$value)
        cat("ok\n", file = told)
      } else {
        failed <<- c(failed, index)
        say("osgbatch: element ", index, " failed:\n", done$error)
        cat("failed ", substr(done$line, 1, 500), "\n", sep = "", file = told)
        write_record(con, index = index, error = done$error)
        # Gather is not brought what an element has made that failed.
        made <- setdiff(files_here("."), c(before, file.path("outputs", OURS)))
        if (length(made)) {
          cat(paste0(index, " ", vapply(made, utils::URLencode, "", reserved = TRUE), "\n"),
              file = file.path("outputs", FAILED_FILES), sep = "", append = TRUE)
        }
      }
      flush(told)
    })
    close(con)
    close(told)
    if (count != number("number")) {
      refuse("of ", number("number"), " elements ", count, " have arrived")
    }
    if (length(failed)) {
      refuse("of ", count, if (count == 1) " element " else " elements ", length(failed),
             " failed: ", listed(failed))
    }
  }

  files_here <- function(folder) list.files(folder, recursive = TRUE, all.files = TRUE)
  # Which files of a task elements made that failed.
  failed_files <- function(task) {
    path <- file.path(task, "outputs", FAILED_FILES)
    lines <- if (file.exists(path)) readLines(path) else character()
    vapply(sub("^[^ ]* ", "", lines), utils::URLdecode, "", USE.NAMES = FALSE)
  }
  listed <- function(numbers) {
    more <- if (length(numbers) > 20) " ..." else ""
    paste0(paste(utils::head(numbers, 20), collapse = ", "), more)
  }

  gather <- function() {
    f <- function_of(one("gather"))
    extra <- readRDS(one("extra"))
    count <- as.integer(sub('.*"elements": ([0-9]+).*', "\\1", readLines(one("told"))[1]))
    results <- vector("list", count)
    there <- logical(count)
    why <- character(count)
    tasks <- tasks_of(all_of("results"))
    paths <- file.path(tasks, "outputs", RESULTS)
    for (path in paths[file.exists(paths)]) {
      each_record(path, function(record) {
        i <- record$index + 1
        if (!(i %in% seq_len(count))) refuse("there is a result of element ", i - 1, " of ", count)
        if (!is.null(record$error)) {
          why[i] <<- record$error
        } else if (there[i]) {
          refuse("there is a result twice: element ", i - 1)
        } else {
          results[i] <<- record["value"]
          there[i] <<- TRUE
        }
      })
    }
    missing <- which(!there) - 1
    if (length(missing) && one("partial") != "1") {
      refuse(length(missing), " of ", count, " elements have no result: ", listed(missing),
             "; --partial gathers the others",
             if (nzchar(why[missing[1] + 1])) paste0("\n", why[missing[1] + 1]))
    }
    if (length(missing) && !any(there)) {
      refuse("none of ", count, " elements has a result\n", why[1])
    }
    if (length(missing)) say("osgbatch: ", sum(there), " of ", count, " elements are gathered")
    more <- if (takes(f, "element_indices")) list(element_indices = which(there) - 1L)
    brought <- bring_files(tasks)
    call_it(f, list(results[there]), extra, more)
    take_away(brought)
  }

  # What the elements have written lies in gather's working folder, too.
  bring_files <- function(tasks) {
    brought <- list()
    of_failed <- character()
    ours <- c("stdout", "stderr", "status.json", file.path("outputs", OURS))
    for (task in tasks) {
      failed <- failed_files(task)
      for (name in setdiff(files_here(task), ours)) {
        if (name %in% failed) {
          of_failed <- c(of_failed, encodeString(name))
          next
        }
        why <- left_out(name)
        if (nzchar(why)) {
          say("osgbatch: warning: ", encodeString(name), " of task ", basename(task),
              ": left out, ", why)
          next
        }
        dir.create(dirname(name), recursive = TRUE, showWarnings = FALSE)
        if (file.copy(file.path(task, name), name)) {
          brought[[name]] <- unlist(file.info(name)[c("size", "mtime")])
        }
      }
    }
    if (length(of_failed)) {
      say("osgbatch: left out, made by elements that failed: ",
          paste(utils::head(of_failed, 20), collapse = ", "))
    }
    brought
  }
  # Why a file of the elements' is not copied to a path of the working folder; "" when it is.
  left_out <- function(name) {
    # R that gather starts would run these by itself, whoever has written them.
    if (tolower(basename(name)) %in% c(".rprofile", ".renviron", ".rdata")) {
      return("it could run by itself; it stays with the results of foreach")
    }
    above <- dirname(name)
    while (above != ".") {
      if (nzchar(Sys.readlink(above)) %in% TRUE) return("its folder is a link to one of yours")
      above <- dirname(above)
    }
    if (file.exists(name)) "a file of that name is there already" else ""
  }
  # The folders of the tasks, below these, in the order of the tasks.
  tasks_of <- function(folders) {
    found <- list.files(c(folders, file.path(folders, "failed")), pattern = "^[0-9]+$",
                        full.names = TRUE)
    found[order(as.numeric(basename(found)))]
  }
  take_away <- function(brought) {
    for (name in names(brought)) {
      now <- file.info(name)
      if (!is.na(now$size) && all(unlist(now[c("size", "mtime")]) == brought[[name]])) unlink(name)
    }
  }

  options(warn = 1)
  dir.create("outputs", showWarnings = FALSE)
  phases <- list(scatter = scatter, foreach = foreach, gather = gather)
  if (!(phase %in% names(phases))) refuse("usage: foreach.R scatter|foreach|gather key=value...")
  done <- with_calls(phases[[phase]]())
  if (!is.null(done$error)) {
    say(done$error)
    quit(save = "no", status = 1)
  }
  writeLines(phase, "outputs/complete")
})
