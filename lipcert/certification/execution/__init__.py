"""Where shards of a data set are judged: here, in processes, or on a cluster."""
