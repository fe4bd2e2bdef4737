# The service for PostgreSQL. `docs/operations.md` says how it is run, and what of this was tried.
# Releases are pinned by constraints.txt: each wheel is checked against its hash before anything is installed from it.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY constraints.txt ./
RUN pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes --dest /wheels -r constraints.txt
RUN python -m venv /opt/optimizer \
    && /opt/optimizer/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /wheels setuptools
COPY pyproject.toml README.md LICENSE ./
COPY optimizer optimizer
COPY api api
COPY simulator simulator
# Only what the service needs of the checked wheels; no tools of development.
RUN /opt/optimizer/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /wheels \
    --no-build-isolation '.[postgres]'

FROM python:${PYTHON}
RUN groupadd --gid 10001 optimizer && useradd --uid 10001 --gid optimizer --no-create-home --shell /usr/sbin/nologin optimizer \
    && install -d -o optimizer -g optimizer /srv/optimizer /srv/optimizer/var
COPY --from=build /opt/optimizer /opt/optimizer
COPY configs /srv/optimizer/configs
# Many threads otherwise keep many arenas of freed memory.
ENV PATH=/opt/optimizer/bin:$PATH PYTHONUNBUFFERED=1 OPTIMIZER_HOST=0.0.0.0 MALLOC_ARENA_MAX=2
WORKDIR /srv/optimizer
USER optimizer
EXPOSE 8080
VOLUME /srv/optimizer/var
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
CMD ["optimizer", "serve"]
