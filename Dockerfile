# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/sockudo
# What is locked is a layer of its own: another line of source installs no package again. The drivers are all there.
COPY requirements ./requirements
RUN /opt/sockudo/bin/pip install --no-cache-dir --require-hashes -r requirements/server.txt \
    && python -m venv /opt/tools && /opt/tools/bin/pip install --no-cache-dir --require-hashes -r requirements/tools.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY plugins ./plugins
COPY src ./src
RUN /opt/tools/bin/hatchling build -t wheel -d /build/dist \
    && /opt/sockudo/bin/pip install --no-cache-dir --no-deps /build/dist/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="sockudo" \
      org.opencontainers.image.description="A self-hosted realtime server that stock Pusher clients use unchanged" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home --home-dir /data sockudo \
    && install --directory --owner sockudo --group sockudo /data
COPY --from=build /opt/sockudo /opt/sockudo
# Loopback of a container is reached by no other: which ports are published is what decides.
ENV PATH=/opt/sockudo/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SOCKUDO_DATA_DIR=/data \
    HEALTHCHECK_PATH=/up \
    METRICS_HOST=0.0.0.0
USER sockudo
WORKDIR /data
VOLUME /data
EXPOSE 6001 9601
# Reads PORT like the server does; a TLS or Unix-socket set-up replaces this check.
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', '6001')}{os.environ['HEALTHCHECK_PATH']}\", timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sockudo"]
CMD ["serve"]
