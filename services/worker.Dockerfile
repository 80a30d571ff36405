# Workers with further packages: the trainer's image, and what a requirements file adds to it. make worker builds it.
ARG TRAINER_IMAGE=modelyard/trainer:local
FROM ${TRAINER_IMAGE}
USER root
# what is there stays as it is, or Modelyard would behave in another way here; a conflict ends the build
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=pip_index --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements.txt,target=/asked/requirements.txt \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    if [ -s /run/secrets/pip_index ]; then PIP_INDEX_URL=$(cat /run/secrets/pip_index); export PIP_INDEX_URL; fi; \
    export HOME=/root TMPDIR=/tmp PIP_DISABLE_PIP_VERSION_CHECK=1 \
    && pip list --format=freeze >/tmp/constraints.txt \
    && pip install --progress-bar off --constraint /tmp/constraints.txt --requirement /asked/requirements.txt \
    && rm /tmp/constraints.txt
USER 10001:10001
