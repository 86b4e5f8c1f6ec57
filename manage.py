#!/usr/bin/env python
"""Run a Pelusa command; `manage.py help` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pelusa.settings")
    from django.core.management import execute_from_command_line

    from pelusa.actors import behind_command

    with behind_command(sys.argv[1:]):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
