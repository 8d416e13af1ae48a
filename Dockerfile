# Two stages: packages and byte code are made in the first, the second holds only what runs.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/sluice
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/venv/bin/python -m pip uninstall --yes pip
COPY app ./app
COPY alembic ./alembic
RUN python -m compileall -q /opt/sluice/app /opt/sluice/alembic \
    && printf '#!/bin/sh\nexec /opt/venv/bin/python -P -m app "$@"\n' > /opt/venv/bin/sluice \
    && chmod 755 /opt/venv/bin/sluice

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="sluice-gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/sluice /opt/sluice
COPY LICENSE /opt/sluice/
# Any user of group 0 may run it, as platforms with random user ids do; only /data is written.
RUN mkdir /data && chown 10001:0 /data && chmod 2775 /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sluice \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    SLUICE_DATABASE_URL=sqlite:////data/sluice.db
WORKDIR /data
VOLUME /data
USER 10001:0
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('SLUICE_SERVER__PORT', '9000') + '/health', timeout=4)"]
ENTRYPOINT ["sluice"]
CMD ["serve"]
