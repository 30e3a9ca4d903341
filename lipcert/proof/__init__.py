"""Writes proof files that ``lipcert.checker`` checks; docs/proof.md says what they hold.

Nothing here has to be trusted: every claim is put before the checker's own code as it is made.
"""

from lipcert.proof.proving import Claims, ProofFile, check_covered, network_claims, prove

__all__ = ["Claims", "ProofFile", "check_covered", "network_claims", "prove"]
