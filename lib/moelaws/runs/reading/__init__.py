"""A table file in; renamed, filtered, checked numbers out."""
