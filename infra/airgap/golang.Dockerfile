# Debian's Go. Where a module asks for a newer one, it comes from GOPROXY and is checked against GOSUMDB.
FROM modelyard/airgap-debian:trixie

RUN --mount=type=secret,id=ca_bundle,mode=0444 \
    set -- ; [ ! -s /run/secrets/ca_bundle ] || set -- -o Acquire::https::CAInfo=/run/secrets/ca_bundle; \
    apt-get "$@" --error-on=any update \
    && apt-get "$@" install -y golang-go \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*

# Debian's own setting would refuse a newer toolchain.
ENV GOTOOLCHAIN=auto GOPATH=/go PATH=/go/bin:$PATH
WORKDIR /go
