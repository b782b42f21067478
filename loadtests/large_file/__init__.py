"""A file larger than anybody wants in memory, predicted by the command and compared with scikit-learn."""
