FROM python:3.12-slim-bookworm AS build
# mysqlclient has no wheels.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libmariadb-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.12-slim-bookworm
# The client is for backups.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmariadb3 mariadb-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pelusa
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY . .
RUN mkdir var backups && chown pelusa: var backups
USER pelusa
# The generated secrets, the logs and the static files live here, and the backups there; compose puts volumes over them.
VOLUME /app/var /app/backups
EXPOSE 8000
CMD ["gunicorn", "pelusa.wsgi", "-w", "2", "--threads", "8", "-b", "0.0.0.0:8000", "-c", "pelusa/gunicorn.py"]
