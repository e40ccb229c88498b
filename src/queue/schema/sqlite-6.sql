-- Version 6: when a person let a delivery go on. Times as in version 1.

-- From here its time counts, for warnings and giving up. NULL: from the arrival of its message, because nobody had to let
-- it go on, or somebody did before there was this column.
ALTER TABLE delivery ADD COLUMN released_at INTEGER;
