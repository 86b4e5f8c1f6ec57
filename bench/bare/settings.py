"""As little as Django needs."""

import os
from pathlib import Path

from pelusa.environment import database

DATABASES = {"default": database("BARE_DATABASE", os.environ["BARE_DATABASE"], test_dir=Path())}
INSTALLED_APPS = ["bench.bare"]
ROOT_URLCONF = "bench.bare.pipeline"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
SECRET_KEY = os.environ["BARE_BROKER"]
BROKER_URL = os.environ["BARE_BROKER"]
EXCHANGE_URL = os.environ["BARE_EXCHANGE"]
