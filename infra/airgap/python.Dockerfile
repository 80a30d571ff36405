# Debian's Python 3.13, used like the public slim image: python, python3 and pip are on the PATH and may install.
FROM modelyard/airgap-debian:trixie

# libgomp1: LightGBM's wheel needs it.
# Debian forbids pip in its own folders, for good reasons: a virtual environment takes their place.
RUN --mount=type=secret,id=ca_bundle,mode=0444 \
    set -- ; [ ! -s /run/secrets/ca_bundle ] || set -- -o Acquire::https::CAInfo=/run/secrets/ca_bundle; \
    apt-get "$@" --error-on=any update \
    && apt-get "$@" install -y libgomp1 netbase python3 python3-venv tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && python3 -m venv /opt/python \
    && find /opt/python -name __pycache__ -prune -exec rm -rf {} +

ENV PATH=/opt/python/bin:$PATH
CMD ["python3"]
