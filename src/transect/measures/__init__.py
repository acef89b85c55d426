"""One file per measure: measure(model, items) -> rows of item, metric, value and, if they apply, layer, head, ..."""
