"""``python -m checker FILE MODEL [DATA]``."""

from __future__ import annotations

import sys

from .verdict import check


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 proved, 1 refuted, 7 inconclusive, 2 usage."""
    if len(arguments) not in (2, 3):
        sys.stderr.write("usage: checker FILE MODEL [DATA]\n")
        return 2
    verdict = check(*arguments)
    sys.stdout.write(f"{verdict.status}: {verdict.why}\n")
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
