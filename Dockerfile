# skclipad on a CPU: `docker build --tag skclipad:latest .`, then docs/docker.rst.
# Nothing of a desktop is needed: images are read by Pillow, which brings its own libraries.

FROM python:3.13-slim AS build

# Where torch and torchvision come from: without CUDA, as pytorch.org says for "CPU".
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of setup.cfg to install, such as "parquet,onnx".
ARG EXTRAS=parquet

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/skclipad
ENV PATH="/opt/skclipad/bin:$PATH"

# First what changes least. No versions are pinned here: setup.cfg bounds them.
# hadolint ignore=DL3013
RUN pip install --index-url "$TORCH_INDEX" torch torchvision
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE MANIFEST.in ./
COPY skclipad skclipad
# hadolint ignore=DL3013
RUN pip install ".[$EXTRAS]"

FROM python:3.13-slim

COPY --from=build /opt/skclipad /opt/skclipad
RUN useradd --create-home --uid 1000 skclipad \
    && mkdir /models && chown skclipad /models

# Weights of CLIPs are kept in /models: mount a volume there, and they are fetched once.
ENV PATH="/opt/skclipad/bin:$PATH" HF_HOME=/models PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
ENTRYPOINT ["skclipad"]
CMD ["--help"]
