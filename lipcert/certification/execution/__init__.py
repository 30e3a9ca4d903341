"""Where the shards of a data set are judged: here, by processes, or by a cluster."""

from lipcert.certification.execution.cluster import check_cluster, judged_by_cluster
from lipcert.certification.execution.pool import judged_by_processes

__all__ = ["check_cluster", "judged_by_cluster", "judged_by_processes"]
