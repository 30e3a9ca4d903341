"""``python -m lipcert_cli``."""

from .main import main

main()
