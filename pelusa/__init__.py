"""The project: settings, routes and wiring. The five applications hold everything else."""

try:
    import MySQLdb  # noqa: F401
except ImportError:
    # mysqlclient has no wheels: where no compiler was at hand PyMySQL stands in, with the same interface.
    import pymysql

    pymysql.install_as_MySQLdb()

from pelusa.celery import app as celery_app

__all__ = ["celery_app"]
