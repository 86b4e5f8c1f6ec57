"""The bare pipeline: a Django view that stores an alarm, a hop through Celery, a POST of `requests`. Nothing else.

What an alarm costs at least with these libraries; run by gunicorn and Celery as Pelusa is. BARE_DATABASE, BARE_BROKER
and BARE_EXCHANGE say where.
"""
