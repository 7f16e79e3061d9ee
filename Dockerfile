# Modelyard as an image: docker build -t modelyard .
#
#   docker run -p 127.0.0.1:5000:5000 -e MODELYARD_ACCESS=open -v modelyard:/var/lib/modelyard modelyard
#
# In a container the server listens on every address, and off loopback it refuses to start until it
# is told who may call it. MODELYARD_ACCESS=open is everybody who reaches the port: publish the port
# on 127.0.0.1 only, as above, or put something in front that asks who is calling.
#
# GPU: docker build --build-arg DEVICE=cu130 . , and run with --gpus all.
# A model: FROM modelyard, then USER root, RUN pip install PLUGIN, USER 10001:10001.
#
# A package index or wheel folder of your own comes in as a pip configuration that no layer keeps:
# docker build --secret id=pipconf,src=$HOME/.config/pip/pip.conf .

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
ARG DEVICE=cpu
# Where builds of torch for one device are kept; empty takes the default index, whose build is CUDA's.
ARG TORCH_INDEX=https://download.pytorch.org/whl/${DEVICE}
# The extras to install: "demo" brings torch and the built-in image classifier.
ARG EXTRAS=demo
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# torch before our own code: the layer that takes minutes is made anew only with another pin.
COPY constraints.txt /src/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    python3 -m venv /opt/modelyard \
    && /opt/modelyard/bin/pip install -c /src/constraints.txt setuptools \
    && if [[ ",${EXTRAS}," == *,demo,* ]]; then \
         /opt/modelyard/bin/pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
           "$(grep '^torch==' /src/constraints.txt)"; \
       fi
COPY . /src/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    /opt/modelyard/bin/pip install -c /src/constraints.txt --no-build-isolation "/src[${EXTRAS}]"

FROM ${BASE} AS runtime
# tini is PID 1: it hands signals on and reaps what a killed training leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 modelyard \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin modelyard \
    && install --directory --owner=10001 --group=10001 /var/lib/modelyard
COPY --from=builder /opt/modelyard /opt/modelyard

# MODELYARD_ON_STOP: stopping the container ends every process in it. With `pause` runs save a
# checkpoint first, for which they have what the engine gives (`docker stop --time 40`); the next
# start goes on with them, and also, from their last checkpoint, with those that were killed.
ENV PATH=/opt/modelyard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELYARD_HOME=/var/lib/modelyard \
    MODELYARD_HOST=0.0.0.0 \
    MODELYARD_PORT=5000 \
    MODELYARD_ON_STOP=pause
WORKDIR /var/lib/modelyard
USER 10001:10001
VOLUME /var/lib/modelyard
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; e = os.environ.get; r.urlopen('http://127.0.0.1:' + e('MODELYARD_PORT', '5000') + e('MODELYARD_BASE_PATH', '') + '/healthz', timeout=4)"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["modelyard", "serve"]
