# The service, and with the same image the registry's server and all commands: see docs/operations.md.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements-serve.lock ./
RUN python -m venv /opt/leadqual
RUN /opt/leadqual/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement requirements-serve.lock
COPY pyproject.toml README.md LICENSE leadqual.py ./
COPY features ./features
COPY training ./training
COPY serving ./serving
RUN /opt/leadqual/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.12-slim
# LightGBM takes the compiler's threads from the system.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 leadqual && useradd --uid 10001 --gid 10001 --home-dir /var/lib/leadqual --shell /usr/sbin/nologin leadqual && install --directory --owner=10001 --group=10001 /var/lib/leadqual
COPY --from=build /opt/leadqual /opt/leadqual
# All that is written goes below /var/lib/leadqual, or is thrown away with /tmp.
ENV PATH=/opt/leadqual/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/lib/leadqual/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_NUM_THREADS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    LEADQUAL_HOST=0.0.0.0 \
    LEADQUAL_PORT=8000 \
    LEADQUAL_MODEL_CACHE=/var/lib/leadqual/models
USER 10001:10001
WORKDIR /var/lib/leadqual
VOLUME /var/lib/leadqual
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["leadqual"]
CMD ["serve", "--model", "models:/leads@champion"]
