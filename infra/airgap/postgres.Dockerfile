# Debian's PostgreSQL 17, used like the public image: the same variables, folders, user, ports and commands.
FROM modelyard/airgap-debian:trixie AS locale

RUN --mount=type=secret,id=ca_bundle,mode=0444 \
    set -- ; [ ! -s /run/secrets/ca_bundle ] || set -- -o Acquire::https::CAInfo=/run/secrets/ca_bundle; \
    apt-get "$@" --error-on=any update \
    && apt-get "$@" install -y locales \
    && mkdir /locale && localedef --no-archive -i en_US -f UTF-8 -A /usr/share/locale/locale.alias /locale/en_US.utf8

FROM modelyard/airgap-debian:trixie

# The public image's locale, so that a volume which was made with it opens here.
COPY --from=locale /locale /usr/lib/locale
ENV LANG=en_US.utf8

# The public image's uid, for the same reason; the package takes the user that is there.
# A cluster, and ssl-cert's private key, would be the same for everybody who has the image.
RUN --mount=type=secret,id=ca_bundle,mode=0444 \
    set -- ; [ ! -s /run/secrets/ca_bundle ] || set -- -o Acquire::https::CAInfo=/run/secrets/ca_bundle; \
    groupadd --system --gid 999 postgres \
    && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /bin/bash postgres \
    && mkdir -p /etc/postgresql-common \
    && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf \
    && apt-get "$@" --error-on=any update \
    && apt-get "$@" install -y postgresql-17 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
        /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem \
    && sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/17/postgresql.conf.sample \
    && grep -q "^listen_addresses = '\*'" /usr/share/postgresql/17/postgresql.conf.sample \
    && mkdir -p /docker-entrypoint-initdb.d /var/lib/postgresql/data /run/postgresql \
    && chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/data /run/postgresql \
    && chmod 1777 /var/lib/postgresql/data && chmod 3777 /run/postgresql

ENV PATH=$PATH:/usr/lib/postgresql/17/bin PG_MAJOR=17 PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
