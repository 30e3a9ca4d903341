"""The gate: conditions on certificates that a CI job must meet."""
