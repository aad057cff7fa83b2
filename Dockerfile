# Built in one image, run in another: the second holds Python and the virtual environment, no pip and no compiler.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/venv
# The lock before the source: a change of code reuses the layer of the libraries.
COPY requirements/production.lock requirements/build.lock requirements/
RUN pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r requirements/production.lock \
 && pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/venv/bin/python install --no-deps /wheels/*.whl \
 && /opt/venv/bin/python -m compileall -q /opt/venv

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin audience \
 && install -d -o audience -g audience /var/lib/audience-worker/exports
COPY --from=build /opt/venv /opt/venv
# The command is no shell's child, so celery itself gets SIGTERM.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/audience-worker
STOPSIGNAL SIGTERM
CMD ["celery", "-A", "worker.app", "worker", "-Q", "daily", "-n", "daily@%h", "--concurrency", "4", "--without-gossip", "--without-mingle"]
