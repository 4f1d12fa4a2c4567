# Serves the bundles of models/ (or those mounted at /srv/models) as a non-root user, without torch.
#   docker build -t equipoise .                              for a GPU
#   docker build -t equipoise --build-arg DEVICE=cpu .       for none
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG DEVICE=gpu
WORKDIR /build
RUN python3 -m venv /opt/venv
# The dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir decision service training \
 && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ".[${DEVICE}]" \
 && /opt/venv/bin/pip uninstall --yes equipoise pip

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY decision decision
COPY service service
COPY models models
# Compiled here: whoever runs it may not write, and would compile at each start.
RUN python3 -m compileall -q decision service
RUN mkdir /state && chown 10001:10001 /state
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 EQUIPOISE_STATE=/state
VOLUME /state
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
ENTRYPOINT ["python3", "-m", "service", "--host", "0.0.0.0"]
